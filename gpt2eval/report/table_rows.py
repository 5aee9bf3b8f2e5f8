"""The rows of the table of results: our numbers, published rows and verdicts.

No published figure and no verdict stands beside a number of limited data: a column whose numbers
are all limited has no published figures, and a limited number has no verdict.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from gpt2eval.config.suite_schema import Suite
from gpt2eval.metrics.verdict import Verdict, is_limited, judge
from gpt2eval.report.cells import Cell, Cells
from gpt2eval.report.kept import kept_shares
from gpt2eval.report.labels import RowName
from gpt2eval.report.marks import marks
from gpt2eval.report.numbers import (
    decimals,
    interval_text,
    published_text,
    share_text,
    value_text,
)
from gpt2eval.report.rows import Fact, Row

PUBLISHED = "published "  # before the name of a published row
SOTA = "SOTA"  # the row of the best figure before the suite's models


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


def table_rows(
    cells: Cells,
    columns: Sequence[str],
    suite: Suite,
    label: Callable[[RowName], str],
    places: int | None = None,
) -> list[Row]:
    """Return the rows of a table; `places` is the number of decimals of our numbers.

    A model of the published table is followed by its published row, the difference, the tolerance
    and the verdict. If no model has a published row, all published rows follow ours. The rows of
    other models are always the last ones.
    """
    rows: list[Row] = []
    for name, row in cells.items():
        rows.append(_own_row(label(name), row, columns, places))
        if paper := _paper_row(row):
            published = _published(paper, [row], cells, columns)
            verdicts = _verdicts(row, columns, suite, places) if published else []
            rows += [replace(one, follows=True) for one in (*published, *verdicts)]
    others = suite.others
    if not any(row.follows for row in rows):
        others = (SOTA, *suite.models, *others)
    for other in others:
        rows += _published(other, cells.values(), cells, columns)
    return rows


def _own_row(
    label: str, row: Mapping[str, Cell], columns: Sequence[str], places: int | None
) -> Row:
    present = {title: row[title] for title in columns if title in row}
    values = dict.fromkeys(columns, "")
    for title, (result, metric) in present.items():
        values[title] = value_text(metric.value, metric.name, places) + marks(result)
    shares = kept_shares(present)
    values |= {title: share_text(share) for title, share in shares.items()}
    facts = {title: cell.metric.value for title, cell in present.items()} | shares
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
    sources: dict[str, str] = {}
    for title in columns:
        compared = [row[title] for row in beside if title in row]
        compared = compared or [row[title] for row in cells.values() if title in row]
        figure = compared[0].result.figure(compared[0].metric.name, paper)
        if figure and not all(is_limited(cell.result) for cell in compared):
            facts[title], sources[title] = figure
    if not facts:
        return []
    texts = {title: published_text(figure) for title, figure in facts.items()}
    values = dict.fromkeys(columns, "") | texts
    return [Row(f"{PUBLISHED}{paper}", "published", values, facts, {}, {}, sources=sources)]


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
