"""The verdicts between models that were measured on the same text by the same protocol."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gpt2eval.errors import UsageError
from gpt2eval.report.comparison.compare import compare
from gpt2eval.report.comparison.duels import Contest
from gpt2eval.report.comparison.facts import fact
from gpt2eval.report.comparison.pairs import check_pair
from gpt2eval.report.comparison.rows import columns_of, duel_rows, rank_rows
from gpt2eval.report.measured import Measured
from gpt2eval.report.page.sources import Labelled
from gpt2eval.report.results import Results

INCOMPARABLE = "the baseline has none of the same protocol, version and text"


def comparisons(sources: Sequence[Labelled]) -> dict[str, Any] | None:
    """Return the duels of all models with the first one, their ranks, and what is left out.

    None for fewer than two models with scores of records. `verdicts` has the verdict of each number
    by its metric and signature, for the cells of the table, and `facts` every number in full
    precision.
    """
    models = _models(sources)
    if len(models) < 2:
        return None
    baseline, *others = models
    operands = {baseline: models[baseline]}
    left_out: list[str] = []
    for label in others:
        operands[label] = {}
        for name, one in models[label].items():
            if _is_comparable(models[baseline], one):
                operands[label][name] = one
            else:
                left_out.append(f"{name}, {label}: {INCOMPARABLE}")
    operands = {label: operand for label, operand in operands.items() if operand}
    contest = Contest((), (), (), (), ())
    if len(operands) > 1:
        try:
            contest = compare([_results(operand) for operand in operands.values()])
            known = [line for line in contest.left_out if ": only on " not in line]
        except UsageError as error:  # such as a model of infinite losses; the page shows the rest
            known = [str(error)]
        left_out += map(_without_paths(operands), known)
    return _document(contest, [*operands], left_out)


def _models(sources: Sequence[Labelled]) -> dict[str, dict[str, Measured]]:
    """Return the results with scores of records by model and task."""
    models: dict[str, dict[str, Measured]] = {}
    for label, source in sources:
        if source.measured is not None:
            models.setdefault(label, {})[source.measured.result.full_name] = source.measured
    return models


def _is_comparable(baseline: dict[str, Measured], one: Measured) -> bool:
    first = baseline.get(one.result.full_name)
    if first is None:
        return False
    try:
        check_pair(first, one)
    except UsageError:
        return False
    return True


def _results(operand: dict[str, Measured]) -> Results:
    measured = operand.values()
    return Results([one.result for one in measured], paths=[one.path for one in measured])


def _without_paths(operands: Mapping[str, Mapping[str, Measured]]) -> Callable[[str], str]:
    """Return a function that puts models where a line has paths of their results."""
    names = {
        str(one.path): label for label, operand in operands.items() for one in operand.values()
    }

    def change(line: str) -> str:
        for path, label in names.items():
            line = line.replace(path, label)
        return line

    return change


def _document(contest: Contest, labels: Sequence[str], left_out: Sequence[str]) -> dict[str, Any]:
    rows = duel_rows(contest.duels)
    columns = [title for group in columns_of(rows) for title in group]
    return {
        "baseline": labels[0],
        "columns": columns,
        "rows": [
            {
                "title": row.label,
                "model": labels[duel.model],
                "cells": {
                    title: {"text": row.values[title], "interval": row.intervals.get(title, "")}
                    for title in columns
                    if row.values.get(title)
                },
            }
            for duel, row in zip(contest.duels, rows, strict=True)
        ],
        "facts": [fact(duel, labels[0], labels[duel.model]) for duel in contest.duels],
        "ranked": [ranking.title for ranking in contest.rankings],
        "ranks": [
            {"model": label, "cells": dict(row.values)}
            for label, row in zip(labels, rank_rows(contest), strict=True)
        ]
        if contest.rankings
        else [],
        "verdicts": _verdicts(contest),
        "left_out": left_out,
    }


def _verdicts(contest: Contest) -> dict[str, dict[str, str]]:
    """Return verdicts by metric and signature; metrics of one unit have one signature."""
    verdicts: dict[str, dict[str, str]] = {}
    for duel in contest.duels:
        metric = duel.other.metric
        verdicts.setdefault(metric.name, {})[metric.signature] = duel.verdict
    return verdicts
