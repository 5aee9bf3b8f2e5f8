"""Format numbers for people: at least four significant digits, intervals with two.

Files for programs carry every digit instead.
"""

import math
from decimal import Decimal

from gpt2eval.metrics.estimate import Estimate, MetricValue

SIGNIFICANT = 4  # digits of a value, at least
DECIMALS = 2  # of a value below 100,000, at least; of an accuracy, exactly
MOST_DECIMALS = 7
WHOLE = 1e5  # a value from here on is a whole number with separators
POWERS = 1e9  # a value from here on, or below 0.0001, is written with a power of ten
HALF_DECIMALS = 4  # of an interval, at most
PERCENT = ("acc", "acc_unfiltered")
LABELS = {
    "ppl": "perplexity per {unit}",
    "byte_ppl": "perplexity per {unit}",
    "bpb": "bits per {unit}",
    "bpc": "bits per {unit}",
    "nats_per_token": "nats per {unit} of the model's tokenizer",
    "acc": "accuracy in % of {unit}s",
    "acc_unfiltered": "unfiltered accuracy in % of {unit}s",
}


def value_text(value: float, metric: str = "", places: int | None = None) -> str:
    """Return a value with two decimals and at least four digits; an accuracy with two decimals.

    `places` sets the number of decimals instead.

    >>> value_text(23.1149), value_text(0.93124), value_text(1940430.4), value_text(2.8596e16)
    ('23.11', '0.9312', '1,940,430', '2.860e+16')
    >>> value_text(5.0, "acc"), value_text(5.0), value_text(-0.0), value_text(1234.56, places=1)
    ('5.00', '5.000', '0.00', '1,234.6')
    """
    value += 0.0  # not -0.0
    if places is not None and math.isfinite(value):
        return f"{value:,.{places}f}"
    if metric in PERCENT:
        return f"{value:.{DECIMALS}f}"
    if not math.isfinite(value):
        return "infinite" if value > 0 else f"{value}"
    if abs(value) >= POWERS or (value and abs(value) < 10**-SIGNIFICANT):
        return f"{value:.{SIGNIFICANT - 1}e}"
    return f"{value:,.0f}" if abs(value) >= WHOLE else f"{value:.{decimals(value)}f}"


def decimals(value: float, metric: str = "") -> int:
    """Return the decimals of a value in a table; its difference and tolerance get as many."""
    if metric in PERCENT or not math.isfinite(value) or value == 0:
        return DECIMALS
    if abs(value) >= WHOLE:
        return 0
    digits = SIGNIFICANT - 1 - math.floor(math.log10(abs(value)))
    return min(max(digits, DECIMALS), MOST_DECIMALS)


def share_text(share: float) -> str:
    """Return a share in percent with one decimal, or more where it would round to 100.

    >>> share_text(0.96204), share_text(0.99997), share_text(1.0)
    ('96.2 %', '99.997 %', '100 %')
    """
    if share == 1:
        return "100 %"
    digits = next((n for n in range(1, MOST_DECIMALS) if round(100 * share, n) < 100), 1)
    return f"{100 * share:.{digits}f} %"


def published_text(value: float) -> str:
    """Return a published figure with every digit that was published, and at least two decimals.

    >>> published_text(44.575), published_text(99.8), published_text(1234567.5)
    ('44.575', '99.80', '1234567.50')
    """
    digits = f"{Decimal(repr(value)):f}"
    return digits if len(digits.partition(".")[2]) >= DECIMALS else f"{value:.{DECIMALS}f}"


def interval_text(metric: MetricValue | Estimate, places: int | None = None) -> str:
    """Return a 95 % interval: `± 0.41` if it is symmetric after rounding, else `[22.7, 23.9]`.

    The number of decimals shows two digits of its half-width; `places` sets it instead. Without an
    interval, returns "".

    >>> interval_text(MetricValue("ppl", 23.11, (22.70, 23.52), "word", 9, ""))
    '± 0.41'
    >>> interval_text(MetricValue("ppl", 23.11, (22.70, 24.30), "word", 9, ""))
    '[22.70, 24.30]'
    >>> interval_text(MetricValue("ppl", 2e16, (9.3589e14, 3.4675e17), "word", 9, ""))
    '[9.359e+14, 3.468e+17]'
    """
    if metric.interval is None:
        return ""
    low, high = metric.interval
    half = (high - low) / 2
    if not math.isfinite(half) or (high >= WHOLE and places is None):
        return f"[{value_text(low)}, {value_text(high)}]"
    places = interval_decimals(half) if places is None else places
    below = round(metric.value - low, places)
    above = round(high - metric.value, places)
    if below == above:
        return f"± {above:,.{places}f}"
    return f"[{low:,.{places}f}, {high:,.{places}f}]"


def interval_decimals(half: float, most: int = HALF_DECIMALS) -> int:
    """Return the decimals that show two digits of a half-width, at most `most`."""
    if half <= 0:
        return DECIMALS
    return min(max(1 - math.floor(math.log10(half)), 0), most)


def value_label(metric: str, unit: str) -> str:
    """Return what the values of a metric are, for the head of a column or an axis.

    >>> value_label("ppl", "word"), value_label("acc", "record")
    ('perplexity per word', 'accuracy in % of records')
    """
    return LABELS.get(metric, f"{metric} per {{unit}}").format(unit=unit)
