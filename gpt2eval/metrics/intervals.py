"""Confidence intervals: a bootstrap over records or blocks, and the Wilson interval of a
proportion.
"""

import math

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000


SEED = 2019


Z95 = 1.959963984540054


def resampled_rates(
    nats: NDArray[np.float64], units: NDArray[np.int64]
) -> NDArray[np.float64] | None:
    """Nats per unit of `RESAMPLES` samples drawn with replacement, `[RESAMPLES]`; None for
    fewer than two tallies.
    """
    if len(nats) < 2:
        return None
    random = np.random.default_rng(SEED)
    rates = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        drawn = random.integers(len(nats), size=len(nats))
        rates[i] = nats[drawn].sum() / max(units[drawn].sum(), 1)
    return rates


def wilson(correct: int, asked: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion: the p with |correct/asked - p| <= 1.96 sqrt(p (1
    - p) / asked).
    """
    share, z2 = correct / asked, Z95**2 / asked
    centre = share + z2 / 2
    half = Z95 * math.sqrt(share * (1 - share) / asked + z2 / (4 * asked))
    low, high = (centre - half) / (1 + z2), (centre + half) / (1 + z2)
    return max(0.0, min(low, share)), min(1.0, max(high, share))
