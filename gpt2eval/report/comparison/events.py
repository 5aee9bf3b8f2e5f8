"""One metric of one task on several models: the differences of all pairs that can be compared."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from gpt2eval.errors import UsageError
from gpt2eval.metrics.agreement import TokenAgreement
from gpt2eval.metrics.paired import PairedDifference
from gpt2eval.report.comparison.entrants import Entrant
from gpt2eval.report.comparison.pairs import (
    agreement,
    check_pair,
    compared_metrics,
    difference,
    same_tokenizer,
    why_incomparable,
)
from gpt2eval.report.measured import Measured

BASELINE = 0  # position of the baseline among the models


class Event(NamedTuple):
    """One metric of one task.

    Attributes:
        task: The task, with its variant.
        metric: The metric.
        sides: The models that have it, by position.
        differences: By pair of positions; a pair that cannot be compared is absent.
        agreements: With the baseline, by position; of models with its tokenizer only.
    """

    task: str
    metric: str
    sides: Mapping[int, Measured]
    differences: Mapping[tuple[int, int], PairedDifference]
    agreements: Mapping[int, TokenAgreement]

    @property
    def title(self) -> str:
        """The task and the metric, such as `lambada acc`."""
        return f"{self.task} {self.metric}"


def events_of(
    task: str, entrants: Sequence[Entrant], metrics: Sequence[str], labels: Sequence[str]
) -> tuple[list[Event], list[str]]:
    """Return the events of a task, and a line for each pair with the baseline that is left out.

    Raises:
        UsageError: The protocols, data or records of two results differ.
    """
    sides = {
        number: entrant.measured(task)
        for number, entrant in enumerate(entrants)
        if task in entrant.tasks
    }
    for number, side in sides.items():
        if number != BASELINE:
            check_pair(sides[BASELINE], side)
    agreements, left_out = _agreements(sides)
    events: list[Event] = []
    for metric in compared_metrics(sides[BASELINE].result, metrics):
        reasons = {
            (one, two): why_incomparable(sides[one], sides[two], metric)
            for one, two in combinations(sides, 2)
        }
        left_out += [
            f"{task} {metric}, {labels[model]}: {reason}"
            for (one, model), reason in reasons.items()
            if reason and one == BASELINE
        ]
        differences = {
            (one, two): difference(sides[one], sides[two], metric)
            for (one, two), reason in reasons.items()
            if not reason
        }
        events.append(Event(task, metric, sides, differences, agreements))
    return events, left_out


def _agreements(sides: Mapping[int, Measured]) -> tuple[dict[int, TokenAgreement], list[str]]:
    """Return the agreement of each model of the baseline's tokenizer, and why it is missing."""
    found: dict[int, TokenAgreement] = {}
    problems: list[str] = []
    for number, side in sides.items():
        if number != BASELINE and same_tokenizer(sides[BASELINE], side):
            try:
                found[number] = agreement(sides[BASELINE], side)
            except UsageError as error:
                problems.append(f"no agreement of tokens: {error}")
    return found, problems
