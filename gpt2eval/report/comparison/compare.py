"""Compare models on the same text: one duel per task, metric and model, and the ranks of several.

The first model is the baseline. No model runs: everything comes from the files that a run keeps of
its records.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gpt2eval.errors import UsageError
from gpt2eval.metrics import decisions
from gpt2eval.report.comparison.duels import Contest, Duel, Ranking
from gpt2eval.report.comparison.entrants import Entrant, common_tasks, labels_of, names_of
from gpt2eval.report.comparison.events import BASELINE, Event, events_of
from gpt2eval.report.comparison.facts import facts
from gpt2eval.report.comparison.pairs import check_metrics, duel
from gpt2eval.report.comparison.scale import Limit, Limits, Scale
from gpt2eval.report.comparison.text import render
from gpt2eval.report.table import default_format

if TYPE_CHECKING:
    import pandas as pd

    from gpt2eval.report.results import Results


class Comparison(Contest):
    """Models compared on the same text; see `Contest`. Printed, it is a table with signatures."""

    __slots__ = ()

    def __str__(self) -> str:
        """Return the tables: in terminal layout if stdout is a terminal, else as Markdown."""
        return render(self, default_format())

    def to_frame(self) -> "pd.DataFrame":
        """Return a tidy pandas table: one row per duel, in full precision."""
        import pandas as pd

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
    measured = {task: entrants[BASELINE].tasks[task][0].metrics.keys() for task in common}
    limits.check_tasks(measured)
    check_metrics(metrics, measured.values())
    events: list[Event] = []
    for task in common:
        found, reasons = events_of(task, entrants, metrics, labels)
        events += found
        left_out += reasons
    duels = tuple(_duels(events, limits))
    if not duels:
        raise UsageError(f"nothing to compare: {'; '.join(left_out)}")
    return Comparison(
        tuple(names),
        tuple(labels),
        duels,
        tuple(
            _ranking(event, len(entrants))
            for event in events
            if len(entrants) > 2 and event.differences
        ),
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
    return duel(
        first,
        second,
        event.metric,
        found,
        verdict,
        model=model,
        p_adjusted=p,
        margin=str(limit or ""),
        agreement=event.agreements.get(model),
    )


def _ranking(event: Event, models: int) -> Ranking:
    """Return the ranks of one task, from verdicts that are adjusted over all its pairs."""
    present = sorted({model for pair in event.differences for model in pair})
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
