"""A number with its 95 % interval: as computed from tallies, and with a signature."""

from dataclasses import dataclass

from gpt2eval.metrics.clusters import counted
from gpt2eval.metrics.dependence import FEWEST

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric without a signature: value, 95 % interval, denominator and its count.

    `resampled` and `resampled_units` are explained at `MetricValue`.
    """

    name: str
    value: float
    interval: Interval | None
    unit: str
    units: int
    resampled: str = ""
    resampled_units: int = 0

    def signed(self, signature: str) -> "MetricValue":
        """Return the metric with its signature."""
        return MetricValue(
            self.name,
            self.value,
            self.interval,
            self.unit,
            self.units,
            signature,
            self.resampled,
            self.resampled_units,
        )

    @property
    def why_no_interval(self) -> str:
        """The reason why there is no interval, as `MetricValue.why_no_interval`."""
        return _why_none(self.interval, self.resampled, self.resampled_units)


@dataclass(frozen=True, slots=True)
class MetricValue:
    """A metric of a result.

    `interval` is the 95 % interval, or None if none can be trusted. `unit` is the denominator and
    `units` its count. `signature` states the protocol and the model in one line. `resampled` names
    what the interval takes to be independent ("record", "article", "block of 12 lines"), and
    `resampled_units` counts it; older results have "" and 0.

    Examples:
        >>> MetricValue("ppl", 20.0, None, "word", 900, "", "article", 12).why_no_interval
        '12 articles; no interval can be trusted below 30'
    """

    name: str
    value: float
    interval: Interval | None
    unit: str
    units: int
    signature: str
    resampled: str = ""
    resampled_units: int = 0

    @property
    def why_no_interval(self) -> str:
        """The reason why there is no interval; "" if there is one, or if it is unknown."""
        return _why_none(self.interval, self.resampled, self.resampled_units)


def _why_none(interval: Interval | None, resampled: str, number: int) -> str:
    if interval is not None or not resampled:
        return ""
    units = counted(number, resampled)
    if number < FEWEST:
        return f"{units}; no interval can be trusted below {FEWEST}"
    return f"a few of {units} outweigh all others; no interval"
