"""The paired permutation test: exchange the two models in some units, at random.

If neither model is better, the difference of each independent unit might as well have the other
sign. The p is the share of such sign flips that give a difference as large as the observed one.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from gpt2eval.metrics.dependence import Values
from gpt2eval.metrics.independent import Independent

PERMUTATIONS = 9999
SEED = 2019
CELLS = 2_000_000  # flipped at once, to bound memory
MOST_UNITS = 5000  # above this adjacent independent units are flipped together
MOST_CORRELATED = 500  # the same, where neighbours may be correlated
LEVEL = 0.05
ALIKE = 1 - 1e-12  # sums that differ by rounding errors are equal


class SignFlips(NamedTuple):
    """The result of the test.

    Attributes:
        p: Two-sided p, (c + 1) / (permutations + 1), where c sign flips give a statistic that is
            as large as the observed one.
        permutations: Number of sign flips besides the observed signs.
        interval: The rates that the test does not reject at 5 %; None if neighbours may be
            correlated.
    """

    p: float
    permutations: int
    interval: tuple[float, float] | None


def sign_flips(taken: Independent, permutations: int = PERMUTATIONS) -> SignFlips:
    """Test whether the rate of independent units is 0.

    The statistic is the absolute sum of the nats. Where neighbours may be correlated, it is divided
    by its standard error with those signs (studentized), which contains the correlation.

    All signs are enumerated if there are at most `permutations` others than the observed ones; a
    choice of signs and its opposite count once. Then the p is exact.

    The interval: a rate r is rejected if flips of nats - r * units give p <= 5 %. The bounds are
    quantiles of the rates of random halves of the units (the typical values of Hartigan 1969,
    Journal of the American Statistical Association 64, 1303-1317).

    Args:
        taken: The units.
        permutations: Number of random sign flips.

    Examples:
        >>> nats, units = np.array([1.0, 3.0]), np.ones(2)
        >>> sign_flips(Independent(nats, units, 2.0, None, False, 2)).p  # |1 + 3| and |1 - 3|
        0.5
    """
    if taken.per_cosine is None:
        return _plain(taken.at_most(MOST_UNITS), permutations)
    return _studentized(taken.at_most(MOST_CORRELATED), permutations)


def _plain(taken: Independent, permutations: int) -> SignFlips:
    terms = np.stack([taken.nats, taken.units], axis=1)
    flipped = np.concatenate([signs @ terms for signs in _signs(len(terms), permutations)])
    others = len(flipped)
    p = _share(abs(flipped[:, 0]), abs(float(taken.nats.sum())))
    # The rates of the flipped units and of the others; the observed rate lies between them.
    with np.errstate(divide="ignore", invalid="ignore"):
        halves = (terms.sum(0) - flipped, terms.sum(0) + flipped)
        rates = np.stack([half[:, 0] / half[:, 1] for half in halves])
    rates[:, ~np.isfinite(rates).all(0)] = [[-math.inf], [math.inf]]
    beyond = int(LEVEL * (others + 1)) - 1
    if beyond < 0:
        return SignFlips(p, others, None)
    low = np.partition(rates.min(0), beyond)[beyond]
    high = -np.partition(-rates.max(0), beyond)[beyond]
    return SignFlips(p, others, (float(low), float(high)))


def _studentized(taken: Independent, permutations: int) -> SignFlips:
    waves = taken.waves
    assert waves is not None
    flat = np.ones((len(taken.nats), 1))
    # With signs s, the sum of s * nats, and the coefficients of s * nats on the cosines.
    terms = taken.nats[:, None] * np.hstack([flat, waves])
    drift = taken.units @ waves / taken.units.sum()

    def statistic(sums: Values) -> Values:
        coefficients = sums[:, 1:] - sums[:, :1] * drift
        power = np.sqrt((coefficients**2).mean(1))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.nan_to_num(abs(sums[:, 0]) / power, posinf=math.inf)

    observed = float(statistic(terms.sum(0, keepdims=True))[0])
    flipped = [statistic(signs @ terms) for signs in _signs(len(terms), permutations)]
    others = np.concatenate(flipped)
    return SignFlips(_share(others, observed), len(others), None)


def _share(others: Values, observed: float) -> float:
    """Return the p of an observed statistic."""
    return (int((others >= observed * ALIKE).sum()) + 1) / (len(others) + 1)


def _signs(count: int, permutations: int) -> Iterator[Values]:
    """Yield rows of signs: all that have a - and end with +, or as many random ones."""
    every = 2 ** (count - 1) - 1 if count < 64 else math.inf
    if every <= permutations:
        bits = np.arange(1, int(every) + 1)[:, None] >> np.arange(count) & 1
        yield (1 - 2 * bits).astype(np.float64)
        return
    random = np.random.default_rng(SEED)
    rows = max(CELLS // count, 1)
    for first in range(0, permutations, rows):
        shape = (min(rows, permutations - first), -(-count // 8))
        drawn = np.unpackbits(random.integers(256, size=shape, dtype=np.uint8), axis=1)
        yield 1 - 2 * drawn[:, :count].astype(np.float64)
