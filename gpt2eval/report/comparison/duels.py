"""What a comparison holds: duels of models with the baseline, and ranks. Does not compute them."""

from dataclasses import dataclass
from typing import NamedTuple

from gpt2eval.metrics.agreement import TokenAgreement
from gpt2eval.metrics.paired import PairedDifference
from gpt2eval.report.cells import Cell
from gpt2eval.report.comparison.scale import Scale
from gpt2eval.report.labels import RowName


@dataclass(frozen=True, slots=True)
class Duel:
    """One metric of one task on the baseline and on another model.

    Attributes:
        baseline: The baseline's result and metric.
        other: Those of the other model.
        model: Position of the other model; the baseline has 0.
        difference: The paired difference, in nats per unit or in shares of records.
        p_adjusted: Its p after Holm's correction over all duels of the comparison.
        verdict: `better`, `worse`, `equal` (within the margin) or `unresolved`.
        cluster: What is resampled and permuted, such as `record`, `article` or `block of 12 lines`.
        why_no_interval: Why the difference has no interval; "" if it has one.
        margin: Largest difference without importance, such as `1 %`; "" without one.
        agreement: How far the models agree token by token; None if their tokenizers differ.
    """

    baseline: Cell
    other: Cell
    model: int
    difference: PairedDifference
    p_adjusted: float | None
    verdict: str
    cluster: str
    why_no_interval: str
    margin: str
    agreement: TokenAgreement | None

    @property
    def task(self) -> str:
        """The task, with its variant."""
        return self.baseline.result.full_name

    @property
    def metric(self) -> str:
        """The metric."""
        return self.baseline.metric.name

    @property
    def title(self) -> str:
        """The task and the metric, such as `lambada acc`."""
        return f"{self.task} {self.metric}"

    @property
    def is_stream(self) -> bool:
        """Whether the task is a single text, whose parts are compared, and not records."""
        return self.baseline.result.tally.records == 1

    @property
    def scale(self) -> Scale:
        """The scale of the metric, to convert differences to changes in percent or points."""
        return Scale(self.metric, self.difference.first)

    @property
    def change(self) -> float:
        """The change of the metric, in percent of the baseline's or in points of an accuracy."""
        return self.scale.change(self.difference.difference)

    @property
    def change_interval(self) -> tuple[float, float] | None:
        """The 95 % interval of `change`."""
        interval = self.difference.interval
        return interval and (self.scale.change(interval[0]), self.scale.change(interval[1]))

    @property
    def detectable(self) -> float | None:
        """The smallest change that this set detects with a power of 80 %, in the same unit."""
        mde = self.difference.mde80
        return None if mde is None else self.scale.change(mde)


class Ranking(NamedTuple):
    """The models of one task and metric, by rank.

    `ranges` are the best and worst rank that each model may have, `won` the share of records that
    it wins in its duels with the others, ties by half; both None for a model that has no duel.
    """

    title: str
    ranges: tuple[tuple[int, int] | None, ...]
    won: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Contest:
    """Models compared on the same text; the first is the baseline.

    Attributes:
        models: Names of the models.
        labels: Their short names, all different.
        duels: One per task, metric and model other than the baseline; see `Duel` for the numbers.
        rankings: One per task and metric, if there are three models or more.
        left_out: What is not compared, and why.
    """

    models: tuple[RowName, ...]
    labels: tuple[str, ...]
    duels: tuple[Duel, ...]
    rankings: tuple[Ranking, ...]
    left_out: tuple[str, ...]
