"""A comparison for programs: full model names and full precision."""

from collections.abc import Mapping
from typing import Any

from gpt2eval.metrics.metrics import ACCURACIES
from gpt2eval.metrics.paired import mcnemar
from gpt2eval.report.comparison.contrasts import Contest, Contrast
from gpt2eval.report.strict_json import dumps
from gpt2eval.report.tidy import to_csv

Fact = Mapping[str, Any]


def facts(contest: Contest) -> list[Fact]:
    """Return a row per contrast, the same columns in each; None where a number does not apply."""
    names = [name.text() for name in contest.models]
    return [fact(contrast, names[0], names[contrast.model]) for contrast in contest.contrasts]


def csv_text(contest: Contest) -> str:
    """Return a row per contrast as CSV."""
    return to_csv(facts(contest)).decode().rstrip("\n")


def json_text(contest: Contest) -> str:
    """Return strict JSON: `models`, `contrasts`, `rankings` and what is `left_out`."""
    names = [name.text() for name in contest.models]
    return dumps(
        {
            "models": names,
            "contrasts": facts(contest),
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


def fact(contrast: Contrast, baseline: str, model: str) -> Fact:
    """Return the facts of a contrast; `baseline` and `model` are the names of its models."""
    found = contrast.difference
    low, high = found.interval or (None, None)
    change_low, change_high = contrast.change_interval or (None, None)
    is_accuracy = contrast.metric in ACCURACIES
    agreement = contrast.agreement
    result = contrast.other.result
    return {
        "baseline_model": baseline,
        "model": model,
        "task": result.task,
        "variant": result.variant,
        "metric": contrast.metric,
        "baseline": contrast.baseline.metric.value,
        "value": contrast.other.metric.value,
        "change": contrast.change,
        "change_low": change_low,
        "change_high": change_high,
        "change_unit": contrast.scale.unit,
        "difference": found.difference,
        "difference_low": low,
        "difference_high": high,
        "error": found.error,
        "unit": contrast.other.metric.unit,
        "units": contrast.other.metric.units,
        "p": found.p,
        "p_holm": contrast.p_adjusted,
        "permutations": found.permutations,
        "mcnemar": mcnemar(found.wins, found.losses) if is_accuracy else None,
        "wins": found.wins,
        "losses": found.losses,
        "ties": found.ties,
        "contested": found.wins + found.losses if is_accuracy else None,
        "entries": found.entries,
        "cluster": contrast.cluster,
        "clusters": found.resampled,
        "mde80": found.mde80,
        "mde80_change": contrast.detectable,
        "margin": contrast.margin,
        "verdict": contrast.verdict,
        "reason": contrast.why_no_interval,
        "correlation": agreement and agreement.correlation,
        "mean_probability_change": agreement and agreement.mean_change,
        "top1_agreement": agreement and agreement.top1,
        "limit": result.protocol.limit,
        "published_data": result.data.published,
        "baseline_signature": contrast.baseline.metric.signature,
        "signature": contrast.other.metric.signature,
    }
