"""95 % confidence intervals: bootstrap of a rate, and Wilson's interval of a proportion."""

import math

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
SEED = 2019
Z95 = 1.959963984540054  # 97.5 % quantile of the standard normal distribution


def resampled_rates(
    nats: NDArray[np.float64], units: NDArray[np.int64]
) -> NDArray[np.float64] | None:
    """Return the nats per unit of `RESAMPLES` bootstrap samples.

    Each sample draws n of the n entries with replacement, at indices i_1, ..., i_n. Its rate is

        (nats[i_1] + ... + nats[i_n]) / max(units[i_1] + ... + units[i_n], 1)

    Args:
        nats: Nats of each record or block.
        units: Count of the denominator in each record or block.

    Returns:
        The rates, shape `[RESAMPLES]`; None for fewer than two entries.
    """
    if len(nats) < 2:
        return None
    random = np.random.default_rng(SEED)
    rates = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        sample = random.integers(len(nats), size=len(nats))
        rates[i] = nats[sample].sum() / max(units[sample].sum(), 1)
    return rates


def wilson(correct: int, total: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of the proportion p = correct / total, as (low, high).

    With n = total and z = 1.959964, the bounds are

        (p + z^2 / 2n ± z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)

    Source: Wilson 1927, Journal of the American Statistical Association 22, 209-212.
    """
    share = correct / total
    z2 = Z95**2 / total
    centre = share + z2 / 2
    half = Z95 * math.sqrt(share * (1 - share) / total + z2 / (4 * total))
    low = (centre - half) / (1 + z2)
    high = (centre + half) / (1 + z2)
    # Rounding must not exclude the proportion itself.
    return max(0.0, min(low, share)), min(1.0, max(high, share))
