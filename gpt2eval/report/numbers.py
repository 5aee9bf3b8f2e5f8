"""Format numbers for tables: values with two decimals, intervals with two significant digits."""

import math

from gpt2eval.metrics.result import MetricValue

MOST_DECIMALS = 3  # of an interval
LARGE = 1e6  # an interval that ends above this has two digits


def value_text(value: float) -> str:
    """Return a value with two decimals, or three digits if it is large.

    >>> value_text(23.1149), value_text(1234567.0)
    ('23.11', '1.23e+06')
    """
    return f"{value:.2f}" if value < 1e5 else f"{value:.3g}"


def published_text(value: float) -> str:
    """Return a published figure with every digit that was published, and at least two decimals.

    >>> published_text(44.575), published_text(99.8)
    ('44.575', '99.80')
    """
    return max(f"{value:.2f}", f"{value:g}", key=len)


def interval_text(metric: MetricValue) -> str:
    """Return a 95 % interval: `± 0.41` if it is symmetric after rounding, else `[22.7, 23.9]`.

    The number of decimals shows two digits of its half-width. Without an interval, returns "".

    >>> interval_text(MetricValue("ppl", 23.11, (22.70, 23.52), "word", 9, ""))
    '± 0.41'
    >>> interval_text(MetricValue("ppl", 23.11, (22.70, 24.30), "word", 9, ""))
    '[22.70, 24.30]'
    """
    if metric.interval is None:
        return ""
    low, high = metric.interval
    half = (high - low) / 2
    if not math.isfinite(half) or high >= LARGE:
        return f"[{low:.2g}, {high:.2g}]"
    decimals = _decimals(half)
    below = round(metric.value - low, decimals)
    above = round(high - metric.value, decimals)
    if below == above:
        return f"± {above:.{decimals}f}"
    return f"[{low:.{decimals}f}, {high:.{decimals}f}]"


def _decimals(half: float) -> int:
    """Return the decimals that show two digits of a half-width."""
    if half <= 0:
        return 2
    return min(max(1 - math.floor(math.log10(half)), 0), MOST_DECIMALS)
