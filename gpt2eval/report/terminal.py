"""A table for people: as many columns side by side as fit the terminal, the rest in blocks below.

This is the only module of the folder that imports rich. Does not know results.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from textwrap import wrap

from rich.box import Box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gpt2eval.report.rows import Row
from gpt2eval.report.signature_lines import Line

PADDING = 2  # between two columns: a space, and the box's empty divider
NARROW = 40  # the minimum width of a table
RULES = Box("    \n    \n ── \n    \n ── \n    \n    \n    \n")
STYLES = {
    **dict.fromkeys(("within", "better"), "green"),
    **dict.fromkeys(("outside", "worse", "regressed"), "bold red"),
    **dict.fromkeys(("no target", "unresolved"), "dim"),
    "investigate": "yellow",
}
HEADING = "Signatures, abbreviated; --signatures prints them in full:"


def terminal_table(
    rows: Sequence[Row], columns: Sequence[str], width: int | None = None, *, first: str = "model"
) -> str:
    """Return rows as a table of at most `width` columns of text, by default the terminal's.

    `first` is the title of the column of labels. An interval follows its number if all columns fit
    side by side, else it is below.
    """
    console = Console(width=width and max(width, NARROW), highlight=False)
    available_width = max(console.width, NARROW)
    label_width = max([len(first), *(len(row.label) for row in rows)])
    label_width = min(label_width, available_width // 3)
    beside = {title: _width(title, rows, beside=True) for title in columns}
    below = {title: _width(title, rows, beside=False) for title in columns}
    is_wide = label_width + sum(beside.values()) + PADDING * len(columns) <= available_width
    blocks = _blocks(columns, beside if is_wide else below, available_width - label_width)
    with console.capture() as capture:
        for number, block in enumerate(blocks):
            if number:
                console.print()
            console.print(_table(rows, block, label_width, first, beside=is_wide))
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def _cell(row: Row, title: str, *, beside: bool) -> list[str]:
    """Return the lines of a cell: a number with its interval."""
    interval = row.intervals.get(title, "")
    value = row.values.get(title, "")
    if not interval:
        return [value]
    return [f"{value} {interval}"] if beside else [value, interval]


def _width(title: str, rows: Sequence[Row], *, beside: bool) -> int:
    """Return the width of a column, whose title may break between words."""
    lines = [line for row in rows for line in _cell(row, title, beside=beside)]
    return max(len(text) for text in [*title.split(), *lines])


def _blocks(
    columns: Sequence[str], widths: Mapping[str, int], available_width: int
) -> list[list[str]]:
    """Return the columns in blocks that fit, all of about the same number of columns."""
    fewest = len(_filled(columns, widths, available_width, len(columns)))
    for most in range(-(-len(columns) // max(fewest, 1)), len(columns) + 1):
        blocks = _filled(columns, widths, available_width, most)
        if len(blocks) == fewest:
            return blocks
    return [list(columns)]


def _filled(
    columns: Sequence[str], widths: Mapping[str, int], available_width: int, most: int
) -> list[list[str]]:
    """Return blocks of at most `most` columns, each filled before the next."""
    blocks: list[list[str]] = []
    used = available_width + 1
    for title in columns:
        if used + PADDING + widths[title] > available_width or len(blocks[-1]) == most:
            blocks.append([])
            used = 0
        blocks[-1].append(title)
        used += PADDING + widths[title]
    return blocks


def _table(
    rows: Sequence[Row], columns: Sequence[str], label_width: int, first: str, *, beside: bool
) -> Table:
    table = Table(box=RULES, show_edge=False, pad_edge=False, padding=(0, PADDING - 1, 0, 0))
    height = max(len(title.split()) for title in columns)
    table.add_column(_head(first, height), width=label_width, overflow="fold")
    for title in columns:
        width = _width(title, rows, beside=beside)
        table.add_column(_head(title, height), justify="right", no_wrap=True, width=width)
    nonempty = [row for row in rows if any(row.values.get(title) for title in columns)]
    for row, following in pairwise([*nonempty, None]):
        assert row is not None
        cells = [_styled(row, title, beside=beside) for title in columns]
        label = Text(row.label, style="bold" if row.kind == "ours" else "")
        table.add_row(label, *cells, end_section=_ends_section(row, following))
    return table


def _head(title: str, height: int) -> Text:
    """Return a title with a word per line, at the bottom of `height` lines."""
    words = title.split()
    return Text("\n".join([""] * (height - len(words)) + words))


def _ends_section(row: Row, following: Row | None) -> bool:
    """Return whether a rule follows: between our rows and others."""
    return following is not None and (row.kind == "ours") != (following.kind == "ours")


def _styled(row: Row, title: str, *, beside: bool) -> Text:
    value, *interval = _cell(row, title, beside=False)
    text = Text(value, style="bold" if title in row.best else STYLES.get(value, ""))
    if interval:
        text.append((" " if beside else "\n") + interval[0], style="dim")
    return text


def terminal_notes(lines: Sequence[str], width: int | None = None) -> str:
    """Return lines wrapped to the width of the terminal, with continuation lines indented."""
    limit = max(width or Console().width, NARROW)
    broken = [wrap(line, limit, subsequent_indent="  ", break_on_hyphens=False) for line in lines]
    return "\n".join(line for lines in broken for line in lines)


def terminal_signatures(lines: Sequence[Line], width: int | None = None) -> str:
    """Return abbreviated signatures, their fields aligned beside the labels."""
    limit = max(width or Console().width, NARROW)
    indent = min(max((len(line.label) for line in lines), default=0), limit // 3) + 4
    broken = [part for line in lines for part in _broken(line, limit, indent)]
    return "\n".join([*wrap(HEADING, limit), *broken])


def _broken(line: Line, limit: int, indent: int) -> Iterator[str]:
    """Yield a label and its fields as lines of at most `limit` characters."""
    label = f"  {line.label}"
    fields = wrap(line.fields, limit - indent, break_on_hyphens=False) or [""]
    if len(label) + PADDING > indent:
        yield from wrap(label, limit, subsequent_indent="  ", break_on_hyphens=False)
        label = ""
    for number, text in enumerate(fields):
        yield f"{'' if number else label:{indent}}{text}".rstrip()
