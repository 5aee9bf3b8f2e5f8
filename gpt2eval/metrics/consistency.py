"""Check that a metric follows from the sums that are stated beside it."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from gpt2eval.errors import UsageError
from gpt2eval.metrics import signature
from gpt2eval.metrics.estimate import Estimate, MetricValue
from gpt2eval.metrics.groups import Groups
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
        gpt2eval.errors.UsageError: metrics.ppl: value: 54.6; its sums give 54.598150033144236
    """
    place = f"metrics.{metric.name}"
    _check_estimate(metric, tally, place)
    expected = f"{metric.unit}@{metric.units}"
    stated = signature.read(metric.signature).get("unit")
    if stated not in (None, expected):
        raise UsageError(f"{place}: signature: its unit is {stated:.60}; expected {expected}")


def check_groups(groups: Groups, tally: Tally) -> None:
    """Raise UsageError unless groups add up to the text's tally, and their metrics follow.

    The macro average must be the mean of the groups' metrics.
    """
    names = [group.name for group in groups.rows]
    if names != sorted({*names}):
        raise UsageError("groups.rows: expected different names, sorted")
    total = Tally.total([group.tally for group in groups.rows])
    if replace(total, nats=tally.nats) != tally or not _alike(total.nats, tally.nats):
        raise UsageError("groups.rows: their tallies do not add up to that of the text")
    units = {name: estimate.unit for name, estimate in groups.micro.items()}
    _check_estimates(groups.micro, units, tally, "groups.micro")
    for number, group in enumerate(groups.rows):
        _check_estimates(group.metrics, units, group.tally, f"groups.rows.{number}.metrics")
    used = {
        name: [group.metrics[name].value for group in groups.rows if name in group.metrics]
        for name in groups.micro
    }
    _check_names(groups.macro, used, "groups.macro")
    for name, average in groups.macro.items():
        values = used[name]
        if (average.unit, average.units) != ("group", len(values)):
            stated = f"{average.units} {average.unit:.40}"
            raise UsageError(f"groups.macro.{name}: {stated}; expected {len(values)} group")
        _check_value(average, math.fsum(values) / len(values), f"groups.macro.{name}")


def _check_estimates(
    estimates: Mapping[str, Estimate], units: Mapping[str, str], tally: Tally, place: str
) -> None:
    """Check the metrics of a tally: all that have a unit to divide by, each with its unit."""
    known = {name: unit for name, unit in units.items() if unit in UNITS and count(tally, unit)}
    _check_names(estimates, known, place)
    for name, estimate in estimates.items():
        if estimate.unit != units[name]:
            raise UsageError(f"{place}.{name}: unit: {estimate.unit:.40}; expected {units[name]}")
        _check_estimate(estimate, tally, f"{place}.{name}")


def _check_names(estimates: Mapping[str, Estimate], expected: Iterable[str], place: str) -> None:
    named = [estimate.name for estimate in estimates.values()]
    if {*estimates} != {*expected} or named != [*estimates]:
        found = ", ".join(named)
        raise UsageError(f"{place}: {found:.60}; expected {', '.join(expected)}")


def _check_estimate(metric: Estimate | MetricValue, tally: Tally, place: str) -> None:
    unit = FIXED_UNITS.get(metric.name, metric.unit)
    if metric.name not in FIXED_UNITS.keys() | {"ppl"} or metric.unit != unit or unit not in UNITS:
        raise UsageError(f"{place}: unit: {metric.unit!r:.40}; expected a metric with its unit")
    units = count(tally, unit)
    if metric.units != units or not units:
        raise UsageError(f"{place}: units: {metric.units:,}; its tally has {units:,}")
    _check_value(metric, value_of(metric.name, tally, units), place)


def _check_value(metric: Estimate | MetricValue, value: float, place: str) -> None:
    if not _alike(metric.value, value):
        raise UsageError(f"{place}: value: {metric.value!r}; its sums give {value!r}")
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
