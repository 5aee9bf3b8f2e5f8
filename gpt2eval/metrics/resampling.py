"""The 95 % interval of a rate, by the studentized bootstrap over independent units.

Takes arrays only: it knows neither models nor metrics, so that a difference of two models' nats
can be treated in the same way.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt2eval.metrics.dependence import (
    FEWEST,
    Values,
    clearly_dependent,
    independent_blocks,
    merged,
)
from gpt2eval.metrics.intervals import student

RESAMPLES = 999
SEED = 2019
CELLS = 2_000_000  # drawn at once, to bound memory
MOST_DRAWN = 2_000_000  # above this there are fewer resamples
MOST_UNITS = 5000  # above this adjacent independent units are drawn together
FEWEST_EQUAL = 10  # units of equal size that are worth as much as those of unequal size
DOMINANT = 0.9  # share of the squared residuals with which one unit decides alone
BLOCKS_PER_COSINE = 6
CLUSTERS_PER_COSINE = 3  # neighbouring articles are nearly independent


class RateInterval(NamedTuple):
    """A rate, its standard error and its 95 % interval.

    Attributes:
        rate: Total nats divided by total units.
        error: Standard error of the rate; None without an interval.
        interval: Low and high; None if no interval can be trusted.
        resampled: Number of independent units.
        in_blocks: Whether these are blocks of adjacent entries or clusters.
    """

    rate: float
    error: float | None
    interval: tuple[float, float] | None
    resampled: int
    in_blocks: bool


def rate_interval(
    nats: Values,
    units: Values,
    clusters: NDArray[np.int64] | None = None,
    *,
    serial: bool | None = None,
) -> RateInterval:
    """Return the interval of sum(nats) / sum(units).

    Args:
        nats: Nats of each entry, or differences of nats, in text order.
        units: Count of the denominator in each entry.
        clusters: Non-decreasing number of each entry's cluster (an article); entries of one
            cluster are resampled together, and neighbouring clusters may be weakly correlated. By
            default each entry is its own, and independent of the others.
        serial: Whether the entries are adjacent parts of one text, so that their residuals
            nats - rate * units may be autocorrelated, and blocks of them are resampled. By
            default blocks are resampled if neighbours are correlated beyond doubt.

    Returns:
        The interval. It is None for fewer than 30 independent units, if their sizes are so
        unequal that they are worth fewer than 10 of equal size, (sum u)^2 / sum u^2 (Kish 1965),
        and if one unit has over 90 % of the sum of squared residuals.

    Examples:
        >>> random = np.random.default_rng(1)
        >>> found = rate_interval(random.gamma(6, 5, 400), np.full(400, 10))
        >>> found.resampled, [round(bound, 2) for bound in found.interval]
        (400, [2.81, 3.04])
    """
    if clusters is not None and len(clusters):
        starts = np.flatnonzero(np.diff(clusters, prepend=clusters[0] - 1))
        nats, units = (np.add.reduceat(values, starts) for values in (nats, units))
    rate = math.fsum(nats) / math.fsum(units)
    residuals = nats - rate * units
    if _negligible(residuals, nats):
        residuals = np.zeros_like(residuals)
    # The variance grows about as the units: scaled so, long and short entries look alike.
    scaled = residuals / np.sqrt(np.maximum(units, units.mean() / 10))
    if serial is None:
        serial = len(nats) >= FEWEST and clearly_dependent(scaled)
    if not serial:
        waves = None if clusters is None else cosines(len(nats), CLUSTERS_PER_COSINE)
        return _interval(nats, units, rate, waves, in_blocks=False)
    blocks = independent_blocks(scaled)
    waves = cosines(blocks, BLOCKS_PER_COSINE)
    return _interval(merged(nats, blocks), merged(units, blocks), rate, waves, in_blocks=True)


def _interval(
    nats: Values, units: Values, rate: float, waves: Values | None, *, in_blocks: bool
) -> RateInterval:
    count = len(nats)
    none = RateInterval(rate, None, None, count, in_blocks)
    if count < FEWEST:
        return none
    residuals = nats - rate * units
    squares = residuals**2
    total = math.fsum(squares)
    if _negligible(residuals, nats):
        return RateInterval(rate, 0.0, (rate, rate), count, in_blocks)
    worth = math.fsum(units) ** 2 / math.fsum(units**2)
    if worth < FEWEST_EQUAL or squares.max() > DOMINANT * total:
        return none
    error = float(_errors(residuals[None], waves)[0]) / math.fsum(units)
    low, high = _quantiles(residuals, units, waves)
    return RateInterval(rate, error, (rate - high * error, rate - low * error), count, in_blocks)


def _negligible(residuals: Values, nats: Values) -> bool:
    """Return whether residuals are no more than rounding errors."""
    return math.sqrt(math.fsum(residuals**2)) <= 1e-12 * math.fsum(abs(nats))


def cosines(count: int, share: int) -> Values:
    """Return the lowest cosines on `count` points, orthonormal, as columns; one per `share` points.

    The mean square of a sequence's coefficients on them estimates its long-run variance.
    """
    numbers = np.arange(1, max(round(count / share), 5) + 1)
    angles = np.outer(np.arange(count) + 0.5, numbers) * np.pi / count
    return math.sqrt(2 / count) * np.cos(angles)


def _errors(residuals: Values, waves: Values | None) -> Values:
    """Return the standard error of the sum of each row of residuals.

    Without cosines the residuals are independent; with all count - 1 cosines the result would be
    the same.
    """
    count = residuals.shape[1]
    if waves is None:
        return np.sqrt(np.einsum("ij,ij->i", residuals, residuals) * count / (count - 1))
    return np.sqrt(((residuals @ waves) ** 2).mean(1) * count)


def _quantiles(residuals: Values, units: Values, waves: Values | None) -> tuple[float, float]:
    """Return the 2.5 % and 97.5 % quantiles of the studentized rate.

    They are the bootstrap's, extended where the residuals have heavy tails, and never closer to
    zero than Student's. The bootstrap cannot draw a residual larger than the largest, so its tails
    are too short for heavy-tailed residuals, by about the factors that are applied here: Student's
    quantile at the degrees of freedom of the estimated variance (Satterthwaite, by the fourth
    moment), and a third of the standardized skewness of the sum on the side of the short tail.
    """
    count = len(residuals)
    low, high = np.quantile(_studentized(residuals, units, waves), [0.025, 0.975])
    second, third, fourth = (math.fsum(residuals**power) / count for power in (2, 3, 4))
    kurtosis = fourth / second**2
    freedom = min(max(2 * count / max(kurtosis - 1, 1e-9), 3), count - 1)
    tails = student(freedom) / student(count - 1)
    skewness = third / second**1.5 / math.sqrt(count)
    floor = student(count - 1 if waves is None else waves.shape[1])
    low *= tails * (1 + max(skewness, 0) / 3)
    high *= tails * (1 + max(-skewness, 0) / 3)
    return min(float(low), -floor), max(float(high), floor)


def _studentized(residuals: Values, units: Values, waves: Values | None) -> Values:
    """Return (rate* - rate) / error* of each bootstrap sample."""
    count = min(len(residuals), MOST_UNITS)
    residuals, units = merged(residuals, count), merged(units, count)
    random = np.random.default_rng(SEED)
    resamples = min(RESAMPLES, MOST_DRAWN // count)
    result: list[Values] = []
    rows = max(CELLS // count, 1)
    for first in range(0, resamples, rows):
        shape = (min(rows, resamples - first), count)
        drawn = random.integers(count, size=shape, dtype=np.int32)
        total, errors = _sums(residuals, units, drawn, waves)
        # A sample of one unit, drawn again and again, has no error; it says nothing.
        result.append(np.divide(total, errors, out=np.zeros_like(errors), where=errors > 0))
    return np.concatenate(result)


def _sums(
    residuals: Values, units: Values, drawn: NDArray[np.int32], waves: Values | None
) -> tuple[Values, Values]:
    """Return the sum of each sample's residuals, and its standard error in that sample."""
    if waves is not None:
        sampled, sampled_units = residuals[drawn], units[drawn]
        total = sampled.sum(1)
        rates = total / sampled_units.sum(1)
        return total, _errors(sampled - rates[:, None] * sampled_units, waves)
    rows, count = drawn.shape
    # How often each unit is in each sample; then the sums are a matrix product.
    cells = drawn + count * np.arange(rows)[:, None]
    times = np.bincount(cells.ravel(), minlength=rows * count).reshape(rows, count)
    terms = np.stack([residuals, units, residuals**2, residuals * units, units**2], axis=1)
    total, total_units, squares, products, squared_units = (times.astype(np.float64) @ terms).T
    rates = total / total_units
    squares = squares - 2 * rates * products + rates**2 * squared_units
    return total, np.sqrt(np.maximum(squares, 0) * count / (count - 1))
