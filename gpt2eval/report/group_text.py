"""The groups of results as tables for people."""

import math
from collections.abc import Iterator, Mapping, Sequence

from gpt2eval.metrics.dependence import FEWEST
from gpt2eval.metrics.estimate import Estimate
from gpt2eval.metrics.groups import Group, Groups
from gpt2eval.metrics.result import Result
from gpt2eval.report.escape import markdown_cell, visible
from gpt2eval.report.folders import GROUPS
from gpt2eval.report.numbers import interval_text, value_label, value_text
from gpt2eval.report.render import render_rows
from gpt2eval.report.rows import Kind, Row, with_intervals
from gpt2eval.types import Tally

MOST = 20  # groups of a table, unless all are wanted
MOST_NAMED = 5  # groups that a note names
FORMATS = ("terminal", "markdown")
COUNTS = ("docs", "bytes", "tokens")
BITS = "bits"
FIRST = "group"


def groups_text(
    results: Sequence[Result],
    form: str,
    *,
    most: int | None = MOST,
    width: int | None = None,
    places: int | None = None,
) -> str:
    """Return a table of groups for each result that has them; "" if none has.

    Args:
        results: The results.
        form: `terminal` or `markdown`.
        most: The number of groups to show, those with the most bits; None shows all.
        width: The width of `terminal` in characters; by default that of the terminal.
        places: The decimals of metrics.
    """
    tables = [
        _table(result, result.groups, form, most, width, places)
        for result in results
        if result.groups
    ]
    return "\n\n".join(tables)


def _table(
    result: Result,
    groups: Groups,
    form: str,
    most: int | None,
    width: int | None,
    places: int | None,
) -> str:
    shown = _most_bits(groups, most)
    rows = [*_rows(result, groups, shown, places)]
    columns = [*rows[0].values]
    heading = visible(f"{result.full_name}, {result.model.name}: groups by {groups.by}")
    notes = [*_notes(groups, shown)]
    if form == "terminal":
        from gpt2eval.report.terminal import terminal_notes, terminal_table

        below = [terminal_notes(notes, width)] if notes else []
        return "\n\n".join([heading, terminal_table(rows, columns, width, first=FIRST), *below])
    table = render_rows([{FIRST: row.label, **row.values} for row in map(with_intervals, rows)])
    return "\n\n".join([markdown_cell(heading), table, *map(markdown_cell, notes)])


def _most_bits(groups: Groups, most: int | None) -> list[Group]:
    """Return the groups with the most bits, in the order of their names."""
    by_bits = sorted(groups.rows, key=lambda group: -group.tally.nats)[:most]
    chosen = {group.name for group in by_bits}
    return [group for group in groups.rows if group.name in chosen]


def _rows(
    result: Result, groups: Groups, shown: Sequence[Group], places: int | None
) -> Iterator[Row]:
    names = [name for name in groups.micro if name != "nats_per_token"] or [*groups.micro]
    labels = {name: value_label(name, groups.micro[name].unit) for name in names}

    def row(label: str, kind: Kind, tally: Tally | None, metrics: Mapping[str, Estimate]) -> Row:
        found = {title: metrics[name] for name, title in labels.items() if name in metrics}
        values = dict.fromkeys((*COUNTS, *labels.values(), BITS), "")
        if tally is not None:
            counts = (tally.records, tally.units.bytes, tally.tokens)
            values |= {title: f"{n:,}" for title, n in zip(COUNTS, counts, strict=True)}
            values[BITS] = f"{Group(label, tally, {}).bits:,.1f}"
        values |= {title: value_text(one.value, one.name, places) for title, one in found.items()}
        intervals = {title: interval_text(one, places) for title, one in found.items()}
        return Row(label, kind, values, {}, intervals, {})

    for group in shown:
        yield row(visible(group.name), "ours", group.tally, group.metrics)
    yield row("all (micro)", "total", result.tally, groups.micro)
    yield row("mean (macro)", "total", None, groups.macro)


def _notes(groups: Groups, shown: Sequence[Group]) -> Iterator[str]:
    """Yield what is left out, and why intervals are missing."""
    if len(shown) < len(groups.rows):
        yield _left_out(groups, shown)
    primary = next(iter(groups.micro))
    few: list[str] = []
    for group in shown:
        estimate = group.metrics.get(primary)
        if estimate is None:
            yield f"{visible(group.name)}: nothing to divide by; left out of the macro average"
        elif estimate.interval is None and estimate.resampled_units < FEWEST:
            few.append(visible(group.name))
        elif why := estimate.why_no_interval:
            yield f"{visible(group.name)}: {why}"
    if few:
        others = f" and {len(few) - MOST_NAMED} more" if len(few) > MOST_NAMED else ""
        names = ", ".join(few[:MOST_NAMED]) + others
        yield f"no 95 % interval can be trusted below {FEWEST} documents: {names}"
    macro = groups.macro.get(primary)
    if macro and macro.why_no_interval:
        yield f"macro: {macro.why_no_interval}"


def _left_out(groups: Groups, shown: Sequence[Group]) -> str:
    """Return what a table with some of the groups leaves out."""
    count = len(groups.rows) - len(shown)
    total = math.fsum(group.bits for group in groups.rows)
    share = ""
    if total and math.isfinite(total):
        part = 1 - math.fsum(group.bits for group in shown) / total
        share = f"hold {100 * part:.1f} % of the bits and "
    return (
        f"{len(shown)} of {len(groups.rows):,} groups, those with the most bits; the other "
        f"{count:,} {share}are in {GROUPS}. The averages are over all groups."
    )
