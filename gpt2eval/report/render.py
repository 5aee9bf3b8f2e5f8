"""Rows of plain values as Markdown, CSV, JSON or LaTeX."""

import json
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import pandas as pd

from gpt2eval.errors import unknown

Format = Literal["markdown", "csv", "latex", "json"]


def check_format(form: str) -> None:
    """Raise UsageError for a format that tables do not have."""
    if form not in get_args(Format):
        raise unknown("format", form, get_args(Format))


def render_rows(rows: Sequence[Mapping[str, object]], form: str = "markdown") -> str:
    """Rows as a table: numbers in full in csv and json, else to four decimals; what is not there is empty, null in json."""
    check_format(form)
    if form == "json":
        return json.dumps(list(rows), indent=1, ensure_ascii=False)
    if form == "csv":
        return pd.DataFrame(rows, dtype=object).to_csv(index=False).rstrip("\n")
    frame = pd.DataFrame([{key: _plain(value) for key, value in row.items()} for row in rows])
    if form == "latex":
        return frame.to_latex(index=False, escape=True).rstrip("\n")
    return frame.to_markdown(index=False, disable_numparse=True)


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4f}" if 1e-3 <= value < 1e5 or value == 0 else f"{value:.3g}"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
