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
FEWEST_PERMUTATIONS = 19
SEED = 2019
CELLS = 2_000_000  # picked at once, to bound memory
MOST_PICKED = 20_000_000  # above this there are fewer sign flips
MOST_UNITS = 5000  # above this adjacent independent units are flipped together
MOST_CORRELATED = 500  # the same, where neighbours may be correlated
LEVEL = 0.05
ROUNDING = 1e-12  # relative difference of equal sums


class SignFlips(NamedTuple):
    """The result of the test.

    Attributes:
        p: Two-sided p, (c + 1) / (permutations + 1), where c sign flips give a statistic that is
            as large as the observed one.
        permutations: Number of sign flips besides the observed signs.
        interval: The rates that the test does not reject at 5 %; None if neighbours may be
            correlated, and for fewer than 6 units.
        critical: Number of standard errors that a rate must exceed for p <= 5 %; 0 unless
            neighbours may be correlated.
    """

    p: float
    permutations: int
    interval: tuple[float, float] | None = None
    critical: float = 0.0


def sign_flips(taken: Independent, permutations: int = PERMUTATIONS) -> SignFlips:
    """Test whether the rate of independent units is 0.

    The statistic is the absolute sum of the nats. Where neighbours may be correlated, it is divided
    by its standard error with those signs (studentized), which contains the correlation.

    If there are at most `permutations` choices of signs besides the observed one, all are tried and
    the p is exact. A choice and its opposite count once.

    The interval: a rate r is rejected if flips of nats - r * units give p <= 5 %. The bounds are
    quantiles of the rates of random halves of the units (the typical values of Hartigan 1969,
    Journal of the American Statistical Association 64, 1303-1317).

    Args:
        taken: The units.
        permutations: Number of random sign flips; there are fewer of many units.

    Raises:
        ValueError: If `permutations` is below 19, so that no p could be 5 %.

    Examples:
        >>> nats, units = np.array([1.0, 3.0]), np.ones(2)
        >>> sign_flips(Independent(nats, units, 2.0, None, False, 2)).p  # |1 + 3| and |1 - 3|
        0.5
    """
    if permutations < FEWEST_PERMUTATIONS:
        raise ValueError(f"{permutations} sign flips; expected at least {FEWEST_PERMUTATIONS}")
    if taken.per_cosine is None:
        return _plain(taken.at_most(MOST_UNITS), permutations)
    return _studentized(taken.at_most(MOST_CORRELATED), permutations)


def _plain(taken: Independent, permutations: int) -> SignFlips:
    terms = np.stack([taken.nats, taken.units], axis=1)
    total = terms.sum(0)
    picked = np.concatenate([picks @ terms for picks in _picks(len(terms), permutations)])
    sums = abs(total[0] - 2 * picked[:, 0])
    p = _p(sums, abs(float(total[0])) - ROUNDING * float(abs(taken.nats).sum()))
    beyond = _most_beyond(sums)
    if beyond < 0:
        return SignFlips(p, len(sums))
    # The rates of the picked units and of the others; the observed rate lies between them.
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = np.stack([half[:, 0] / half[:, 1] for half in (picked, total - picked)])
    rates[:, ~np.isfinite(rates).all(0)] = [[-math.inf], [math.inf]]
    low = np.partition(rates.min(0), beyond)[beyond]
    high = -np.partition(-rates.max(0), beyond)[beyond]
    return SignFlips(p, len(sums), (float(low), float(high)))


def _studentized(taken: Independent, permutations: int) -> SignFlips:
    waves = taken.waves
    assert waves is not None
    # The sum of the nats, and their coefficients on the cosines.
    terms = taken.nats[:, None] * np.hstack([np.ones((len(waves), 1)), waves])
    total = terms.sum(0)
    drift = taken.units @ waves / taken.units.sum()

    def statistic(sums: Values) -> Values:
        coefficients = sums[:, 1:] - sums[:, :1] * drift
        error = np.sqrt((coefficients**2).mean(1) * len(terms))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.nan_to_num(abs(sums[:, 0]) / error, posinf=math.inf)

    picked = (picks @ terms for picks in _picks(len(terms), permutations))
    others = np.concatenate([statistic(total - 2 * sums) for sums in picked])
    observed = float(statistic(total[None])[0])
    beyond = _most_beyond(others)
    critical = -float(np.partition(-others, beyond)[beyond]) if beyond >= 0 else math.inf
    # A statistic that equals the critical value is not above it, whatever the rounding.
    p, critical = _p(others, observed * (1 - ROUNDING)), critical * (1 + ROUNDING)
    return SignFlips(p, len(others), critical=critical)


def _most_beyond(others: Values) -> int:
    """Return the most sign flips that may be as extreme as the observed signs for p <= 5 %."""
    return int(LEVEL * (len(others) + 1)) - 1


def _p(others: Values, observed: float) -> float:
    """Return the p of an observed statistic."""
    return (int((others >= observed).sum()) + 1) / (len(others) + 1)


def _picks(count: int, permutations: int) -> Iterator[Values]:
    """Yield rows of 0 and 1, the units to flip: all choices of all but the last, or random ones."""
    every = 2 ** (count - 1) - 1 if count < 64 else math.inf
    if every <= permutations:
        yield (np.arange(1, int(every) + 1)[:, None] >> np.arange(count) & 1).astype(np.float64)
        return
    random = np.random.default_rng(SEED)
    permutations = min(permutations, MOST_PICKED // count)
    rows = max(CELLS // count, 1)
    for first in range(0, permutations, rows):
        shape = (min(rows, permutations - first), -(-count // 8))
        bits = np.unpackbits(random.integers(256, size=shape, dtype=np.uint8), axis=1)
        yield bits[:, :count].astype(np.float64)
