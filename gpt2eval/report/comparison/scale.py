"""Differences of two models on the scale of a metric, and limits on that scale.

A difference is in nats per unit, or a share of records for accuracies. People read the change of
the metric: in percent, or in points for accuracies.
"""

import math
import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

from gpt2eval.errors import UsageError, unknown
from gpt2eval.metrics.metrics import ACCURACIES

PERPLEXITIES = ("ppl", "byte_ppl")
PERCENT, POINTS = "%", "pt"
LIMIT = re.compile(r"(?:(?P<task>.+)=)?(?P<amount>\d+(?:\.\d*)?|\.\d+)\s*(?P<unit>%|pt)")


class Scale(NamedTuple):
    """The scale of a metric, as changes from a baseline.

    `first` is the baseline's rate: nats per unit, or a share of records.

    >>> round(Scale("ppl", 3.0).change(0.01), 3), round(Scale("bpb", 0.5).change(0.01), 3)
    (1.005, 2.0)
    """

    metric: str
    first: float

    @property
    def lower_is_better(self) -> bool:
        """Whether a lower value of the metric is better."""
        return self.metric not in ACCURACIES

    @property
    def unit(self) -> str:
        """The unit of a change: `%`, or `pt` for points of an accuracy."""
        return PERCENT if self.lower_is_better else POINTS

    def change(self, difference: float) -> float:
        """Return a difference as a change of the metric, in `unit`."""
        if self.metric in ACCURACIES:
            return 100 * difference
        if self.metric in PERPLEXITIES:
            return 100 * math.expm1(difference) if difference < 700 else math.inf
        if self.first:
            return 100 * difference / self.first
        return math.copysign(math.inf, difference) if difference else 0.0

    def difference(self, amount: float, unit: str) -> float:
        """Return the difference that worsens the metric by an amount, as a positive number.

        >>> round(Scale("acc", 0.5).difference(1, "%"), 6), Scale("acc", 0.5).difference(1, "pt")
        (0.005, 0.01)
        """
        if unit == POINTS:
            return amount / 100
        if self.metric in PERPLEXITIES:
            return math.log1p(amount / 100)
        return amount / 100 * self.first


class Limit(NamedTuple):
    """An amount of change: `1 %` of a metric, or `1 pt` of an accuracy."""

    amount: float
    unit: str

    def __str__(self) -> str:
        return f"{self.amount:g} {self.unit}"


class Limits(NamedTuple):
    """Limits by task and unit; the task "" stands for every task."""

    by_place: dict[tuple[str, str], Limit]

    @classmethod
    def parse(cls, text: str, option: str) -> "Limits":
        """Return the limits of an option such as `2%`, `2%,1pt` or `lambada=1pt,2%`.

        A percentage is of the metric; points (`pt`) are of accuracies.

        Raises:
            UsageError: for another form, and for two limits of one task and unit.

        >>> str(Limits.parse("2%,lambada=1pt", "--max").of("lambada", "acc"))
        '1 pt'
        """
        found: dict[tuple[str, str], Limit] = {}
        for part in map(str.strip, text.split(",")):
            match = LIMIT.fullmatch(part)
            if not match:
                raise UsageError(
                    f"{option} {text}: {part!r}; expected a percentage such as 2%, points of an "
                    "accuracy such as 1pt, or TASK=2% or TASK=1pt"
                )
            place = (match["task"] or "", match["unit"])
            if place in found:
                raise UsageError(f"{option} {text}: two limits in {place[1]} for one task")
            found[place] = Limit(float(match["amount"]), match["unit"])
        return cls(found)

    def of(self, task: str, metric: str) -> Limit | None:
        """Return the limit of a metric: its task's before the general one, points before percent.

        None if no limit applies.
        """
        units = (POINTS, PERCENT) if metric in ACCURACIES else (PERCENT,)
        places = [(name, unit) for name in (task, "") for unit in units]
        return next((self.by_place[place] for place in places if place in self.by_place), None)

    def check_tasks(self, metrics: Mapping[str, Collection[str]]) -> None:
        """Raise UsageError for a limit that can apply to nothing; `metrics` are those by task."""
        for (name, unit), limit in self.by_place.items():
            if name and name not in metrics:
                raise unknown("task", name, metrics)
            if name and unit == POINTS and not ACCURACIES.keys() & metrics[name]:
                raise UsageError(f"{name}={limit}: {name} has no accuracy; expected a percentage")
