"""The difference between two models that were scored on the same text.

Takes arrays only: nats or correct answers of the same records, in the same order. The tokenizers
may differ, because the units are those of the published text.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt2eval.metrics.dependence import Values
from gpt2eval.metrics.intervals import Z95
from gpt2eval.metrics.resampling import rate_interval

PERMUTATIONS = 9999
SEED = 2019
Z80 = 0.8416212335729143  # 80 % quantile of the standard normal distribution


class PairedDifference(NamedTuple):
    """A second model's rate less that of the first (the baseline), on the same records.

    Attributes:
        first: The baseline's rate: nats per unit, or share of correct records.
        second: The other model's rate.
        difference: second - first. Negative nats are better, negative shares worse.
        error: Standard error of the difference; None without an interval.
        interval: 95 % interval of the difference; None if none can be trusted.
        p: Two-sided p of the hypothesis that the difference is 0; None if none can be trusted.
        permutations: Number of sign flips that p comes from; 0 for an exact test.
        wins: Entries (records, or parts of a text) in which the second model is better.
        losses: Entries in which it is worse.
        ties: Entries in which both are equal.
        entries: All entries.
        resampled: Number of independent units.
        in_blocks: Whether these are blocks of adjacent entries or clusters.
        mde80: Smallest difference that a two-sided 5 % test detects with a power of 80 %.
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
    first: Values,
    second: Values,
    units: Values,
    clusters: NDArray[np.int64] | None = None,
    *,
    serial: bool | None = None,
    permutations: int = PERMUTATIONS,
) -> PairedDifference:
    """Compare two models by their nats per unit.

    Args:
        first: The baseline's nats of each entry, in text order.
        second: The other model's nats of the same entries.
        units: Count of the denominator in each entry.
        clusters: As for `rate_interval`.
        serial: As for `rate_interval`.
        permutations: Number of random sign flips.
    """
    first, second, units = (np.asarray(values, np.float64) for values in (first, second, units))
    nats = second - first
    found = rate_interval(nats, units, clusters, serial=serial)
    random = np.random.default_rng(SEED)
    signs = random.choice([-1.0, 1.0], size=(permutations, len(nats)))
    beyond = int((abs(signs @ nats) >= abs(nats.sum()) * (1 - 1e-12)).sum())
    total = math.fsum(units)
    return PairedDifference(
        math.fsum(first) / total,
        math.fsum(second) / total,
        found.rate,
        found.error,
        found.interval,
        (beyond + 1) / (permutations + 1),
        permutations,
        int((nats < 0).sum()),
        int((nats > 0).sum()),
        int((nats == 0).sum()),
        len(nats),
        found.resampled,
        found.in_blocks,
        None if found.error is None else (Z95 + Z80) * found.error,
    )


def compare_shares(
    first_correct: NDArray[np.bool_],
    second_correct: NDArray[np.bool_],
    clusters: NDArray[np.int64] | None = None,
) -> PairedDifference:
    """Compare two models by their share of correct records.

    The contested records are those that only one model answers correctly: `wins` and `losses`.
    """
    first, second = (np.asarray(one, np.float64) for one in (first_correct, second_correct))
    change = second - first
    found = rate_interval(change, np.ones(len(change)), clusters, serial=False)
    wins, losses = int((change > 0).sum()), int((change < 0).sum())
    return PairedDifference(
        float(first.mean()),
        float(second.mean()),
        found.rate,
        found.error,
        found.interval,
        mcnemar(wins, losses),
        0,
        wins,
        losses,
        len(change) - wins - losses,
        len(change),
        found.resampled,
        found.in_blocks,
        None if found.error is None else (Z95 + Z80) * found.error,
    )


def mcnemar(wins: int, losses: int) -> float:
    """Return the exact two-sided p of McNemar's test on contested records.

    >>> mcnemar(1, 9)
    0.021484375
    """
    contested, fewer = wins + losses, min(wins, losses)
    tail = sum(math.comb(contested, k) for k in range(fewer + 1))
    return min(1.0, 2 * tail / 2**contested)
