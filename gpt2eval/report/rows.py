"""A row of a table, and the styles of rows: the best number, intervals beside the numbers."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Literal

from gpt2eval.metrics.signature import MODEL, protocol_differences, read
from gpt2eval.report.cells import Cell
from gpt2eval.report.marks import marks
from gpt2eval.report.numbers import PERCENT

Kind = Literal["ours", "published", "verdict", "total"]
Fact = float | str | None


@dataclass(frozen=True, slots=True)
class Row:
    """A row: its label and kind, and by column its texts, intervals, facts and cells.

    `values` are for people, `facts` for programs, with full precision. Only our own rows have
    intervals and cells. `best` holds the columns in which the row is marked as the best one, and
    `sources` says where published figures are from. `follows`: the row belongs to the row of ours
    above it.
    """

    label: str
    kind: Kind
    values: Mapping[str, str]
    facts: Mapping[str, Fact]
    intervals: Mapping[str, str]
    cells: Mapping[str, Cell]
    best: Set[str] = frozenset()
    sources: Mapping[str, str] = field(default_factory=dict)
    follows: bool = False


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
