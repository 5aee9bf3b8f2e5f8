"""Scores against the number of parameters: the paper's figure 1, with the results beside it."""

import math
from collections.abc import Mapping
from typing import Any

from gpt2eval.config.suite_schema import Suite
from gpt2eval.metrics.verdict import is_complete
from gpt2eval.report.cells import Cell
from gpt2eval.report.model_sizes import weights_of
from gpt2eval.report.numbers import PERCENT, interval_text, published_text, value_text
from gpt2eval.report.page.sources import Overview
from gpt2eval.report.page.table_section import unit_text
from gpt2eval.report.score_by_size import check_stated, published_points


def size_section(overview: Overview, suite: Suite, stated: Mapping[str, float]) -> dict[str, Any]:
    """Return a panel for each column, and the models whose size is unknown.

    `stated` has numbers of weights by the names of models. Nothing published stands beside numbers
    of limited data, as in the table.

    Raises:
        UsageError: `stated` names a model that has no result.
    """
    check_stated(stated, (one.source.result for one in overview.sources))
    panels = [_panel(title, overview, suite, stated) for title in overview.titles]
    omitted = [
        one.label for one in overview.sources if weights_of(one.source.result.model, stated) is None
    ]
    return {
        "panels": [panel for panel in panels if _is_comparison(panel)],
        "omitted": [*dict.fromkeys(omitted)],
    }


def _is_comparison(panel: Mapping[str, Any]) -> bool:
    """Return whether a panel has a point of ours, and another one to compare it with."""
    return bool(panel["ours"]) and len(panel["ours"]) + len(panel["published"]) > 1


def _panel(
    title: str, overview: Overview, suite: Suite, stated: Mapping[str, float]
) -> dict[str, Any]:
    cells = {overview.label(n): row[title] for n, row in overview.cells.items() if title in row}
    first = next(iter(cells.values()))
    ours = [
        {
            **_point(label, size, cell.metric.value),
            **_interval(cell),
            "comparable": is_complete(cell.result),
        }
        for label, cell in cells.items()
        if (size := weights_of(cell.result.model, stated)) and math.isfinite(cell.metric.value)
    ]
    published = [
        {**_point(row, size, figure), "text": published_text(figure)}
        for row, (size, figure) in published_points([*cells.values()], suite).items()
    ]
    return {
        "title": title,
        "unit": unit_text(first),
        "log": "ppl" in first.metric.name,
        "higher": first.metric.name in PERCENT,
        "ours": ours,
        "published": published,
    }


def _point(label: str, size: float, value: float) -> dict[str, Any]:
    return {"label": label, "parameters": size, "value": value}


def _interval(cell: Cell) -> dict[str, Any]:
    metric = cell.metric
    text = f"{value_text(metric.value, metric.name)} {interval_text(metric)}".strip()
    low, high = metric.interval or (None, None)
    finite = high is not None and math.isfinite(high)
    return {"text": text, "low": low if finite else None, "high": high if finite else None}
