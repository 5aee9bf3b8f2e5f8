"""The rows of a table as text: our numbers, published rows and verdicts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from gpt2eval.config.schema import Suite
from gpt2eval.metrics.verdict import Verdict, judge
from gpt2eval.report.cells import Cell, Cells
from gpt2eval.report.labels import RowName
from gpt2eval.report.numbers import interval_text, published_text, value_text

Kind = Literal["ours", "published", "verdict"]
VERDICTS: dict[str, Callable[[Verdict], str]] = {
    "difference": lambda v: "" if v.difference is None else f"{v.difference:+.2f}",
    "tolerance": lambda v: "" if v.tolerance is None else f"{v.tolerance:.2f}",
    "verdict": lambda v: v.verdict,
}


@dataclass(frozen=True, slots=True)
class Row:
    """A row: its label, kind, texts by column, and the intervals of our numbers by column."""

    label: str
    kind: Kind
    values: Mapping[str, str]
    intervals: Mapping[str, str]


def table_rows(
    cells: Cells, columns: Sequence[str], suite: Suite, label: Callable[[RowName], str]
) -> list[Row]:
    """Return the rows of a table.

    A model of the published table is followed by its published row, the difference, the tolerance
    and the verdict. If no model has a published row, all published rows follow ours.
    """
    rows: list[Row] = []
    has_paper_model = False
    for name, row in cells.items():
        rows.append(_own_row(label(name), row, columns))
        if paper := _paper_row(row):
            has_paper_model = True
            rows += _published(paper, cells, columns)
            rows += _verdicts(row, columns, suite)
    if not has_paper_model:
        for paper in ("SOTA", *suite.models):
            rows += _published(paper, cells, columns)
    return rows


def _own_row(label: str, row: Mapping[str, Cell], columns: Sequence[str]) -> Row:
    present = [title for title in columns if title in row]
    values = {title: value_text(row[title].metric.value) for title in present}
    intervals = {title: interval_text(row[title].metric) for title in present}
    return Row(label, "ours", dict.fromkeys(columns, "") | values, intervals)


def _paper_row(row: Mapping[str, Cell]) -> str:
    """Return the published row that corresponds to a model, or ""."""
    return next((cell.result.row for cell in row.values()), "")


def _published(paper: str, cells: Cells, columns: Sequence[str]) -> list[Row]:
    """Return the published row of a name; [] if it has no figure in any column."""
    values: dict[str, str] = {}
    for title in columns:
        cell = next(row[title] for row in cells.values() if title in row)
        figure = cell.result.figure(cell.metric.name, paper)
        values[title] = published_text(figure[0]) if figure else ""
    return [Row(f"published {paper}", "published", values, {})] if any(values.values()) else []


def _verdicts(row: Mapping[str, Cell], columns: Sequence[str], suite: Suite) -> list[Row]:
    """Return the rows that compare a model with its published row."""
    verdicts = {title: judge(*cell, suite) for title, cell in row.items()}
    return [
        Row(
            name,
            "verdict",
            {title: text(verdicts[title]) if title in verdicts else "" for title in columns},
            {},
        )
        for name, text in VERDICTS.items()
    ]
