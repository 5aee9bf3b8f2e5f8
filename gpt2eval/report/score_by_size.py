"""Scores against the number of weights, beside the published models.

With the paper's table this is figure 1 of Radford et al. (2019). Does not know how it is drawn.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from gpt2eval.config.suite_schema import Suite
from gpt2eval.errors import UsageError, unknown
from gpt2eval.metrics.result import Interval, Result
from gpt2eval.metrics.verdict import is_complete, is_limited
from gpt2eval.notices import notify
from gpt2eval.report.cells import Cell, check_one_protocol, choose, place
from gpt2eval.report.labels import RowName, short_names
from gpt2eval.report.model_sizes import family_of, gpt2_weights, weights_of
from gpt2eval.report.table_rows import SOTA

PAPER_FAMILY = "GPT-2, measured"


class Spot(NamedTuple):
    """A measured number of a model with some number of weights."""

    weights: float
    value: float
    interval: Interval | None
    complete: bool


class Column(NamedTuple):
    """The numbers of a column: ours by series, the published ones by name, the best earlier one."""

    title: str
    metric: str
    unit: str
    spots: Mapping[str, Sequence[Spot]]
    published: Mapping[str, tuple[float, float]]
    best: float | None


def columns_by_size(
    results: Sequence[Result],
    suite: Suite,
    *,
    columns: Sequence[str] = (),
    sizes: Mapping[str, float] | None = None,
    mixed: bool = False,
) -> list[Column]:
    """Return the columns of a suite that have numbers, and the other columns of the results.

    A model without a known size is left out with a notice. Nothing published stands beside numbers
    that are all limited.

    Args:
        results: The results to show.
        suite: The suite with the columns and the shapes of the published models.
        columns: Titles or tasks to show; by default all.
        sizes: Numbers of weights by the names of models.
        mixed: Allows numbers of different protocols in one column.

    Raises:
        UsageError: No number can be drawn, a column has numbers of two protocols, or `sizes` names
            a model that has no result.
    """
    cells, titles = choose(place(results, suite), columns, suite)
    if not mixed:
        check_one_protocol(cells)
    check_stated(sizes or {}, results)
    weights = {result.model: weights_of(result.model, sizes or {}) for result in results}
    for name in dict.fromkeys(model.name for model, count in weights.items() if count is None):
        notify(f"{name}: number of weights unknown; left out; --size '{name}=135M' states it")
    names = _series(cells, short_names([result.model for result in results]))
    found: list[Column] = []
    for title in titles:
        column = [(row, cell) for row, by_title in cells.items() if (cell := by_title.get(title))]
        spots: dict[str, list[Spot]] = {}
        for row, (result, metric) in column:
            count = weights[result.model]
            if count is not None and math.isfinite(metric.value):
                spot = Spot(count, metric.value, metric.interval, is_complete(result))
                spots.setdefault(names[row], []).append(spot)
        if spots:
            by_size = {name: sorted(dots) for name, dots in sorted(spots.items())}
            found.append(_column(title, [cell for _, cell in column], by_size, suite))
    if not found:
        raise UsageError("no number of a model of known size; expected --size MODEL=135M")
    return found


def check_stated(sizes: Mapping[str, float], results: Iterable[Result]) -> None:
    """Raise UsageError if `sizes` names a model that has no result."""
    models = {result.model.name for result in results}
    for name in sizes:
        if name not in models:
            raise unknown("model of --size", name, models)


def published_points(column: Sequence[Cell], suite: Suite) -> dict[str, tuple[float, float]]:
    """Return weights and published figure of each row of a suite; {} beside limited numbers only.

    `column` are the numbers that the points stand beside.
    """
    if _all_limited(column):
        return {}
    result, metric = column[0]
    published: dict[str, tuple[float, float]] = {}
    for name, shape in suite.models.items():
        figure = result.figure(metric.name, name)
        count = gpt2_weights(shape)
        if figure and count:
            published[name] = (float(count), figure[0])
    return published


def _all_limited(column: Sequence[Cell]) -> bool:
    return all(is_limited(cell.result) for cell in column)


def _series(
    cells: Mapping[RowName, Mapping[str, Cell]], names: Mapping[str, str]
) -> dict[RowName, str]:
    """Return the series of each row: models of one name in several sizes share a series."""
    models = {row: next(iter(by_title.values())).result for row, by_title in cells.items()}
    families: dict[str, set[str]] = {}
    for result in models.values():
        families.setdefault(_family(result), set()).add(result.model.name)
    series: dict[RowName, str] = {}
    for row, result in models.items():
        family = _family(result)
        is_family = len(families[family]) > 1 and row.text() == row.model
        series[row] = family.rpartition("/")[2] if is_family else row.text(names)
    return series


def _family(result: Result) -> str:
    return PAPER_FAMILY if result.row else family_of(result.model)


def _column(
    title: str, column: Sequence[Cell], spots: Mapping[str, Sequence[Spot]], suite: Suite
) -> Column:
    result, metric = column[0]
    published = published_points(column, suite)
    best = None
    if not _all_limited(column):
        best = (result.figure(metric.name, SOTA) or (None,))[0]
    return Column(title, metric.name, metric.unit, spots, published, best)
