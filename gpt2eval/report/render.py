"""Render rows of plain values as Markdown, CSV, JSON or LaTeX."""

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from tabulate import tabulate

from gpt2eval.errors import unknown
from gpt2eval.report.escape import latex, markdown_cell
from gpt2eval.report.numbers import WHOLE, value_text
from gpt2eval.report.strict_json import dumps
from gpt2eval.report.tidy import to_csv

Format = Literal["markdown", "csv", "latex", "json"]


def check_format(form: str, formats: Sequence[str] = get_args(Format)) -> None:
    """Raise UsageError for a format that is not one of `formats`."""
    if form not in formats:
        raise unknown("format", form, formats)


def render_rows(rows: Sequence[Mapping[str, object]], form: str = "markdown") -> str:
    """Return rows as a table.

    csv and json have full precision, the others at least four digits. A missing value is empty, or
    null in json.

    Raises:
        UsageError: for an unknown format.
    """
    check_format(form)
    if form == "json":
        return dumps(list(rows))
    if form == "csv":
        return to_csv(rows).decode().rstrip("\n")
    escape = latex if form == "latex" else markdown_cell
    texts = [{escape(key): escape(_text(value)) for key, value in row.items()} for row in rows]
    if form == "latex":
        import pandas as pd

        alignment = "".join("r" if _is_numeric(rows, key) else "l" for key in rows[0])
        frame = pd.DataFrame(texts)
        return frame.to_latex(index=False, escape=False, column_format=alignment).rstrip("\n")
    return tabulate(texts, "keys", "pipe", disable_numparse=True)


def _is_numeric(rows: Sequence[Mapping[str, object]], key: str) -> bool:
    """Return whether a column holds numbers only, which LaTeX then aligns to the right."""
    values = [row[key] for row in rows if row.get(key) is not None]
    return bool(values) and all(isinstance(value, int | float) for value in values)


def _text(value: object) -> str:
    """Format a value for people."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4f}" if 1 <= value < WHOLE or value == 0 else value_text(value)
    return f"{value:,}" if isinstance(value, int) else str(value)
