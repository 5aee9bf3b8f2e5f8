"""Compare models on the same text: one duel per task, metric and model, and the ranks of several.

The first model is the baseline. No model runs: everything comes from the files that a run keeps of
its records.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from gpt2eval.errors import UsageError
from gpt2eval.metrics import decisions
from gpt2eval.metrics.agreement import TokenAgreement
from gpt2eval.metrics.paired import PairedDifference
from gpt2eval.report.cells import Cell
from gpt2eval.report.comparison_entrants import Entrant, common_tasks, labels_of, names_of
from gpt2eval.report.comparison_events import BASELINE, Event, events_of
from gpt2eval.report.comparison_pairs import cluster, why_no_interval
from gpt2eval.report.comparison_scale import Limit, Limits, Scale
from gpt2eval.report.labels import RowName

if TYPE_CHECKING:
    import pandas as pd

    from gpt2eval.report.results import Results


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

    `ranges` are the best and worst rank that each model may have, `won` the share of its duels on
    single records that it wins, ties by half; both None for a model that lacks the metric.
    """

    title: str
    ranges: tuple[tuple[int, int] | None, ...]
    won: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Models compared on the same text; the first is the baseline.

    Printed, it is a table with the signatures below. See `Duel` for the numbers.

    Attributes:
        models: Names of the rows: the models by short names, the baseline first.
        duels: One per task, metric and model other than the baseline.
        rankings: One per task and metric, if there are three models or more.
        left_out: What was not compared, and why.
    """

    models: tuple[RowName, ...]
    labels: tuple[str, ...]
    duels: tuple[Duel, ...]
    rankings: tuple[Ranking, ...]
    left_out: tuple[str, ...]

    def __str__(self) -> str:
        """Return the tables: in terminal layout if stdout is a terminal, else as Markdown."""
        from gpt2eval.report.comparison_text import render
        from gpt2eval.report.table import default_format

        return render(self, default_format())

    def to_frame(self) -> "pd.DataFrame":
        """Return a tidy pandas table: one row per duel, in full precision."""
        import pandas as pd

        from gpt2eval.report.comparison_facts import facts

        return pd.DataFrame(facts(self))


def compare(
    operands: "Sequence[Results]",
    *,
    margin: str | None = None,
    tasks: Sequence[str] = (),
    metrics: Sequence[str] = (),
) -> Comparison:
    """Compare models with the first one; see `Results.compare`.

    `operands` are the results of one model each.
    """
    if len(operands) < 2:
        raise UsageError(f"models to compare: {len(operands)}; expected two or more")
    entrants = [Entrant.of(results) for results in operands]
    names = names_of(entrants)
    labels = labels_of(entrants, names)
    common, left_out = common_tasks(entrants, tasks, labels)
    limits = Limits.parse(margin, "--margin") if margin else Limits({})
    limits.check_tasks(common)
    events: list[Event] = []
    for task in common:
        found, reasons = events_of(task, entrants, metrics, labels)
        events += found
        left_out += reasons
    if not any(event.differences for event in events):
        asked = f" in {', '.join(metrics)}" if metrics else ""
        raise UsageError(f"nothing to compare{asked}: {'; '.join(left_out) or 'no such metric'}")
    return Comparison(
        tuple(names),
        tuple(labels),
        tuple(_duels(events, limits)),
        tuple(_ranking(event, len(entrants)) for event in events if len(entrants) > 2),
        tuple(left_out),
    )


def _duels(events: Sequence[Event], limits: Limits) -> Iterator[Duel]:
    """Yield every model against the baseline, with p-values adjusted over all of them."""
    places = [
        (event, model) for event in events for one, model in event.differences if one == BASELINE
    ]
    ps = [event.differences[BASELINE, model].p for event, model in places]
    for (event, model), p in zip(places, decisions.holm(ps), strict=True):
        yield _duel(event, model, p, limits.of(event.task, event.metric))


def _duel(event: Event, model: int, p: float | None, limit: Limit | None) -> Duel:
    found = event.differences[BASELINE, model]
    first, second = event.sides[BASELINE], event.sides[model]
    scale = Scale(event.metric, found.first)
    verdict = decisions.verdict(
        found,
        p,
        lower_is_better=scale.lower_is_better,
        margin=None if limit is None else scale.difference(*limit),
    )
    return Duel(
        Cell(first.result, first.result.metrics[event.metric]),
        Cell(second.result, second.result.metrics[event.metric]),
        model,
        found,
        p,
        verdict,
        cluster(first, found),
        why_no_interval(first, event.metric, found),
        str(limit or ""),
        event.agreements.get(model),
    )


def _ranking(event: Event, models: int) -> Ranking:
    """Return the ranks of one task, from verdicts that are adjusted over all its pairs."""
    present = [*event.sides]
    place = {model: number for number, model in enumerate(present)}
    found = {(place[one], place[two]): each for (one, two), each in event.differences.items()}
    lower = Scale(event.metric, 0.0).lower_is_better
    adjusted = decisions.holm([each.p for each in found.values()])
    verdicts: dict[decisions.Pair, decisions.Verdict] = {
        pair: decisions.verdict(each, p, lower_is_better=lower)
        for (pair, each), p in zip(found.items(), adjusted, strict=True)
    }
    ranges = dict(zip(present, decisions.rank_ranges(len(present), verdicts), strict=True))
    won = dict(zip(present, decisions.duels_won(len(present), found), strict=True))
    everyone = range(models)
    return Ranking(
        event.title,
        tuple(ranges.get(model) for model in everyone),
        tuple(won.get(model) for model in everyone),
    )
