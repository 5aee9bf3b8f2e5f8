"""The 95 % interval of a rate, by the studentized bootstrap over independent units.

Takes arrays only: it knows neither models nor metrics, so that a difference of two models' nats
can be treated in the same way.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt2eval.metrics.dependence import FEWEST, Values
from gpt2eval.metrics.independent import Independent, independent_units, negligible
from gpt2eval.metrics.intervals import student

RESAMPLES = 999
SEED = 2019
CELLS = 2_000_000  # drawn at once, to bound memory
MOST_DRAWN = 2_000_000  # above this there are fewer resamples
MOST_UNITS = 5000  # above this adjacent independent units are drawn together
FEWEST_EQUAL = 10  # units of equal size that are worth as much as those of unequal size
DOMINANT = 0.9  # share of the squared residuals with which one unit decides alone


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

    No bound is closer than that of Student's t.

    Args:
        nats: Nats of each entry, in text order.
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
    taken = independent_units(nats, units, clusters, serial=serial)
    closest = student(taken.freedom) if taken.freedom > 0 else 0.0  # one unit has no interval
    return bootstrap_interval(taken, FEWEST, closest)


def bootstrap_interval(taken: Independent, fewest: int, closest: float = 0.0) -> RateInterval:
    """Return the interval of the rate of independent units.

    Args:
        taken: The units.
        fewest: Number of units below which there is no interval.
        closest: Number of standard errors that no bound is closer than.
    """
    count = len(taken.nats)
    none = RateInterval(taken.rate, None, None, count, taken.in_blocks)
    if count < fewest:
        return none
    residuals = taken.residuals
    squares = residuals**2
    if negligible(residuals, taken.nats):
        return none._replace(error=0.0, interval=(taken.rate, taken.rate))
    worth = math.fsum(taken.units) ** 2 / math.fsum(taken.units**2)
    if worth < min(FEWEST_EQUAL, count / 3) or squares.max() > DOMINANT * math.fsum(squares):
        return none
    error = float(sum_errors(residuals[None], taken.waves)[0]) / math.fsum(taken.units)
    low, high = _quantiles(taken)
    low, high = min(low, -closest), max(high, closest)
    return none._replace(
        error=error, interval=(taken.rate - high * error, taken.rate - low * error)
    )


def sum_errors(residuals: Values, waves: Values | None) -> Values:
    """Return the standard error of the sum of each row of residuals.

    Without cosines the residuals are independent; with all count - 1 cosines the result would be
    the same.
    """
    count = residuals.shape[1]
    if waves is None:
        return np.sqrt(np.einsum("ij,ij->i", residuals, residuals) * count / (count - 1))
    return np.sqrt(((residuals @ waves) ** 2).mean(1) * count)


def _quantiles(taken: Independent) -> tuple[float, float]:
    """Return the 2.5 % and 97.5 % quantiles of the studentized rate.

    They are the bootstrap's, extended where the residuals have heavy tails. The bootstrap cannot
    draw a residual larger than the largest, so its tails are too short for heavy-tailed residuals,
    by about the factors that are applied here: Student's quantile at the degrees of freedom of the
    estimated variance (Satterthwaite, by the fourth moment), and a third of the standardized
    skewness of the sum on the side of the short tail. Fewer than 30 residuals show so little of
    their skewness that all of it is taken.
    """
    residuals = taken.residuals
    count = len(residuals)
    low, high = np.quantile(_studentized(taken.at_most(MOST_UNITS)), [0.025, 0.975])
    second, third, fourth = (math.fsum(residuals**power) / count for power in (2, 3, 4))
    kurtosis = fourth / second**2
    freedom = min(max(2 * count / max(kurtosis - 1, 1e-9), 3), count - 1)
    tails = student(freedom) / student(count - 1)
    skewness = third / second**1.5 / math.sqrt(count)
    part = 3 if count >= FEWEST else 1
    low *= tails * (1 + max(skewness, 0) / part)
    high *= tails * (1 + max(-skewness, 0) / part)
    return float(low), float(high)


def _studentized(taken: Independent) -> Values:
    """Return (rate* - rate) / error* of each bootstrap sample."""
    residuals, waves = taken.residuals, taken.waves
    count = len(residuals)
    random = np.random.default_rng(SEED)
    resamples = min(RESAMPLES, MOST_DRAWN // count)
    result: list[Values] = []
    rows = max(CELLS // count, 1)
    for first in range(0, resamples, rows):
        shape = (min(rows, resamples - first), count)
        drawn = random.integers(count, size=shape, dtype=np.int32)
        total, errors = _sums(residuals, taken.units, drawn, waves)
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
        return total, sum_errors(sampled - rates[:, None] * sampled_units, waves)
    rows, count = drawn.shape
    # How often each unit is in each sample; then the sums are a matrix product.
    cells = drawn + count * np.arange(rows)[:, None]
    times = np.bincount(cells.ravel(), minlength=rows * count).reshape(rows, count)
    terms = np.stack([residuals, units, residuals**2, residuals * units, units**2], axis=1)
    total, total_units, squares, products, squared_units = (times.astype(np.float64) @ terms).T
    rates = total / total_units
    squares = squares - 2 * rates * products + rates**2 * squared_units
    return total, np.sqrt(np.maximum(squares, 0) * count / (count - 1))
