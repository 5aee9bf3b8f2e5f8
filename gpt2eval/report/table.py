"""Results as a table in any format: models as rows beside the published figures."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, get_args

import pandas as pd

from gpt2eval.config.schema import Suite
from gpt2eval.metrics.result import Result
from gpt2eval.report.cells import Cells, check_one_protocol, choose, place
from gpt2eval.report.labels import RowName, short_names
from gpt2eval.report.latex import latex_table
from gpt2eval.report.notes import notes, reasons
from gpt2eval.report.render import check_format
from gpt2eval.report.rows import Row, table_rows
from gpt2eval.report.signature_lines import abbreviated, full_lines

TableFormat = Literal["terminal", "markdown", "csv", "latex", "json"]
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
    width: int | None = None,
) -> str:
    """Return the table: models as rows, the suite's columns, then others; published rows below.

    A model of the published table is followed by its published row, the difference, the tolerance
    and the verdict. If no model has a published row, all published rows follow.

    Args:
        form: `terminal`, `markdown`, `csv`, `latex` or `json`. csv and json have full
            model names, the others short names. All but csv include signatures; `terminal`
            abbreviates them.
        columns: titles or tasks to show, in this order; all by default.
        mixed: allows numbers of different protocols in one column.
        signatures: makes `terminal` print every signature in full.
        width: the width of `terminal` in characters; by default that of the terminal.

    Raises:
        UsageError: for an unknown format or column, and for a column of two protocols unless
        `mixed`.
    """
    check_format(form, get_args(TableFormat))
    shown = list(results)
    cells, titles = choose(place(shown, suite), columns, suite)
    if not mixed:
        check_one_protocol(cells)
    names = short_names([result.model for result in shown])

    def short(name: RowName) -> str:
        return name.text(names)

    if form in ("csv", "json"):
        return _data(cells, titles, suite, form)
    rows = table_rows(cells, titles, suite, short)
    below = [*notes(shown), *reasons(cells, suite, short)]
    if form == "terminal":
        return _terminal(rows, cells, titles, short, below, signatures, width)
    lines = _flat(cells, short)
    if form == "latex":
        return "\n".join([latex_table(rows, titles), *(f"% {line}" for line in lines + below)])
    table = _frame(rows, titles).to_markdown(index=False, disable_numparse=True)
    return "\n".join([table, "", *lines, *([""] if below else []), *below])


def _data(cells: Cells, titles: Sequence[str], suite: Suite, form: str) -> str:
    """Return the table for programs, with full model names."""
    frame = _frame(table_rows(cells, titles, suite, RowName.text), titles)
    if form == "csv":
        return frame.to_csv(index=False).rstrip("\n")
    content = {
        "rows": frame.to_dict("records"),
        "signatures": full_lines(cells, RowName.text),
    }
    return json.dumps(content, indent=1, ensure_ascii=False)


def _frame(rows: Sequence[Row], titles: Sequence[str]) -> pd.DataFrame:
    cells = [{"model": row.label, **row.values} for row in rows]
    return pd.DataFrame(cells, columns=["model", *titles])


def _flat(cells: Cells, label: Label) -> list[str]:
    """Return every signature in full, each after its column and its model."""
    return [
        f"{title}, {model}: {line}"
        for model, row in full_lines(cells, label).items()
        for title, line in row.items()
    ]


def _terminal(
    rows: Sequence[Row],
    cells: Cells,
    titles: Sequence[str],
    label: Label,
    below: Sequence[str],
    signatures: bool,
    width: int | None,
) -> str:
    """Return the table for people; full signatures are not wrapped, so that they can be copied."""
    from gpt2eval.report import terminal

    if signatures:
        signed = "\n".join(_flat(cells, label))
    else:
        signed = terminal.terminal_signatures(abbreviated(cells, titles, label), width)
    parts = [terminal.terminal_table(rows, titles, width), signed]
    if below:
        parts.append(terminal.terminal_notes(below, width))
    return "\n\n".join(parts)
