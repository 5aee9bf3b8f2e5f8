"""The gap report of `gpt2eval compare FIRST SECOND --gap`: its options, and what prints it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from gpt2eval.cli.arguments import data_files, size
from gpt2eval.cli.options import OUTPUT, option
from gpt2eval.cli.output import print_styled
from gpt2eval.errors import UsageError
from gpt2eval.notices import notify

TOP = 20
Gap = Annotated[
    bool,
    option(
        OUTPUT,
        "--gap",
        text="Show where two models differ: by document, kind of text and literal, aligned by "
        "published bytes.",
        default=False,
    ),
]
Top = Annotated[int, option(OUTPUT, "--top", metavar="N", text="Entries of each list of --gap.")]


def print_gap(
    models: Sequence[Path],
    form: str | None = None,
    *,
    tasks: Sequence[str] = (),
    top: int = TOP,
    data: list[str] | None = None,
    text: Sequence[str] | None = None,
    cache: Path | None = None,
    max_size: str | None = None,
    include: Sequence[Path] | None = None,
) -> None:
    """Print the gap report of two models.

    Args:
        models: Two folders or files with results, the baseline first.
        form: `terminal`, `markdown`, `csv` or `json`; by default that of the other tables.
        tasks: Only these tasks.
        top: Entries of each list.
        data: As `--data`, as are `text`, `cache`, `max_size` and `include`.
        text: Your own texts.
        cache: Folder of downloaded data.
        max_size: Most bytes of a local file.
        include: Folders with your own tasks.

    Raises:
        UsageError: There are not exactly two models with a common task, or `gap_reports` raises it.
    """
    from gpt2eval.analysis.gap_render import gap_reports, render_gap
    from gpt2eval.report.comparison.entrants import Entrant, common_tasks, labels_of, names_of
    from gpt2eval.report.store import read_results
    from gpt2eval.report.table import default_format

    if len(models) != 2:
        raise UsageError(f"--gap: {len(models)} models; expected two, the baseline first")
    if top < 1:
        raise UsageError(f"--top {top}: expected a whole number of 1 or more")
    entrants = [Entrant.of(read_results(place)) for place in models]
    common, alone = common_tasks(entrants, tasks, labels_of(entrants, names_of(entrants)))
    for line in alone:
        notify(f"left out: {line}")
    baseline, other = entrants
    folders = include or ()
    reports = gap_reports(
        [(baseline.measured(task), other.measured(task)) for task in common],
        data_files(data, folders),
        folders,
        texts=text or (),
        cache=cache,
        max_size=size(max_size),
        top=top,
    )
    form = form or default_format()
    rendered = render_gap(reports, form)
    if form == "terminal":
        print_styled(rendered)
    else:
        print(rendered)
