"""What a gate finds: one check per metric. Does not judge."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from gpt2eval.report.comparison.duels import Duel
from gpt2eval.report.comparison.scale import Limit

Status = Literal["within", "regressed", "investigate"]


class Worst(NamedTuple):
    """The record, or part of a text, whose loss grew most: its number, and by how many nats."""

    number: int
    increase: float


@dataclass(frozen=True, slots=True)
class Check:
    """One metric of one task, judged by its limit; the verdict of `duel` is the status.

    Attributes:
        duel: The comparison with the baseline.
        limit: How much worse the metric may be.
        worst: The record whose loss grew most; None for an accuracy.
        reason: Why the status is not `within`; "" if it is.
    """

    duel: Duel
    limit: Limit
    worst: Worst | None
    reason: str


@dataclass(frozen=True, slots=True)
class Gate:
    """The checks of a model by a baseline.

    Attributes:
        checks: One per task and metric.
        baseline: Name of the baseline's model.
        model: Name of the model.
        not_judged: Tasks that the baseline lacks.
    """

    checks: tuple[Check, ...]
    baseline: str
    model: str
    not_judged: tuple[str, ...]

    @property
    def status(self) -> Status:
        """The worst status of all checks."""
        found = {check.duel.verdict for check in self.checks}
        if "regressed" in found:
            return "regressed"
        return "investigate" if "investigate" in found else "within"
