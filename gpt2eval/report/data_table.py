"""The table for programs, as CSV or JSON: full model names, and numbers in full precision.

A row of ours covers numbers of one limit and of one kind of data, so that its columns `limit` and
`published_data` hold for all of them; a model with several gets several rows.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gpt2eval.config.suite_schema import Suite
from gpt2eval.metrics.verdict import is_limited, judge
from gpt2eval.report.cells import Cell, Cells
from gpt2eval.report.escape import csv_cell
from gpt2eval.report.kept import kept_shares, with_kept
from gpt2eval.report.labels import RowName
from gpt2eval.report.marks import marks
from gpt2eval.report.rows import Row
from gpt2eval.report.strict_json import dumps, finite, reason_of
from gpt2eval.report.table_rows import table_rows

# The columns after those of the metrics.
STATED = ("limit", "published_data", "start_loss", "ties", "reason", "signature")
Record = dict[str, Any]


def csv_table(cells: Cells, titles: Sequence[str], suite: Suite) -> str:
    """Return the table as CSV; a number that is missing or infinite is an empty cell."""
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    records = _records(cells, titles, suite)
    columns = ["model", *with_kept(titles, cells), *STATED]
    writer.writerow(map(csv_cell, columns))
    for record in records:
        writer.writerow(csv_cell(finite(record[column])) for column in columns)
    return content.getvalue().rstrip("\n")


def json_table(cells: Cells, titles: Sequence[str], suite: Suite) -> str:
    """Return the table as strict JSON: `rows`, `cells` with all facts of each, `signatures`."""
    return dumps(
        {
            "rows": _records(cells, titles, suite),
            "cells": [
                _cell(name.text(), title, cell, suite)
                for name, row in cells.items()
                for title, cell in row.items()
            ],
            "signatures": {
                name.text(): {title: cell.metric.signature for title, cell in row.items()}
                for name, row in cells.items()
            },
        }
    )


def _records(cells: Cells, titles: Sequence[str], suite: Suite) -> list[Record]:
    """Return the rows as records of equal keys."""
    columns = [*with_kept(titles, cells), *STATED]
    return [
        {"model": row.label} | dict.fromkeys(columns) | record
        for row in table_rows(cells, titles, suite, RowName.text)
        for record in _split(row)
    ]


def _split(row: Row) -> Iterator[Record]:
    """Yield a row's numbers, those of each limit and kind of data apart."""
    if not row.cells:
        yield dict(row.facts)
        return
    groups: dict[tuple[int | None, bool], list[str]] = {}
    for title, (result, _) in row.cells.items():
        groups.setdefault((result.protocol.limit, result.data.published), []).append(title)
    for (limit, published), titles in groups.items():
        shares = kept_shares({title: row.cells[title] for title in titles})
        yield (
            {title: row.facts[title] for title in titles}
            | shares
            | {
                "limit": limit,
                "published_data": published,
                **_sums({title: row.cells[title] for title in titles}),
            }
        )


def _sums(cells: Mapping[str, Cell]) -> Record:
    """Return the largest start loss, the sum of ties, infinite columns, and the signatures."""
    results = list({cell.result.full_name: cell.result for cell in cells.values()}.values())
    reasons = {title: reason_of(cell.metric.value) for title, cell in cells.items()}
    losses = [loss for result in results if (loss := result.start_loss) is not None]
    return {
        "start_loss": max(losses, default=None),
        "ties": sum(result.tally.ties for result in results),
        "reason": "; ".join(f"{title} {why}" for title, why in reasons.items() if why),
        "signature": " ".join(cell.metric.signature for cell in cells.values()),
    }


def _cell(model: str, title: str, cell: Cell, suite: Suite) -> Mapping[str, object]:
    """Return all facts of one number."""
    result, metric = cell
    figure = None if is_limited(result) else result.figure(metric.name, result.row)
    verdict = None if is_limited(result) else judge(result, metric, suite)
    return {
        "model": model,
        "column": title,
        "task": result.full_name,
        "metric": metric.name,
        "value": metric.value,
        "interval": metric.interval,
        "unit": metric.unit,
        "units": metric.units,
        "marks": marks(result),
        "limit": result.protocol.limit,
        "published_data": result.data.published,
        "start_loss": result.start_loss,
        "ties": result.tally.ties,
        "kept": result.kept and result.kept.share,
        "published": figure and figure[0],
        "difference": verdict and verdict.difference,
        "tolerance": verdict and verdict.tolerance,
        "verdict": verdict and verdict.verdict,
        "signature": metric.signature,
    }
