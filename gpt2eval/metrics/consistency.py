"""Check that a metric follows from the sums that are stated beside it."""

import math

from gpt2eval.errors import UsageError
from gpt2eval.metrics import signature
from gpt2eval.metrics.estimate import MetricValue
from gpt2eval.metrics.metrics import ACCURACIES, FIXED_UNITS, UNITS, count, scaled
from gpt2eval.types import Tally

ROUNDING = 1e-9  # relative; other machines round the last digits of a sum in another way


def check_metric(metric: MetricValue, tally: Tally) -> None:
    """Raise UsageError unless the tally gives the metric: its unit, its count and its value.

    The interval must contain the value, and the signature must state the same unit and count.

    Examples:
        >>> from gpt2eval.types import Units
        >>> tally = Tally(nats=8.0, tokens=4, units=Units(words=2))
        >>> check_metric(MetricValue("ppl", 54.6, None, "word", 2, "task:t|data:d"), tally)
        Traceback (most recent call last):
        ...
        gpt2eval.errors.UsageError: metrics.ppl: value: 54.6; its tally gives 54.598150033144236
    """
    place = f"metrics.{metric.name}"
    unit = FIXED_UNITS.get(metric.name, metric.unit)
    if metric.name not in FIXED_UNITS.keys() | {"ppl"} or metric.unit != unit or unit not in UNITS:
        raise UsageError(f"{place}: unit: {metric.unit!r:.40}; expected a metric with its unit")
    units = count(tally, unit)
    if metric.units != units or not units:
        raise UsageError(f"{place}: units: {metric.units:,}; its tally has {units:,}")
    stated = signature.read(metric.signature).get("unit")
    if stated not in (None, f"{unit}@{units}"):
        raise UsageError(f"{place}: signature: its unit is {stated:.60}; expected {unit}@{units}")
    value = value_of(metric.name, tally, units)
    if not _alike(metric.value, value):
        raise UsageError(f"{place}: value: {metric.value!r}; its tally gives {value!r}")
    low, high = metric.interval or (value, value)
    if not (low <= value or _alike(low, value)) or not (value <= high or _alike(high, value)):
        raise UsageError(
            f"{place}: interval: from {low!r} to {high!r}; expected one that contains {value!r}"
        )


def value_of(name: str, tally: Tally, units: int) -> float:
    """Return the value of a metric that a tally with so many of its units gives."""
    if name in ACCURACIES:
        return 100 * getattr(tally, ACCURACIES[name]) / units
    return scaled(name, tally.nats / units)


def _alike(first: float, second: float) -> bool:
    return math.isclose(first, second, rel_tol=ROUNDING, abs_tol=ROUNDING)
