"""Scores against the number of parameters: the paper's figure 1, with the results beside it."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from gpt2eval.config.suite_schema import Suite
from gpt2eval.errors import UsageError, unknown
from gpt2eval.identity import Sizes
from gpt2eval.metrics.result import Result
from gpt2eval.metrics.verdict import is_complete, is_limited
from gpt2eval.report.cells import Cell
from gpt2eval.report.numbers import PERCENT, interval_text, published_text, value_text
from gpt2eval.report.page.sources import Overview
from gpt2eval.report.page.table_section import unit_text

GPT2 = re.compile(r"gpt2-(\d{1,4})x(\d{1,6})-(\d{1,7})")  # layers, width, vocabulary
POSITIONS = 1024  # of every published GPT-2; a shape does not state them
COUNT = re.compile(r"(\d+(?:\.\d+)?)([kMBT]?)")
FACTORS = {"": 1.0, "k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


def parse_count(text: str) -> float | None:
    """Return a number such as `117M` or `1.5B`, or None.

    >>> parse_count("117M"), parse_count("1.5B"), parse_count("large")
    (117000000.0, 1500000000.0, None)
    """
    match = COUNT.fullmatch(text)
    count = float(match[1]) * FACTORS[match[2]] if match else 0.0
    return count if 0 < count < math.inf else None


def parse_parameters(arguments: Sequence[str]) -> dict[str, float]:
    """Return the counts of `MODEL=COUNT` arguments by model.

    Raises:
        UsageError: An argument has another form.
    """
    counts: dict[str, float] = {}
    for argument in arguments:
        model, equals, text = argument.rpartition("=")
        count = parse_count(text)
        if not equals or not model or count is None:
            raise UsageError(f"--parameters {argument}: expected MODEL=COUNT, as in gpt2=124M")
        counts[model] = count
    return counts


def parameters(result: Result, label: str, given: Mapping[str, float]) -> float | None:
    """Return the number of a model's parameters, or None if it is unknown.

    It is the one `given` for the model's name or label, or follows from a GPT-2's shape.
    """
    for name in (label, result.model.name):
        if name in given:
            return given[name]
    match = GPT2.fullmatch(result.model.shape)
    if not match:
        return None
    layers, width, vocabulary = map(int, match.groups())
    return float(Sizes.of_gpt2(layers, width, vocabulary, POSITIONS).weights)


def size_section(overview: Overview, suite: Suite, given: Mapping[str, float]) -> dict[str, Any]:
    """Return a panel for each column, and the models whose size is unknown.

    Nothing published stands beside numbers of limited data, as in the table.

    Raises:
        UsageError: `given` names a model that has no result.
    """
    named = {one.label for one in overview.sources}
    named |= {one.source.result.model.name for one in overview.sources}
    for name in given:
        if name not in named:
            raise unknown("model of --parameters", name, named)
    panels = [_panel(title, overview, suite, given) for title in overview.titles]
    omitted = [
        one.label
        for one in overview.sources
        if parameters(one.source.result, one.label, given) is None
    ]
    return {
        "panels": [panel for panel in panels if _is_comparison(panel)],
        "omitted": [*dict.fromkeys(omitted)],
    }


def _is_comparison(panel: Mapping[str, Any]) -> bool:
    """Return whether a panel has a point of ours, and another one to compare it with."""
    return bool(panel["ours"]) and len(panel["ours"]) + len(panel["published"]) > 1


def _panel(
    title: str, overview: Overview, suite: Suite, given: Mapping[str, float]
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
        if (size := parameters(cell.result, label, given)) and math.isfinite(cell.metric.value)
    ]
    published = []
    if not all(is_limited(cell.result) for cell in cells.values()):
        for row in suite.models:
            figure = first.result.figure(first.metric.name, row)
            size = parse_count(row)
            if figure and size:
                shown = published_text(figure[0])
                published.append({**_point(row, size, figure[0]), "text": shown})
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
