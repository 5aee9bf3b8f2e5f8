"""The rows of a comparison for people: texts by column."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from gpt2eval.metrics.agreement import TokenAgreement
from gpt2eval.metrics.clusters import counted
from gpt2eval.metrics.metrics import ACCURACIES
from gpt2eval.report.comparison.duels import Contest, Duel
from gpt2eval.report.escape import visible
from gpt2eval.report.marks import marks
from gpt2eval.report.numbers import (
    MOST_DECIMALS,
    WHOLE,
    decimals,
    interval_decimals,
    value_text,
)
from gpt2eval.report.rows import Row

EQUAL = "equal"  # a verdict
SMALLEST_P = 1e-4  # a smaller p is shown as less than this
SMALLEST_PLAIN = 1e-4  # a smaller bound has a power of ten
WINS = "won/lost/tied"
DECISION = ("baseline", "value", "change", "p (Holm)", "verdict")
EVIDENCE = ("nats per unit", "p", WINS, "contested", "n", "MDE80")
AGREEMENT = ("correlation", "mean |Δp|", "top-1 agreement")
GROUPS = (DECISION, EVIDENCE, AGREEMENT)


def duel_rows(duels: Iterable[Duel]) -> list[Row]:
    """Return a row per duel; the agreement of tokens stands in the first row of its task."""
    rows: list[Row] = []
    tasks: set[str] = set()
    for duel in duels:
        row = _row(duel)
        if duel.agreement and duel.task not in tasks:
            row = replace(row, values={**row.values, **_agreement(duel.agreement)})
        tasks.add(duel.task)
        rows.append(row)
    return rows


def columns_of(rows: Sequence[Row], groups: Sequence[Sequence[str]] = GROUPS) -> list[list[str]]:
    """Return the groups of columns in which at least one row has a text.

    The first holds what decides, the second what it rests on, the third the agreement of tokens.
    """
    present = {title for row in rows for title, text in row.values.items() if text}
    groups = [[title for title in group if title in present] for group in groups]
    return [group for group in groups if group]


def rank_rows(contest: Contest) -> list[Row]:
    """Return a row per model: its range of ranks in each task, and the share of records it wins."""
    rows: list[Row] = []
    for model, label in enumerate(contest.labels):
        values: dict[str, str] = {}
        for ranking in contest.rankings:
            ranks, won = ranking.ranges[model], ranking.won[model]
            if ranks is not None and won is not None:
                low, high = ranks
                ranked = f"{low}" if low == high else f"{low} to {high}"
                values[visible(ranking.title)] = f"{ranked} ({100 * won:.0f} %)"
        rows.append(Row(label, "ours", values, {}, {}, {}))
    return rows


def _row(duel: Duel) -> Row:
    found = duel.difference
    baseline, other = duel.baseline, duel.other
    entries = counted(found.entries, "part" if duel.is_stream else "record")
    independent = counted(found.resampled, duel.cluster)
    values = {
        "baseline": value_text(baseline.metric.value, duel.metric) + marks(baseline.result),
        "value": value_text(other.metric.value, duel.metric) + marks(other.result),
        "change": f"{signed(duel.change, duel.change_interval)} {duel.scale.unit}",
        "p (Holm)": p_text(duel.p_adjusted),
        "verdict": duel.verdict,
        "p": p_text(found.p),
        WINS: f"{found.wins:,}/{found.losses:,}/{found.ties:,}",
        "n": entries,
        "MDE80": "" if duel.detectable is None else f"{amount(duel.detectable)} {duel.scale.unit}",
    }
    intervals = {
        "change": interval_text(duel.change_interval),
        "verdict": f"within {duel.margin}" if duel.verdict == EQUAL else "",
        "n": "" if independent == entries else f"in {independent}",
    }
    if duel.metric in ACCURACIES:
        values["contested"] = f"{found.wins + found.losses:,}"
    else:
        values["nats per unit"] = signed(found.difference, found.interval)
        intervals["nats per unit"] = interval_text(found.interval)
    return Row(visible(duel.title), "ours", values, {}, intervals, {})


def _agreement(agreement: TokenAgreement) -> dict[str, str]:
    correlation = agreement.correlation
    texts = (
        "" if correlation is None else f"{correlation:.4f}",
        amount(agreement.mean_change),
        f"{100 * agreement.top1:.2f} %",
    )
    return dict(zip(AGREEMENT, texts, strict=True))


def signed(value: float, interval: tuple[float, float] | None) -> str:
    """Return a difference with its sign, in as many decimals as its interval has.

    >>> signed(-22.613, (-23.41, -21.92)), signed(0.0123456, None)
    ('-22.61', '+0.01235')
    """
    places = _places(value, interval)
    if places is None:
        return f"{'+' if value > 0 else ''}{value_text(value)}"
    text = f"{value:+,.{places}f}"
    return text if float(text.replace(",", "")) else text[1:]  # neither +0.00 nor -0.00


def interval_text(interval: tuple[float, float] | None) -> str:
    """Return an interval of a difference, two digits of its half-width; "" for None.

    A bound that would round to 0 has more digits, so that its sign can be seen.

    >>> interval_text((-23.41, -21.92)), interval_text((-21.2, 0.4)), interval_text(None)
    ('[-23.41, -21.92]', '[-21, +0.40]', '')
    """
    if interval is None:
        return ""
    low, high = (_bound(bound, interval) for bound in interval)
    return f"[{low}, {high}]"


def _bound(value: float, interval: tuple[float, float]) -> str:
    text = signed(value, interval)
    if not value or text.strip("0."):
        return text
    if abs(value) < SMALLEST_PLAIN:
        return f"{value:+.0e}"
    return f"{'+' if value > 0 else '-'}{amount(abs(value))}"


def amount(value: float) -> str:
    """Return a positive amount with two digits.

    >>> amount(0.001234), amount(1.26), amount(140.2)
    ('0.0012', '1.3', '140')
    """
    if not 0 < value < WHOLE:
        return value_text(value)
    return f"{value:,.{max(1 - math.floor(math.log10(value)), 0)}f}"


def p_text(p: float | None) -> str:
    """Return a p, two digits of it.

    >>> p_text(0.0312), p_text(0.9), p_text(1e-9), p_text(None)
    ('0.031', '0.90', '< 0.0001', '')
    """
    if p is None:
        return ""
    if p < SMALLEST_P:
        return f"< {SMALLEST_P:.4f}"
    return f"{p:.{min(max(1 - math.floor(math.log10(p)), 2), 4)}f}"


def _places(value: float, interval: tuple[float, float] | None) -> int | None:
    """Return the decimals of a difference; None for one that needs a power of ten."""
    if not all(map(math.isfinite, (value, *(interval or ())))):
        return None
    if max(map(abs, (value, *(interval or ())))) >= WHOLE:
        return None
    if interval is None or interval[0] == interval[1]:
        return decimals(value)
    return interval_decimals((interval[1] - interval[0]) / 2, MOST_DECIMALS)
