"""The table of the page: rows, intervals, signatures, and verdicts."""

import math
from typing import Any

from gpt2eval.config.suite_schema import Suite
from gpt2eval.metrics.result import Result
from gpt2eval.report.cells import Cell
from gpt2eval.report.kept import KEPT_UNIT, with_kept
from gpt2eval.report.notes import table_notes
from gpt2eval.report.numbers import PERCENT, value_label
from gpt2eval.report.page.comparisons import comparisons
from gpt2eval.report.page.sources import Overview
from gpt2eval.report.rows import Row
from gpt2eval.report.table_rows import table_rows


def table_section(overview: Overview, suite: Suite) -> dict[str, Any]:
    """Return the columns, the groups of rows that stay together when sorted, and the notes.

    A group is a row of ours with the published figures and the verdicts of the same model, or one
    published row.
    """
    rows = table_rows(overview.cells, overview.titles, suite, overview.label)
    groups: list[list[dict[str, Any]]] = []
    for row in rows:
        if not row.follows:
            groups.append([])
        groups[-1].append(_row(row))
    results = [one.source.result for one in overview.sources]
    return {
        "columns": [
            _column(title, overview) for title in with_kept(overview.titles, overview.cells)
        ],
        "groups": groups,
        "notes": table_notes(results, overview.cells, rows, suite, overview.label),
        "comparisons": comparisons(overview.sources),
    }


def _column(title: str, overview: Overview) -> dict[str, Any]:
    cell = next((row[title] for row in overview.cells.values() if title in row), None)
    if cell is None:  # a column of kept shares
        return {"title": title, "unit": KEPT_UNIT, "higher": None}
    return {"title": title, "unit": unit_text(cell), "higher": cell.metric.name in PERCENT}


def unit_text(cell: Cell) -> str:
    """Return what a number counts, such as `perplexity per word`."""
    return value_label(cell.metric.name, cell.metric.unit)


def _row(row: Row) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for title, text in row.values.items():
        if not text:
            continue
        fact = row.facts.get(title)
        value = fact if isinstance(fact, int | float) and math.isfinite(fact) else None
        cells[title] = {"text": text, "value": value}
        if interval := row.intervals.get(title):
            cells[title]["interval"] = interval
        if cell := row.cells.get(title):
            cells[title]["signed"] = _signed(cell.result, title, cell)
    return {"label": row.label, "kind": row.kind, "cells": cells}


def _signed(result: Result, title: str, cell: Cell) -> dict[str, Any]:
    metric = cell.metric
    low, high = metric.interval or (None, None)
    return {
        "task": result.full_name,
        "column": title,
        "metric": metric.name,
        "unit": unit_text(cell),
        "value": repr(metric.value),
        "interval": "" if low is None or high is None else f"[{low!r}, {high!r}]",
        "resampled": _resampled(cell),
        "signature": metric.signature,
    }


def _resampled(cell: Cell) -> str:
    metric = cell.metric
    if metric.interval is None:
        return metric.why_no_interval or "no interval"
    name = metric.resampled or "unit"
    return f"95 % interval; independent: {metric.resampled_units:,} × {name}"
