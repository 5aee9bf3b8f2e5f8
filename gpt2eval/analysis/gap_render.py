"""The gap reports of two models, from their results to text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from gpt2eval.analysis.gap import TOP, gap_report
from gpt2eval.analysis.gap_data import gap_csv, gap_json
from gpt2eval.analysis.gap_rows import GapReport
from gpt2eval.analysis.gap_text import gap_text
from gpt2eval.analysis.published_texts import published_texts
from gpt2eval.data.custom import Text
from gpt2eval.data.local import Data
from gpt2eval.report.measured import Measured
from gpt2eval.report.render import check_format

GapFormat = Literal["terminal", "markdown", "csv", "json"]


def gap_reports(
    pairs: Sequence[tuple[Measured, Measured]],
    data: Data = None,
    include: Sequence[Path] = (),
    *,
    texts: str | Path | Sequence[str | Path | Text] = (),
    cache: Path | None = None,
    max_size: int | None = None,
    top: int = TOP,
) -> list[GapReport]:
    """Return the gap report of every task that two models were measured on.

    Args:
        pairs: For each task, the baseline's result and that of the model compared with it.
        data: As for `published_texts`, as are `include`, `texts`, `cache` and `max_size`.
        include: Folders with your own tasks.
        texts: Your own texts.
        cache: Folder of downloaded data.
        max_size: Most bytes of a local file.
        top: Entries of each list.

    Raises:
        UsageError: Two results of a task have different protocols, or its text cannot be had.
    """
    return [
        gap_report(
            first,
            second,
            published_texts(first, data, include, texts=texts, cache=cache, max_size=max_size),
            top,
        )
        for first, second in pairs
    ]


def render_gap(reports: Sequence[GapReport], form: str = "markdown") -> str:
    """Return gap reports as `terminal`, `markdown`, `csv` or `json`.

    csv and json have full precision and complete signatures.

    Raises:
        UsageError: for an unknown format.
    """
    check_format(form, get_args(GapFormat))
    if form == "json":
        return gap_json(reports)
    return gap_csv(reports) if form == "csv" else gap_text(reports, form)
