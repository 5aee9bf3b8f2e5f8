"""The command `gpt2eval compare`: models against a baseline, record by record."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Optional

import typer

from gpt2eval.cli.gap import TOP, Gap, Top, print_gap
from gpt2eval.cli.options import (
    DATA,
    OUTPUT,
    Cache,
    Data,
    Include,
    MaxSize,
    MeasuredText,
    Signatures,
    option,
)
from gpt2eval.cli.output import print_styled
from gpt2eval.errors import UsageError

Operands = Annotated[
    list[Path],
    typer.Argument(
        metavar="RESULTS",
        help="Two models or more, the baseline first: each a folder with results of one model, or "
        "a result.json.",
    ),
]
Margin = Annotated[
    Optional[str],
    option(
        OUTPUT,
        metavar="LIMITS",
        text="Largest change without importance, such as 1%, or 1%,0.5pt (points of an accuracy); "
        "a change surely within it is 'equal'.",
    ),
]
OnlyTasks = Annotated[
    Optional[str],
    option(DATA, "--tasks", metavar="TASKS", text="Only these tasks, separated by commas."),
]
OnlyMetrics = Annotated[
    Optional[str],
    option(
        DATA,
        "--metrics",
        metavar="NAMES",
        text="Only these metrics, separated by commas; default: a task's first, and its first "
        "accuracy.",
    ),
]
FormatName = Annotated[
    Optional[str],
    option(
        OUTPUT,
        "--format",
        metavar="FORMAT",
        text="terminal, markdown, csv, json, or latex (not with --gap); default: terminal, or "
        "markdown if piped.",
    ),
]


def compare(
    models: Operands,
    tasks: OnlyTasks = None,
    metrics: OnlyMetrics = None,
    margin: Margin = None,
    gap: Gap = False,
    top: Top = TOP,
    data: Data = None,
    text: MeasuredText = None,
    cache: Cache = None,
    max_size: MaxSize = None,
    include: Include = None,
    form: FormatName = None,
    signatures: Signatures = False,
) -> None:
    """Compare models on the same text, record by record.

    Reads what the runs keep of their records; no model runs. The tokenizers may differ. --gap
    compares two models byte by byte, and also reads the text, found as for run: demo data, --data,
    --text, or the cache.
    """
    texts = {
        "--top": top != TOP,
        "--data": data,
        "--text": text,
        "--cache": cache,
        "--max-size": max_size,
        "--include": include,
    }
    tables = {"--margin": margin, "--metrics": metrics, "--signatures": signatures}
    _check_unused(tables if gap else texts, gap)
    if gap:
        print_gap(
            models,
            form,
            tasks=names(tasks),
            top=top,
            data=data,
            text=text,
            cache=cache,
            max_size=max_size,
            include=include,
        )
        return
    from gpt2eval.report.comparison.text import render
    from gpt2eval.report.store import read_results
    from gpt2eval.report.table import default_format

    baseline, *others = map(read_results, models)
    comparison = baseline.compare(
        *others, margin=margin, tasks=names(tasks), metrics=names(metrics)
    )
    form = form or default_format()
    table = render(comparison, form, signatures=signatures)
    if form == "terminal":
        print_styled(table)
    else:
        print(table)


def _check_unused(options: Mapping[str, object], gap: bool) -> None:
    """Raise UsageError for an option that would change nothing, with --gap or without."""
    if given := [name for name, value in options.items() if value]:
        raise UsageError(f"{', '.join(given)}: expected only {'without' if gap else 'with'} --gap")


def names(text: str | None) -> list[str]:
    """Return the names of a list that is separated by commas."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]
