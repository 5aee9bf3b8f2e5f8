"""Place numbers in the rows and columns of a table.

Rows are models; columns are those of the suite, then the others of the results. Does not know how
a table is written.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import NamedTuple

from gpt2eval.config.suite_schema import Suite
from gpt2eval.errors import UsageError, unknown
from gpt2eval.metrics.result import MetricValue, Result
from gpt2eval.metrics.signature import MODEL, protocol_differences, read
from gpt2eval.report.labels import RowName, qualifiers
from gpt2eval.report.steps import in_order

# Metrics that a table shows although no suite has a column for them.
ADDITIONAL = {"acc_unfiltered": "{} ACC unfiltered"}


class Cell(NamedTuple):
    """A metric, and the result that it belongs to."""

    result: Result
    metric: MetricValue


Cells = dict[RowName, dict[str, Cell]]


def place(results: Sequence[Result], suite: Suite) -> Cells:
    """Return the cell of each row and column.

    Copies of one measurement share a cell. A result of a different protocol, or of other
    log-probabilities, gets its own row. The checkpoints of a run are in order of steps.
    """
    titles = {(column.task, column.metric): column.title for column in suite.columns}
    cells: Cells = {}
    names = qualifiers(result.model for result in results)
    for result, qualifier in zip(results, names, strict=True):
        row = RowName(result.model.name, qualifier)
        for title, metric in _titled(result, titles):
            cell = Cell(result, metric)
            name = _free_row(cells, row, title, cell)
            cells.setdefault(name, {})[title] = cell
    rows = [(name, next(iter(row.values())).result.model) for name, row in cells.items()]
    return {name: cells[name] for name in in_order(rows)}


def _titled(
    result: Result, titles: Mapping[tuple[str, str], str]
) -> Iterable[tuple[str, MetricValue]]:
    """Yield a result's metrics that the table shows, with the titles of their columns."""
    named = {name: _title(result, name, titles) for name in result.metrics}
    shows_all = len(result.metrics) == 1 or not any(named.values())
    for name, metric in result.metrics.items():
        if named[name] or shows_all:
            yield named[name] or f"{result.full_name} {name}", metric


def _title(result: Result, metric: str, titles: Mapping[tuple[str, str], str]) -> str:
    """Return a metric's column title: its own, or the task's with the variant, or ""."""
    if own_title := titles.get((result.full_name, metric)):
        return own_title
    title = titles.get((result.task, metric)) or ADDITIONAL.get(metric, "").format(result.title)
    return f"{title} /{result.variant}" if title and result.variant else title


def _free_row(cells: Cells, row: RowName, title: str, new: Cell) -> RowName:
    """Return the first row of a model whose cell is empty or holds the same measurement."""
    for number in count(1):
        name = row._replace(number=number)
        cell = cells.get(name, {}).get(title)
        if cell is None or _same_measurement(cell, new):
            return name
    raise AssertionError("count() does not end")


def _same_measurement(first: Cell, second: Cell) -> bool:
    """Whether two cells have one protocol and the same log-probabilities."""
    if first.result.nll_sha256 != second.result.nll_sha256:
        return False
    fields = [read(cell.metric.signature) for cell in (first, second)]
    return not protocol_differences(*fields, ignored=set(MODEL))


def check_one_protocol(cells: Cells) -> None:
    """Raise UsageError for a column with numbers of two protocols."""
    first: dict[str, MetricValue] = {}
    for row in cells.values():
        for title, cell in row.items():
            expected = read(first.setdefault(title, cell.metric).signature)
            actual = read(cell.metric.signature)
            if differing := protocol_differences(expected, actual, ignored=set(MODEL)):
                contrasts = "; ".join(
                    f"{key} {x or '(none)'} and {y or '(none)'}" for key, x, y in differing
                )
                raise UsageError(
                    f"column {title}: numbers of two protocols, which differ in {contrasts}; "
                    "expected one protocol (--mixed allows several)"
                )


def column_titles(cells: Cells, suite: Suite) -> list[str]:
    """Return the titles of the columns: the suite's in its order, then the others."""
    present = list(dict.fromkeys(title for row in cells.values() for title in row))
    ordered = [column.title for column in suite.columns if column.title in present]
    return ordered + [title for title in present if title not in ordered]


def choose(cells: Cells, names: Sequence[str], suite: Suite) -> tuple[Cells, list[str]]:
    """Return the cells and titles of the columns in `names`, in that order; by default all columns.

    A name is a column's title, or a task, which selects all its columns. Case is ignored, unless
    a title is written exactly: `WikiText2` is one column, `wikitext2` also those of its variants.

    Raises:
        UsageError: for an unknown name.
    """
    titles = column_titles(cells, suite)
    if not names:
        return cells, titles
    by_name: dict[str, list[str]] = {}
    known: set[str] = set()
    for title in titles:
        keys = {title}
        for row in cells.values():
            if title in row:
                keys |= {row[title].result.task, row[title].result.full_name}
        known |= keys
        for key in keys:
            by_name.setdefault(key.lower(), []).append(title)
    chosen: list[str] = []
    for name in map(str.strip, names):
        if name.lower() not in by_name:
            raise unknown("column", name, known)
        chosen += [name] if name in titles else by_name[name.lower()]
    chosen = list(dict.fromkeys(chosen))
    rows = {
        name: {title: cell for title, cell in row.items() if title in chosen}
        for name, row in cells.items()
    }
    return {name: row for name, row in rows.items() if row}, chosen
