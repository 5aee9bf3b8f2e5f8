"""Sum the entries of a text over units that are independent, or nearly so.

Takes arrays only: it knows neither models nor metrics.
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

BLOCKS_PER_COSINE = 6
CLUSTERS_PER_COSINE = 3  # neighbouring articles are nearly independent
FEWEST_COSINES = 3  # with fewer, the variance of their mean square is too large


class Independent(NamedTuple):
    """Nats and units of what is taken to be independent, in text order.

    Attributes:
        nats: Nats, or differences of nats, of each unit.
        units: Count of the denominator in each unit.
        rate: Total nats divided by total units.
        per_cosine: Adjacent units for each cosine that estimates the long-run variance; None if the
            units are independent beyond doubt.
        in_blocks: Whether they are blocks of adjacent entries or clusters.
        entries: Number of entries, or clusters, that they were formed from.
    """

    nats: Values
    units: Values
    rate: float
    per_cosine: int | None
    in_blocks: bool
    entries: int

    @property
    def residuals(self) -> Values:
        """The differences nats - rate * units."""
        return self.nats - self.rate * self.units

    @property
    def waves(self) -> Values | None:
        """The cosines, as columns."""
        return None if self.per_cosine is None else cosines(len(self.nats), self.per_cosine)

    @property
    def freedom(self) -> int:
        """The degrees of freedom of the standard error, at least 1."""
        count = len(self.nats)
        return (
            max(count - 1, 1) if self.per_cosine is None else cosine_count(count, self.per_cosine)
        )

    def shuffled(self, seed: int) -> "Independent":
        """Return the units in an order that does not depend on theirs, nor on the nats' sign."""
        order = np.lexsort((self.units, abs(self.nats)))
        # Not in order of size, because adjacent ones may be drawn together.
        order = np.random.default_rng(seed).permutation(order)
        return self._replace(nats=self.nats[order], units=self.units[order])

    def at_most(self, count: int) -> "Independent":
        """Return at most `count` units, each the sum of adjacent ones."""
        count = min(len(self.nats), count)
        return self._replace(nats=merged(self.nats, count), units=merged(self.units, count))


def independent_units(
    nats: Values,
    units: Values,
    clusters: NDArray[np.int64] | None = None,
    *,
    serial: bool | None = None,
) -> Independent:
    """Sum entries over clusters or blocks; the arguments are those of `rate_interval`.

    Examples:
        >>> independent_units(np.array([1.0, 2, 3]), np.ones(3), np.array([1, 1, 2])).nats
        array([3., 3.])
    """
    if clusters is not None and len(clusters):
        starts = np.flatnonzero(np.diff(clusters, prepend=clusters[0] - 1))
        nats, units = (np.add.reduceat(values, starts) for values in (nats, units))
    rate = math.fsum(nats) / math.fsum(units)
    residuals = nats - rate * units
    if negligible(residuals, nats):
        residuals = np.zeros_like(residuals)
    # The variance grows about as the units: scaled so, long and short entries look alike.
    scaled = residuals / np.sqrt(np.maximum(units, units.mean() / 10))
    if serial is None:
        serial = len(nats) >= FEWEST and clearly_dependent(scaled)
    if not serial:
        per_cosine = None if clusters is None else CLUSTERS_PER_COSINE
        return Independent(nats, units, rate, per_cosine, in_blocks=False, entries=len(nats))
    blocks = independent_blocks(scaled)
    sums = merged(nats, blocks), merged(units, blocks)
    return Independent(*sums, rate, BLOCKS_PER_COSINE, in_blocks=True, entries=len(nats))


def negligible(residuals: Values, nats: Values) -> bool:
    """Return whether residuals are no more than rounding errors."""
    return math.sqrt(math.fsum(residuals**2)) <= 1e-12 * math.fsum(abs(nats))


def cosines(count: int, per_cosine: int) -> Values:
    """Return the lowest cosines on `count` points, orthonormal, as columns.

    The mean square of a sequence's coefficients on them estimates its long-run variance.
    """
    numbers = np.arange(1, cosine_count(count, per_cosine) + 1)
    angles = np.outer(np.arange(count) + 0.5, numbers) * np.pi / count
    return math.sqrt(2 / count) * np.cos(angles)


def cosine_count(count: int, per_cosine: int) -> int:
    """Return the number of cosines on `count` points: one for `per_cosine` points, at least 3."""
    return max(round(count / per_cosine), FEWEST_COSINES)
