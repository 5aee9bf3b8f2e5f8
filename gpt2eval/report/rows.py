"""The rows of a table: our numbers, published rows and verdicts.

No published figure and no verdict stands beside a number of limited data: a column whose numbers
are all limited has no published figures, and a limited number has no verdict.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from gpt2eval.config.suite_schema import Suite
from gpt2eval.metrics.signature import MODEL, protocol_differences, read
from gpt2eval.metrics.verdict import Verdict, is_limited, judge
from gpt2eval.report.cells import Cell, Cells
from gpt2eval.report.labels import RowName
from gpt2eval.report.marks import marks
from gpt2eval.report.numbers import PERCENT, decimals, interval_text, published_text, value_text

Kind = Literal["ours", "published", "verdict", "total"]
Fact = float | str | None


class Line(NamedTuple):
    """A row of verdicts: what a program gets, and the text for people."""

    fact: Callable[[Verdict], Fact]
    text: Callable[[Verdict, int], str]


VERDICTS: dict[str, Line] = {
    "difference": Line(
        lambda v: v.difference,
        lambda v, places: "" if v.difference is None else f"{v.difference:+,.{places}f}",
    ),
    "tolerance": Line(
        lambda v: v.tolerance,
        lambda v, places: "" if v.tolerance is None else f"{v.tolerance:,.{places}f}",
    ),
    "verdict": Line(lambda v: v.verdict, lambda v, places: v.verdict),
}


@dataclass(frozen=True, slots=True)
class Row:
    """A row: its label and kind, and by column its texts, intervals, facts and cells.

    `values` are for people, `facts` for programs, with full precision. Only our own rows have
    intervals and cells. `best` holds the columns in which the row is marked as the best one.
    """

    label: str
    kind: Kind
    values: Mapping[str, str]
    facts: Mapping[str, Fact]
    intervals: Mapping[str, str]
    cells: Mapping[str, Cell]
    best: Set[str] = frozenset()


def table_rows(
    cells: Cells,
    columns: Sequence[str],
    suite: Suite,
    label: Callable[[RowName], str],
    places: int | None = None,
) -> list[Row]:
    """Return the rows of a table; `places` is the number of decimals of our numbers.

    A model of the published table is followed by its published row, the difference, the tolerance
    and the verdict. If no model has a published row, all published rows follow ours.
    """
    rows: list[Row] = []
    has_paper_model = False
    for name, row in cells.items():
        rows.append(_own_row(label(name), row, columns, places))
        if paper := _paper_row(row):
            has_paper_model = True
            rows += _published(paper, [row], cells, columns)
            rows += _verdicts(row, columns, suite, places)
    if not has_paper_model:
        for paper in ("SOTA", *suite.models):
            rows += _published(paper, cells.values(), cells, columns)
    return rows


def with_best(rows: Sequence[Row], columns: Sequence[str]) -> list[Row]:
    """Return rows in which the best of our numbers in each column are marked; ties are all marked.

    Numbers tie if they look the same. A column has no best number if it has fewer than two, or if
    they are not comparable: of two protocols, limits or kinds of data.
    """
    best: dict[str, set[str]] = {title: _best_texts(rows, title) for title in columns}
    return [
        replace(row, best={title for title in row.cells if _bare(row, title) in best[title]})
        for row in rows
    ]


def _best_texts(rows: Sequence[Row], title: str) -> set[str]:
    """Return the text of the best number in a column, or nothing."""
    compared = [row for row in rows if title in row.cells]
    cells = [row.cells[title] for row in compared]
    if len(cells) < 2 or not all(_comparable(cells[0], cell) for cell in cells):
        return set()
    sign = -1 if cells[0].metric.name in PERCENT else 1
    first = min(compared, key=lambda row: sign * row.cells[title].metric.value)
    return {_bare(first, title)}


def _bare(row: Row, title: str) -> str:
    """Return the text of one of our numbers without marks."""
    return row.values[title].removesuffix(marks(row.cells[title].result))


def _comparable(first: Cell, second: Cell) -> bool:
    fields = [read(cell.metric.signature) for cell in (first, second)]
    return not protocol_differences(*fields, ignored=set(MODEL))


def with_intervals(row: Row) -> Row:
    """Return a row whose texts are numbers with their intervals."""
    texts = {
        title: f"{value} {row.intervals.get(title, '')}".strip()
        for title, value in row.values.items()
    }
    return replace(row, values=texts)


def _own_row(
    label: str, row: Mapping[str, Cell], columns: Sequence[str], places: int | None
) -> Row:
    present = {title: row[title] for title in columns if title in row}
    values = dict.fromkeys(columns, "")
    for title, (result, metric) in present.items():
        values[title] = value_text(metric.value, metric.name, places) + marks(result)
    facts = {title: cell.metric.value for title, cell in present.items()}
    intervals = {title: interval_text(cell.metric, places) for title, cell in present.items()}
    return Row(label, "ours", values, facts, intervals, present)


def _paper_row(row: Mapping[str, Cell]) -> str:
    """Return the published row that corresponds to a model, or ""."""
    return next((cell.result.row for cell in row.values()), "")


def _published(
    paper: str, beside: Iterable[Mapping[str, Cell]], cells: Cells, columns: Sequence[str]
) -> list[Row]:
    """Return the published row of a name below some rows of ours; [] if it has no figure."""
    beside = list(beside)
    facts: dict[str, float] = {}
    for title in columns:
        compared = [row[title] for row in beside if title in row]
        compared = compared or [row[title] for row in cells.values() if title in row]
        figure = compared[0].result.figure(compared[0].metric.name, paper)
        if figure and not all(is_limited(cell.result) for cell in compared):
            facts[title] = figure[0]
    if not facts:
        return []
    texts = {title: published_text(figure) for title, figure in facts.items()}
    values = dict.fromkeys(columns, "") | texts
    return [Row(f"published {paper}", "published", values, facts, {}, {})]


def _verdicts(
    row: Mapping[str, Cell], columns: Sequence[str], suite: Suite, places: int | None
) -> list[Row]:
    """Return the rows that compare a model with its published row; [] if all is limited."""
    compared = {title: cell for title, cell in row.items() if not is_limited(cell.result)}
    verdicts = {title: judge(*cell, suite) for title, cell in compared.items()}
    if not verdicts:
        return []
    return [
        _verdict_row(name, line, verdicts, compared, columns, places)
        for name, line in VERDICTS.items()
    ]


def _verdict_row(
    name: str,
    line: Line,
    verdicts: Mapping[str, Verdict],
    compared: Mapping[str, Cell],
    columns: Sequence[str],
    places: int | None,
) -> Row:
    texts: dict[str, str] = {}
    for title, verdict in verdicts.items():
        metric = compared[title].metric
        usual = decimals(metric.value, metric.name)
        texts[title] = line.text(verdict, usual if places is None else places)
    facts = {title: line.fact(verdict) for title, verdict in verdicts.items()}
    return Row(name, "verdict", dict.fromkeys(columns, "") | texts, facts, {}, {})
