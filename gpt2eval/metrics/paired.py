"""The difference between two models that were scored on the same text.

Takes arrays only: nats or correct answers of the same records, in the same order. The tokenizers
may differ, because the units are those of the published text.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpt2eval.metrics.dependence import FEWEST, Values
from gpt2eval.metrics.independent import Independent, independent_units
from gpt2eval.metrics.intervals import Z80, Z95, normal_score, student
from gpt2eval.metrics.proportions import mcnemar, tango
from gpt2eval.metrics.resampling import RateInterval, bootstrap_interval
from gpt2eval.metrics.sign_flips import PERMUTATIONS, SEED, sign_flips

FEWEST_PAIRED = 9  # independent units below which a difference has no interval
FEWEST_CONTESTED = 6  # below which McNemar's p is above 5 %, even if one model wins all
ROUNDING = 1e-9  # relative difference of two sums of the same nats


class PairedDifference(NamedTuple):
    """A second model's rate less that of the first (the baseline), on the same records.

    Attributes:
        first: The baseline's rate: nats per unit, or share of correct records.
        second: The other model's rate.
        difference: second - first. The second model is better if it is negative for nats, or
            positive for shares.
        error: Standard error of the difference; None without an interval.
        interval: 95 % interval of the difference; None if none can be trusted.
        p: Two-sided p of the hypothesis that the difference is 0; None if none can be trusted.
        permutations: Number of sign flips that were tried; 0 for McNemar's exact test.
        wins: Entries (records, or parts of a text) in which the second model is better.
        losses: Entries in which it is worse.
        ties: Entries in which both are equal.
        entries: All entries.
        resampled: Number of independent units.
        in_blocks: Whether these are blocks of adjacent entries or clusters.
        mde80: Smallest difference that a two-sided 5 % test detects with a power of 80 %; None
            without an interval.
    """

    first: float
    second: float
    difference: float
    error: float | None
    interval: tuple[float, float] | None
    p: float | None
    permutations: int
    wins: int
    losses: int
    ties: int
    entries: int
    resampled: int
    in_blocks: bool
    mde80: float | None


def compare_rates(
    first: ArrayLike,
    second: ArrayLike,
    units: ArrayLike,
    clusters: NDArray[np.int64] | None = None,
    *,
    serial: bool | None = None,
    permutations: int = PERMUTATIONS,
) -> PairedDifference:
    """Compare two models by their nats per unit, sum(nats) / sum(units).

    The interval is that of `rate_interval` for the differences of nats, extended so that it also
    contains every difference that the sign-flip test does not reject. The p is the larger one of
    that test's and of the level at which the bootstrap's interval would just exclude 0; so p <= 5 %
    where the interval excludes 0, and only there. For units whose neighbours may be correlated,
    both are studentized, and no bound is closer than the sign-flip test's critical value.

    Args:
        first: The baseline's nats of each entry, in text order.
        second: The other model's nats of the same entries.
        units: Count of the denominator in each entry.
        clusters: Non-decreasing number of each entry's cluster; see `rate_interval`.
        serial: Whether the entries are adjacent parts of one text; see `rate_interval`.
        permutations: Number of random sign flips. Of few units, all are tried instead.

    Returns:
        The difference. It has no interval for fewer than 9 independent units, or if a few of them
        outweigh all others. It has no p if the text is too short to be cut into 9 independent
        blocks.

    Raises:
        ValueError: If the arrays have different lengths, or no units, or a number is not finite.

    Examples:
        >>> random = np.random.default_rng(1)
        >>> first = random.gamma(6, 5, 200)
        >>> found = compare_rates(first, first + random.normal(-1, 4, 200), np.full(200, 10.0))
        >>> bounds = [round(bound, 3) for bound in found.interval]
        >>> round(found.difference, 3), bounds, round(found.p, 4)
        (-0.082, [-0.142, -0.025], 0.0054)
    """
    first, second, units = (np.asarray(values, np.float64) for values in (first, second, units))
    if not first.shape == second.shape == units.shape or not units.sum() > 0:
        raise ValueError("expected three arrays of one length, and at least one unit")
    if not (np.isfinite(first) & np.isfinite(second)).all():
        raise ValueError("expected finite nats; infinite ones have no difference")
    total = math.fsum(units)
    return _compared(
        (math.fsum(first) / total, math.fsum(second) / total),
        independent_units(second - first, units, clusters, serial=serial),
        _duels(first - second, np.isclose(first, second, rtol=ROUNDING, atol=0)),
        permutations,
    )


def compare_shares(
    first_correct: NDArray[np.bool_],
    second_correct: NDArray[np.bool_],
    clusters: NDArray[np.int64] | None = None,
) -> PairedDifference:
    """Compare two models by their share of correct records.

    The contested records are those that only one model answers correctly: `wins` and `losses`.
    Without clusters the interval is Tango's, and p is that of McNemar's exact test. Records in
    clusters are compared as by `compare_rates`, with one unit for each record.

    Args:
        first_correct: Whether the baseline answers each record correctly.
        second_correct: Whether the other model does.
        clusters: Non-decreasing number of each record's cluster.

    Raises:
        ValueError: If the arrays have different lengths, or no records.
    """
    first, second = (np.asarray(one, np.float64) for one in (first_correct, second_correct))
    if first.shape != second.shape or not len(first):
        raise ValueError("expected two arrays of one length, and at least one record")
    change = second - first
    shares, duels = (float(first.mean()), float(second.mean())), _duels(change, change == 0)
    if clusters is not None:
        taken = independent_units(change, np.ones(len(change)), clusters, serial=False)
        return _compared(shares, taken, duels, PERMUTATIONS)
    wins, losses, _ = duels
    records, contested = len(change), wins + losses
    error = math.sqrt(contested - (wins - losses) ** 2 / records) / records
    return PairedDifference(
        *shares,
        difference=(wins - losses) / records,
        error=error,
        interval=tango(wins, losses, records),
        p=mcnemar(wins, losses),
        permutations=0,
        wins=wins,
        losses=losses,
        ties=records - contested,
        entries=records,
        resampled=records,
        in_blocks=False,
        mde80=max((Z95 + Z80) * error, min(FEWEST_CONTESTED / records, 1.0)),
    )


def _duels(advantages: Values, equal: NDArray[np.bool_]) -> tuple[int, int, int]:
    """Return wins, losses and ties."""
    wins = int(((advantages > 0) & ~equal).sum())
    ties = int(equal.sum())
    return wins, len(advantages) - wins - ties, ties


def _compared(
    rates: tuple[float, float],
    taken: Independent,
    duels: tuple[int, int, int],
    permutations: int,
) -> PairedDifference:
    """Return the difference of independent units."""
    count = len(taken.nats)
    is_short = count < FEWEST_PAIRED
    if is_short and not taken.in_blocks:
        taken = taken._replace(per_cosine=None)  # too few to estimate a correlation
    if taken.per_cosine is None:
        taken = taken.shuffled(SEED)
    # The autocorrelation of a short text cannot be measured.
    is_unknown = taken.in_blocks and (is_short or taken.entries < FEWEST)
    if is_unknown:
        tried, p = 0, None
        found = RateInterval(taken.rate, None, None, count, taken.in_blocks)
    else:
        flips = sign_flips(taken, permutations)
        found = bootstrap_interval(taken, FEWEST_PAIRED, flips.critical)
        tried, p = flips.permutations, max(flips.p, _level(found, taken.freedom))
        if found.interval and flips.interval:
            lows, highs = zip(found.interval, flips.interval, strict=True)
            found = found._replace(interval=(min(lows), max(highs)))
    quantiles = student(taken.freedom) + student(taken.freedom, Z80) if found.error else 0.0
    return PairedDifference(
        *rates,
        found.rate,
        found.error,
        found.interval,
        p,
        tried,
        *duels,
        sum(duels),
        count,
        taken.in_blocks,
        None if found.error is None else quantiles * found.error,
    )


def _level(found: RateInterval, freedom: int) -> float:
    """Return the level at which the interval would just exclude 0; 0 without an interval.

    The distance of the bound is Student's 97.5 % quantile, stretched; so is that of 0.
    """
    if found.interval is None or not found.error:
        return 0.0
    low, high = found.interval
    distance = found.rate - low if found.rate > 0 else high - found.rate
    if distance <= 0:
        return 0.0
    to_bound, to_zero = (
        normal_score(d / found.error, freedom) for d in (distance, abs(found.rate))
    )
    return math.erfc(Z95 * to_zero / to_bound / math.sqrt(2))
