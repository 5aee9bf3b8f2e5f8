"""Notes below a table: caveats of the numbers."""

from collections.abc import Callable, Sequence

from gpt2eval.config.schema import Suite
from gpt2eval.metrics.result import Result
from gpt2eval.metrics.verdict import judge
from gpt2eval.report.cells import Cells
from gpt2eval.report.labels import RowName


def notes(results: Sequence[Result]) -> list[str]:
    """Return a line for each caveat: the data, the filter, skipped tokens, missing intervals."""
    return [
        *_unpublished(results),
        *(
            f"{r.full_name}, {r.model.name}: the model cannot search for words, so its ACC is "
            "without the stop-word filter"
            for r in results
            if r.protocol.filter == "none" and "acc_unfiltered" in r.metrics
        ),
        *(
            f"{r.full_name}: {r.tally.unscored} tokens unscored"
            for r in results
            if r.tally.unscored
        ),
        *(
            f"{r.full_name}: {r.tally.straddling} tokens straddle the scored span"
            for r in results
            if r.tally.straddling
        ),
        *_without_interval(results),
    ]


def _without_interval(results: Sequence[Result]) -> list[str]:
    """Return a line for each reason why numbers have no interval."""
    tasks: dict[str, list[str]] = {}
    for result in results:
        reasons = {metric.name: metric.why_no_interval for metric in result.metrics.values()}
        shared = len(set(reasons.values())) == 1
        for metric, reason in reasons.items():
            name = result.full_name if shared else f"{result.full_name} {metric}"
            if reason and name not in tasks.setdefault(reason, []):
                tasks[reason].append(name)
    return [f"{', '.join(names)}: {reason}" for reason, names in tasks.items()]


def _unpublished(results: Sequence[Result]) -> list[str]:
    texts = sorted({f"{r.full_name} ({r.data.origin})" for r in results if not r.data.published})
    if not texts:
        return []
    return [
        "! not known to be the published test data, so not comparable with the published rows: "
        + ", ".join(texts)
    ]


def reasons(cells: Cells, suite: Suite, label: Callable[[RowName], str]) -> list[str]:
    """Return the reasons for numbers outside their tolerance, as far as the suite gives them."""
    lines: list[str] = []
    for name, row in cells.items():
        for title, cell in row.items():
            verdict = judge(*cell, suite)
            if verdict.reason:
                lines.append(f"{title}, {label(name)}: {verdict.verdict}: {verdict.reason}")
    return lines
