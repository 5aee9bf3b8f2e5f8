"""Results as a table in any format: models as rows beside the published figures."""

import html
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, get_args

from tabulate import tabulate

from gpt2eval.config.suite_schema import Suite
from gpt2eval.errors import UsageError
from gpt2eval.metrics.result import Result
from gpt2eval.report.cells import Cells, check_one_protocol, choose, place
from gpt2eval.report.data_table import csv_table, json_table
from gpt2eval.report.escape import markdown_cell, visible, visible_in, without_tags
from gpt2eval.report.kept import with_kept
from gpt2eval.report.labels import RowName, short_names
from gpt2eval.report.latex import latex_table
from gpt2eval.report.notes import table_notes
from gpt2eval.report.render import check_format
from gpt2eval.report.rows import Row, with_best, with_intervals
from gpt2eval.report.signature_lines import abbreviated, full_lines
from gpt2eval.report.table_rows import table_rows
from gpt2eval.report.tidy import tidy_row, tidy_rows, to_csv

TableFormat = Literal["terminal", "markdown", "csv", "csv-tidy", "latex", "json"]
FORMATS: tuple[str, ...] = get_args(TableFormat)
PROGRAMS = ("csv", "csv-tidy", "json")
Label = Callable[[RowName], str]


def default_format() -> TableFormat:
    """Return `terminal` if stdout is a terminal, else `markdown`."""
    return "terminal" if sys.stdout.isatty() else "markdown"


def render(
    results: Iterable[Result],
    suite: Suite,
    form: str = "markdown",
    *,
    columns: Sequence[str] = (),
    mixed: bool = False,
    signatures: bool = False,
    intervals: bool = False,
    width: int | None = None,
    places: int | None = None,
    best: bool = False,
    short: bool = False,
) -> str:
    """Return the table: models as rows, the suite's columns, then others; published rows below.

    A model of the published table is followed by its published row, the difference, the tolerance
    and the verdict. If no model has a published row, all published rows follow. Nothing published
    stands beside numbers of limited data. Unseen characters in text from files are escaped.

    Args:
        form: `terminal`, `markdown`, `csv` (a row per model), `csv-tidy` (a row per number, and
            no published rows), `latex` or `json`. Those for programs have full model names and
            numbers in full precision, the others short names and at least four digits, with marks.
            All include signatures; `terminal` abbreviates them.
        columns: titles or tasks to show, in this order; all by default.
        mixed: allows numbers of different protocols in one column.
        signatures: makes `terminal` print every signature in full.
        intervals: puts intervals beside the numbers of `markdown` and `latex`; `terminal` and
            `json` always have them.
        width: the width of `terminal` in characters; by default that of the terminal.
        places: the decimals of our numbers, for people.
        best: makes the best of our numbers in each column bold, for people.
        short: prints every signature in its short form, for people.

    Raises:
        UsageError: for an unknown format or column, for a column of two protocols unless
        `mixed`, and for `places`, `best` or `short` with a format for programs.
    """
    check_format(form, FORMATS)
    if form in PROGRAMS:
        _check_no_style(form, {"--width": places is not None, "--best": best, "--short": short})
    if form == "csv-tidy":
        return _tidy(list(results), suite, columns)
    if form in PROGRAMS:
        cells, titles = _placed(list(results), suite, columns, mixed=mixed)
        return (csv_table if form == "csv" else json_table)(cells, titles, suite)
    content = _content(list(results), suite, columns, mixed=mixed, places=places)
    if best:
        content = content._replace(rows=with_best(content.rows, content.titles))
    if form == "terminal":
        return _terminal(content, width, in_full=signatures or short, in_short=short)
    if intervals:
        content = content._replace(rows=[*map(with_intervals, content.rows)])
    if form == "latex":
        lines = _flat(content, in_short=short)
        table = latex_table(content.rows, content.columns, content.below)
        return "\n".join([table, *(f"% {line}" for line in lines)])
    below = ["", *map(without_tags, content.below)] if content.below else []
    lines = _flat(content, without_tags, in_short=short)
    return "\n".join([_markdown(content), "", *lines, *below])


def _check_no_style(form: str, styles: Mapping[str, bool]) -> None:
    for option, given in styles.items():
        if given:
            raise UsageError(
                f"{option}: {form} is for programs, with full precision and full signatures; "
                "expected terminal, markdown or latex"
            )


def _tidy(results: Sequence[Result], suite: Suite, columns: Sequence[str]) -> str:
    """Return a row per number: all of the results, or those of some columns."""
    rows = [row for result in results for row in tidy_rows(result)]
    if columns:
        cells, titles = choose(place(results, suite), columns, suite)
        rows = [tidy_row(*row[title]) for row in cells.values() for title in titles if title in row]
    return to_csv(rows).decode().rstrip("\n")


def page(results: Iterable[Result], suite: Suite) -> str:
    """Return the table as HTML, with signatures and notes below it."""
    content = _content(list(results), suite, (), mixed=True)
    table = _html(content)
    below = "\n".join([*_flat(content), "", *content.below])
    # a signature is longer than a page is wide
    style = "white-space: pre-wrap; overflow-wrap: anywhere"
    return f'{table}\n<pre style="{style}">{html.escape(below)}</pre>'


class _Content(NamedTuple):
    """A table for people: rows, what they come from, their columns, labels, and the notes.

    `columns` are those of the numbers, `titles`, and those of the kept shares.
    """

    rows: Sequence[Row]
    cells: Cells
    titles: Sequence[str]
    columns: Sequence[str]
    label: Label
    below: Sequence[str]


def _content(
    results: Sequence[Result],
    suite: Suite,
    columns: Sequence[str],
    *,
    mixed: bool,
    places: int | None = None,
) -> _Content:
    """Return a table whose text is visible: escapes instead of unseen characters."""
    shown = visible_in(results)
    suite = Suite.model_validate(visible_in(suite.model_dump()))
    cells, titles = _placed(shown, suite, columns, mixed=mixed)
    short_of = short_names([result.model for result in results])  # an escape holds a backslash
    names = {visible(name): visible(label) for name, label in short_of.items()}

    def short(name: RowName) -> str:
        return name.text(names)

    rows = table_rows(cells, titles, suite, short, places)
    below = table_notes(shown, cells, rows, suite, short)
    return _Content(rows, cells, titles, with_kept(titles, cells), short, below)


def _placed(
    results: Sequence[Result], suite: Suite, columns: Sequence[str], *, mixed: bool
) -> tuple[Cells, list[str]]:
    cells, titles = choose(place(results, suite), columns, suite)
    if not mixed:
        check_one_protocol(cells)
    return cells, titles


def _markdown(content: _Content) -> str:
    head = [*map(markdown_cell, ["model", *content.columns])]
    rows = [
        [markdown_cell(row.label), *(_markdown_number(row, title) for title in content.columns)]
        for row in content.rows
    ]
    return tabulate(rows, head, "pipe", disable_numparse=True)


def _markdown_number(row: Row, title: str) -> str:
    text = markdown_cell(row.values.get(title, ""))
    return f"**{text}**" if title in row.best else text


def _html(content: _Content) -> str:
    import pandas as pd

    columns = content.columns
    rows = [[row.label, *(row.values.get(title, "") for title in columns)] for row in content.rows]
    head = ["model", *columns]
    return pd.DataFrame(rows, columns=head).to_html(index=False, justify="left")


def _flat(
    content: _Content, shown: Callable[[str], str] = str, *, in_short: bool = False
) -> list[str]:
    """Return every signature, each after its column and its model as they are shown."""
    return [
        shown(f"{title}, {model}: {line}")
        for model, row in full_lines(content.cells, content.label, in_short=in_short).items()
        for title, line in row.items()
    ]


def _terminal(content: _Content, width: int | None, *, in_full: bool, in_short: bool) -> str:
    """Return the table for people; signatures are not wrapped, so that they can be copied.

    By default they are abbreviated to what differs between columns.
    """
    from gpt2eval.report import terminal

    rows, cells, titles, columns, label, below = content
    if in_full:
        signed = "\n".join(_flat(content, in_short=in_short))
    else:
        signed = terminal.terminal_signatures(abbreviated(cells, titles, label), width)
    parts = [terminal.terminal_table(rows, columns, width), signed]
    if below:
        parts.append(terminal.terminal_notes(below, width))
    return "\n\n".join(parts)
