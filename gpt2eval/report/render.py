"""Render rows of plain values as Markdown, CSV, JSON or LaTeX."""

import json
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import pandas as pd

from gpt2eval.errors import unknown

Format = Literal["markdown", "csv", "latex", "json"]


def check_format(form: str, formats: Sequence[str] = get_args(Format)) -> None:
    """Raise UsageError for a format that is not one of `formats`."""
    if form not in formats:
        raise unknown("format", form, formats)


def render_rows(rows: Sequence[Mapping[str, object]], form: str = "markdown") -> str:
    """Return rows as a table.

    csv and json have full precision, the others four decimals. A missing value is empty (json: null).

    Raises:
        UsageError: for an unknown format.
    """
    check_format(form)
    if form == "json":
        return json.dumps(list(rows), indent=1, ensure_ascii=False)
    if form == "csv":
        return pd.DataFrame(rows, dtype=object).to_csv(index=False).rstrip("\n")
    frame = pd.DataFrame([{key: _text(value) for key, value in row.items()} for row in rows])
    if form == "latex":
        alignment = "".join("r" if _is_numeric(rows, key) else "l" for key in frame.columns)
        return frame.to_latex(index=False, escape=True, column_format=alignment).rstrip("\n")
    return frame.to_markdown(index=False, disable_numparse=True)


def _is_numeric(rows: Sequence[Mapping[str, object]], key: str) -> bool:
    """Return whether a column holds numbers only, which LaTeX then aligns to the right."""
    values = [row[key] for row in rows if row.get(key) is not None]
    return bool(values) and all(isinstance(value, int | float) for value in values)


def _text(value: object) -> str:
    """Format a value for people."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4f}" if 1e-3 <= value < 1e5 or value == 0 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
