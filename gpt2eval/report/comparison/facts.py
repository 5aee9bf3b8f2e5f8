"""A comparison for programs: full model names and full precision."""

from collections.abc import Mapping
from typing import Any

from gpt2eval.metrics.metrics import ACCURACIES
from gpt2eval.metrics.paired import mcnemar
from gpt2eval.report.comparison.duels import Contest, Duel
from gpt2eval.report.strict_json import dumps
from gpt2eval.report.tidy import to_csv

Fact = Mapping[str, Any]


def facts(contest: Contest) -> list[Fact]:
    """Return a row per duel, the same columns in each; None where a number does not apply."""
    names = [name.text() for name in contest.models]
    return [fact(duel, names[0], names[duel.model]) for duel in contest.duels]


def csv_text(contest: Contest) -> str:
    """Return a row per duel as CSV."""
    return to_csv(facts(contest)).decode().rstrip("\n")


def json_text(contest: Contest) -> str:
    """Return strict JSON: `models`, `duels`, `rankings` and what is `left_out`."""
    names = [name.text() for name in contest.models]
    return dumps(
        {
            "models": names,
            "duels": facts(contest),
            "rankings": [
                {
                    "task_metric": ranking.title,
                    "ranks": dict(zip(names, ranking.ranges, strict=True)),
                    "won": dict(zip(names, ranking.won, strict=True)),
                }
                for ranking in contest.rankings
            ],
            "left_out": contest.left_out,
        }
    )


def fact(duel: Duel, baseline: str, model: str) -> Fact:
    """Return the facts of a duel; `baseline` and `model` are the names of its models."""
    found = duel.difference
    low, high = found.interval or (None, None)
    change_low, change_high = duel.change_interval or (None, None)
    is_accuracy = duel.metric in ACCURACIES
    agreement = duel.agreement
    result = duel.other.result
    return {
        "baseline_model": baseline,
        "model": model,
        "task": result.task,
        "variant": result.variant,
        "metric": duel.metric,
        "baseline": duel.baseline.metric.value,
        "value": duel.other.metric.value,
        "change": duel.change,
        "change_low": change_low,
        "change_high": change_high,
        "change_unit": duel.scale.unit,
        "difference": found.difference,
        "difference_low": low,
        "difference_high": high,
        "error": found.error,
        "unit": duel.other.metric.unit,
        "units": duel.other.metric.units,
        "p": found.p,
        "p_holm": duel.p_adjusted,
        "permutations": found.permutations,
        "mcnemar": mcnemar(found.wins, found.losses) if is_accuracy else None,
        "wins": found.wins,
        "losses": found.losses,
        "ties": found.ties,
        "contested": found.wins + found.losses if is_accuracy else None,
        "entries": found.entries,
        "cluster": duel.cluster,
        "clusters": found.resampled,
        "mde80": found.mde80,
        "mde80_change": duel.detectable,
        "margin": duel.margin,
        "verdict": duel.verdict,
        "reason": duel.why_no_interval,
        "correlation": agreement and agreement.correlation,
        "mean_probability_change": agreement and agreement.mean_change,
        "top1_agreement": agreement and agreement.top1,
        "limit": result.protocol.limit,
        "published_data": result.data.published,
        "baseline_signature": duel.baseline.metric.signature,
        "signature": duel.other.metric.signature,
    }
