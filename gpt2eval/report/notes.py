"""Notes below a table: caveats of the numbers."""

from collections.abc import Callable, Sequence

from gpt2eval.config.suite_schema import Suite
from gpt2eval.metrics.result import Result
from gpt2eval.metrics.verdict import judge
from gpt2eval.report.cells import Cells
from gpt2eval.report.labels import RowName
from gpt2eval.report.marks import footers


def notes(results: Sequence[Result]) -> list[str]:
    """Return the footers of marks, and lines for filters and skipped tokens."""
    return [
        *footers(results),
        *(
            f"{r.full_name}, {r.model.name}: the model cannot search for words, so its ACC is "
            "without the stop-word filter"
            for r in results
            if r.protocol.filter == "none" and "acc_unfiltered" in r.metrics
        ),
        *(
            f"{r.full_name}, {r.model.name}: in {r.tally.undecided} of {r.tally.records} records "
            "the search for the best word stopped at its limit; their answers are judged by the "
            "words found so far"
            for r in results
            if r.tally.undecided
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
