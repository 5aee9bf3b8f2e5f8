"""The command `gpt2eval table`, and table printing: terminal layout, or Markdown if piped."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from gpt2eval.cli.options import DATA, OUTPUT, Include, Signatures, option
from gpt2eval.cli.output import print_styled
from gpt2eval.config.catalog import PAPER
from gpt2eval.notices import notify

if TYPE_CHECKING:
    from gpt2eval.metrics.result import Result

Places = Annotated[
    list[Path],
    typer.Argument(metavar="RESULTS", help="result.json files, or folders that hold them."),
]
FormatName = Annotated[
    Optional[str],
    option(
        OUTPUT,
        "--format",
        metavar="FORMAT",
        text="terminal, markdown, csv, latex or json; default: terminal, or markdown if piped.",
    ),
]
Columns = Annotated[
    Optional[str],
    option(
        OUTPUT,
        metavar="NAMES",
        text="Only these columns in this order: titles or tasks, separated by commas.",
    ),
]
Mixed = Annotated[
    bool,
    option(OUTPUT, "--mixed", text="Allow numbers of different protocols in one column."),
]
Intervals = Annotated[
    bool,
    option(
        OUTPUT,
        "--intervals",
        text="Put 95 % intervals beside the numbers of markdown and latex; terminal and json "
        "always have them.",
    ),
]
SuiteName = Annotated[
    str, option(DATA, metavar="SUITE", text="Suite whose columns and published rows to use.")
]


def table(
    results: Places,
    suite: SuiteName = PAPER,
    include: Include = None,
    form: FormatName = None,
    columns: Columns = None,
    mixed: Mixed = False,
    intervals: Intervals = False,
    signatures: Signatures = False,
) -> None:
    """Print results beside the published figures, with signatures below."""
    from gpt2eval.report.store import read_results
    from gpt2eval.scoring.journal import incomplete

    for line in incomplete(results):
        notify(line)
    print_table(
        read_results(*results),
        suite,
        include or (),
        form=form,
        columns=columns.split(",") if columns else (),
        mixed=mixed,
        intervals=intervals,
        signatures=signatures,
    )


def check_table_format(form: str) -> None:
    """Raise UsageError for a format that `print_table` does not know."""
    from gpt2eval.report.render import check_format
    from gpt2eval.report.table import FORMATS

    check_format(form, FORMATS)


def print_table(
    results: "Sequence[Result]",
    suite: str,
    include: Sequence[Path] = (),
    *,
    form: str | None = None,
    columns: Sequence[str] = (),
    mixed: bool = False,
    intervals: bool = False,
    signatures: bool = False,
) -> None:
    """Print the table of results with the columns and published rows of a suite."""
    from gpt2eval.config.loader import load_suite
    from gpt2eval.report.table import default_format, render

    form = form or default_format()
    table = render(
        results,
        load_suite(suite, include),
        form,
        columns=columns,
        mixed=mixed,
        intervals=intervals,
        signatures=signatures,
    )
    if form == "terminal":
        print_styled(table)
    else:
        print(table)
