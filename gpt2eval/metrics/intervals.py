"""Quantiles of Student's distribution, and Wilson's interval of a proportion."""

import math

Z95 = 1.959963984540054  # 97.5 % quantile of the standard normal distribution
Z80 = 0.8416212335729143  # 80 % quantile


def student(freedom: float, z: float = Z95) -> float:
    """Return a quantile of Student's t distribution, by default that of 97.5 %.

    `z` is the same quantile of the standard normal distribution.
    Its expansion in 1 / freedom, correct to 1 % from 3 degrees of freedom, to 0.01 % from 8.
    Source: Abramowitz and Stegun 1964, 26.7.5.

    >>> round(student(10), 3)
    2.228
    """
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )


def wilson(correct: float, total: float) -> tuple[float, float]:
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


def normal_score(t: float, freedom: float) -> float:
    """Return about the normal quantile of the level at which Student's is t > 0.

    Source: Wallace 1959, Annals of Mathematical Statistics 30, 1121-1130.

    >>> round(normal_score(2.228, 10), 2)
    1.96
    """
    return (8 * freedom + 1) / (8 * freedom + 3) * math.sqrt(freedom * math.log1p(t**2 / freedom))
