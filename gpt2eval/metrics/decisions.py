"""Decisions from paired differences: several tests at once, verdicts, and ranges of ranks."""

from collections.abc import Mapping, Sequence
from typing import Literal

from gpt2eval.metrics.paired import PairedDifference
from gpt2eval.metrics.sign_flips import LEVEL

Verdict = Literal["better", "worse", "equal", "unresolved"]
Pair = tuple[int, int]  # baseline, other model


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Return Holm's adjusted p-values; a missing p stays missing and counts as no test.

    Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70.

    >>> holm([0.01, None, 0.04, 0.03])
    [0.03, None, 0.06, 0.06]
    """
    tests = sorted((p, place) for place, p in enumerate(ps) if p is not None)
    adjusted: list[float | None] = [None] * len(ps)
    largest = 0.0
    for done, (p, place) in enumerate(tests):
        largest = max(largest, min(1.0, (len(tests) - done) * p))
        adjusted[place] = largest
    return adjusted


def verdict(
    difference: PairedDifference,
    p_adjusted: float | None,
    *,
    lower_is_better: bool,
    margin: float | None = None,
) -> Verdict:
    """Return what a difference says of the second model.

    `equal`: a margin is given and the whole 95 % interval lies within +-margin; this is a test of
    equivalence (TOST) at a level of 2.5 % on each side. `better` or `worse`: p_adjusted <= 0.05 and
    the interval excludes 0. Otherwise `unresolved`.

    Args:
        difference: The paired difference.
        p_adjusted: Its p, adjusted for the number of tests.
        lower_is_better: True for nats, False for shares of correct records.
        margin: Largest difference without importance, on the scale of the difference.
    """
    if difference.interval is None:
        return "unresolved"
    low, high = difference.interval
    if margin is not None and -margin <= low and high <= margin:
        return "equal"
    if p_adjusted is None or p_adjusted > LEVEL or low <= 0 <= high:
        return "unresolved"
    return "better" if (difference.difference < 0) == lower_is_better else "worse"


def rank_ranges(models: int, verdicts: Mapping[Pair, Verdict]) -> list[tuple[int, int]]:
    """Return the best and the worst rank that each model may have.

    A model's best rank is 1 + the number of models that a verdict calls better than it, its worst
    rank the number of models less those that a verdict calls worse. With verdicts from p-values
    that are Holm-adjusted over all pairs, all ranges hold at once in 95 % of cases.

    Args:
        models: Number of models.
        verdicts: Verdict on the second model of each pair, by (baseline, second).

    >>> rank_ranges(3, {(0, 1): "better", (0, 2): "unresolved", (1, 2): "worse"})
    [(2, 3), (1, 1), (2, 3)]
    """
    ahead, behind = [0] * models, [0] * models
    for (one, other), found in verdicts.items():
        if found in ("better", "worse"):
            winner, loser = (other, one) if found == "better" else (one, other)
            ahead[loser] += 1
            behind[winner] += 1
    return [(1 + ahead[model], models - behind[model]) for model in range(models)]


def duels_won(models: int, differences: Mapping[Pair, PairedDifference]) -> list[float]:
    """Return each model's share of duels won: entries against every other model, ties by half."""
    won, fought = [0.0] * models, [0] * models
    for (one, other), difference in differences.items():
        for model, wins in ((other, difference.wins), (one, difference.losses)):
            won[model] += wins + difference.ties / 2
            fought[model] += difference.entries
    return [w / f if f else 0.5 for w, f in zip(won, fought, strict=True)]
