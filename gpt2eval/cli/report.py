"""The command `gpt2eval table`, and table printing: terminal layout, or Markdown if piped."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from gpt2eval.cli.groups import WithGroups, check_groups, print_groups
from gpt2eval.cli.options import DATA, OUTPUT, Include, Signatures, option
from gpt2eval.cli.output import print_styled
from gpt2eval.config.catalog import PAPER
from gpt2eval.errors import UsageError
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
        text="terminal, markdown, csv (a row per model), csv-tidy (a row per number), latex or "
        "json; default: terminal, or markdown if piped.",
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
ScoreOnly = Annotated[
    bool,
    option(OUTPUT, "-b", "--score-only", text="Print the bare number of the only result."),
]
Decimals = Annotated[
    Optional[int],
    option(
        OUTPUT,
        "-w",
        "--width",
        metavar="N",
        text="Decimals of the numbers; default: as many as show four digits.",
    ),
]
Short = Annotated[bool, option(OUTPUT, "--short", text="Print every signature in its short form.")]
Best = Annotated[
    bool,
    option(OUTPUT, "--best", text="Make the best of the models' numbers in each column bold."),
]
MOST_DECIMALS = 15
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
    best: Best = False,
    signatures: Signatures = False,
    short: Short = False,
    score_only: ScoreOnly = False,
    width: Decimals = None,
    groups: WithGroups = False,
) -> None:
    """Print results beside the published figures, with signatures."""
    from gpt2eval.report.store import read_results
    from gpt2eval.scoring.journal import incomplete

    if groups:
        check_groups(form, score_only=score_only)
    for line in incomplete(results):
        notify(line)
    found = read_results(*results)
    print_table(
        found,
        suite,
        include or (),
        form=form,
        columns=columns.split(",") if columns else (),
        mixed=mixed,
        intervals=intervals,
        best=best,
        signatures=signatures,
        short=short,
        score_only=score_only,
        places=width,
    )
    if groups:
        print_groups(found, form, complete=True, places=width)


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
    best: bool = False,
    signatures: bool = False,
    short: bool = False,
    score_only: bool = False,
    places: int | None = None,
) -> None:
    """Print the table of results with the columns and published rows of a suite.

    `score_only` prints the only number instead.
    """
    from gpt2eval.config.loader import load_suite
    from gpt2eval.report.table import default_format, render

    check_decimals(places)
    if score_only:
        from gpt2eval.report.bare import bare_number

        if form:
            raise UsageError(f"--format {form}: expected no format with --score-only")
        print(bare_number(results, load_suite(suite, include), columns=columns, places=places))
        return
    form = form or default_format()
    table = render(
        results,
        load_suite(suite, include),
        form,
        columns=columns,
        mixed=mixed,
        intervals=intervals,
        best=best,
        signatures=signatures,
        short=short,
        places=places,
    )
    if form == "terminal":
        print_styled(table)
    else:
        print(table)


def check_decimals(places: int | None) -> None:
    """Raise UsageError for a number of decimals that cannot be printed."""
    if places is not None and not 0 <= places <= MOST_DECIMALS:
        raise UsageError(f"--width {places}: expected 0 to {MOST_DECIMALS} decimals")


def check_one_number(
    models: Sequence[object],
    tasks: str | Sequence[str],
    texts: Sequence[object],
    include: Sequence[Path],
) -> None:
    """Raise UsageError, before anything is scored, if --score-only would find several results."""
    from gpt2eval.config.loader import select_tasks

    count = len(models) * (len(select_tasks(tasks, include)) + len(texts))
    if count != 1:
        raise UsageError(f"--score-only: {count} results; expected one model and one task")
