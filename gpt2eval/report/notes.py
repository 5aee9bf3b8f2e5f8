"""Notes below a table: caveats of the numbers, bits as perplexities, sources of figures."""

import math
from collections.abc import Callable, Mapping, Sequence

from gpt2eval.config.suite_schema import Suite
from gpt2eval.metrics.clusters import counted
from gpt2eval.metrics.result import Result
from gpt2eval.metrics.verdict import judge
from gpt2eval.report.cells import Cell, Cells
from gpt2eval.report.labels import RowName
from gpt2eval.report.marks import footers
from gpt2eval.report.numbers import share_text, value_text
from gpt2eval.report.rows import Row
from gpt2eval.report.table_rows import PUBLISHED, SOTA

# Metrics of one quantity: bits, and the perplexity that is 2 to that power.
UNITS = {"bpb": "byte", "byte_ppl": "byte", "bpc": "character"}
OTHER_FORM = {"bpb": "byte_ppl", "byte_ppl": "bpb"}
MOST_BITS = 1000.0  # 2 to a higher power may exceed a float


def table_notes(
    results: Sequence[Result],
    cells: Cells,
    rows: Sequence[Row],
    suite: Suite,
    label: Callable[[RowName], str],
) -> list[str]:
    """Return the notes below the table of results."""
    return [
        *notes(results),
        *bits_as_perplexities(cells, label),
        *sources(rows, suite),
        *reasons(cells, suite, label),
    ]


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
            f"{r.full_name}, {r.model.name}: {r.kept.kept:,} of {r.kept.total:,} tokens "
            f"({share_text(r.kept.share)}) lie in a window; the protocol drops the others"
            for r in results
            if r.kept
        ),
        *(
            f"{r.full_name}: {counted(r.tally.unscored, 'token')} unscored"
            for r in results
            if r.tally.unscored and not _is_dropped_only(r)
        ),
        *(
            f"{r.full_name}: {r.tally.straddling} tokens straddle the scored span"
            for r in results
            if r.tally.straddling
        ),
    ]


def _is_dropped_only(result: Result) -> bool:
    """Return whether all unscored tokens are those that lie in no window, which a line counts."""
    kept = result.kept
    return kept is not None and result.tally.unscored == kept.total - kept.kept


def reasons(cells: Cells, suite: Suite, label: Callable[[RowName], str]) -> list[str]:
    """Return the reasons for numbers outside their tolerance, as far as the suite gives them."""
    lines: list[str] = []
    for name, row in cells.items():
        for title, cell in row.items():
            verdict = judge(*cell, suite)
            if verdict.reason:
                lines.append(f"{title}, {label(name)}: {verdict.verdict}: {verdict.reason}")
    return lines


def sources(rows: Sequence[Row], suite: Suite) -> list[str]:
    """Return a line per source of published figures: the rows and columns that it is the source of.

    There are no lines if all figures are of the suite's own models and from one source.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for row in rows:
        for title, source in row.sources.items():
            name = row.label.removeprefix(PUBLISHED)
            found.setdefault(source, []).append((name, title))
    names = {name for places in found.values() for name, _ in places}
    if len(found) < 2 and names <= {SOTA, *suite.models}:
        return []
    return [
        f"{PUBLISHED}{', '.join(dict.fromkeys(name for name, _ in places))} "
        f"({', '.join(dict.fromkeys(title for _, title in places))}): {source}"
        for source, places in found.items()
    ]


def bits_as_perplexities(cells: Cells, label: Callable[[RowName], str]) -> list[str]:
    """Return a line per column of bits, with the perplexities per byte or character they equal.

    A tool that prints a perplexity per byte of 2.23 has measured log2(2.23) = 1.157 bits per byte.
    Where the table has both numbers, there is no line.
    """
    lines: list[str] = []
    for title in dict.fromkeys(title for row in cells.values() for title in row):
        numbers = [
            f"{text} ({label(name)})"
            for name, row in cells.items()
            if title in row and (text := _both_forms(row[title], row))
        ]
        if numbers:
            unit = next(UNITS[row[title].metric.name] for row in cells.values() if title in row)
            lines.append(f"{title}: {unit} perplexity {', '.join(numbers)}")
    return lines


def _both_forms(cell: Cell, row: Mapping[str, Cell]) -> str:
    """Return a number as a perplexity and as bits; "" for another metric."""
    name, value = cell.metric.name, cell.metric.value
    if name not in UNITS or not 0 < value < MOST_BITS:
        return ""
    other = (cell.result.full_name, OTHER_FORM.get(name))
    if other in {(one.result.full_name, one.metric.name) for one in row.values()}:
        return ""
    bits = math.log2(value) if name == "byte_ppl" else value
    return f"{value_text(2.0**bits)} = {value_text(bits)} bits per {UNITS[name]}"
