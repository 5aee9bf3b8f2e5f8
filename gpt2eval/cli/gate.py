"""The command `gpt2eval gate`: fail a job where a metric became worse than a baseline's."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from gpt2eval.cli.compare import OnlyMetrics, OnlyTasks, names
from gpt2eval.cli.options import DATA, OUTPUT, Signatures, flag, option
from gpt2eval.cli.output import print_styled
from gpt2eval.errors import UsageError, unknown
from gpt2eval.notices import notify

if TYPE_CHECKING:
    from gpt2eval.report.results import Results

REGRESSED = 1  # exit status
LIMITS = "Limits"

Places = Annotated[
    list[Path],
    typer.Argument(
        metavar="RESULTS", help="Results of one model: result.json files, or folders with them."
    ),
]
BaselineFile = Annotated[
    Path,
    option(
        DATA, "--baseline", metavar="FILE", text="Baseline, which --update writes.", default=False
    ),
]
Most = Annotated[
    str,
    option(
        LIMITS,
        "--max",
        metavar="LIMITS",
        text="How much worse a metric may be: 2% of it, 1pt (points of an accuracy), or one "
        "task's, such as 2%,lambada=1pt.",
    ),
]
MostOfRecord = Annotated[
    Optional[float],
    option(
        LIMITS,
        "--max-record",
        metavar="NATS",
        text="How many nats per unit the loss of a single record may grow.",
    ),
]
Strict = Annotated[
    bool,
    flag(LIMITS, "strict", "Fail also where the data cannot tell whether a limit is kept."),
]
Update = Annotated[
    bool, flag(OUTPUT, "update", "Write the results to the baseline instead of judging them.")
]
Summary = Annotated[
    Optional[Path],
    option(OUTPUT, metavar="FILE", text="Append a summary in Markdown to this file."),
]
FormatName = Annotated[
    Optional[str],
    option(
        OUTPUT,
        "--format",
        metavar="FORMAT",
        text="terminal, markdown or json; default: terminal, or markdown if piped.",
    ),
]


def gate(
    results: Places,
    baseline: BaselineFile,
    tasks: OnlyTasks = None,
    metrics: OnlyMetrics = None,
    most: Most = "2%",
    max_record: MostOfRecord = None,
    strict: Strict = False,
    update: Update = False,
    form: FormatName = None,
    summary: Summary = None,
    signatures: Signatures = False,
) -> None:
    """Fail if a metric got worse than the baseline beyond a limit.

    The limit is compared with the 95 % interval of the difference, record by record. The exit
    status is 0 if every metric is within its limit, 1 if one has regressed. Where an interval
    contains the limit, the verdict is 'investigate': 0 with a notice, or 1 with --strict.
    """
    from gpt2eval.report.store import read_results

    measured = read_results(*results)
    if update:
        _update(baseline, measured, names(tasks))
        return
    from gpt2eval.report.comparison.scale import Limits
    from gpt2eval.report.gate.baseline import read_baseline
    from gpt2eval.report.gate.judge import judge
    from gpt2eval.report.gate.text import render_gate
    from gpt2eval.report.gate.text import summary as as_summary
    from gpt2eval.report.table import default_format

    judged = judge(
        measured,
        read_baseline(baseline),
        Limits.parse(most, "--max"),
        max_record=max_record,
        tasks=names(tasks),
        metrics=names(metrics),
    )
    form = form or default_format()
    text = render_gate(judged, form, signatures=signatures)
    if summary:
        _append(summary, as_summary(judged))
    if form == "terminal":
        print_styled(text)
    else:
        print(text)
    if judged.status == "investigate" and not strict:
        notify("gate: the data cannot tell whether a limit is kept; --strict fails there")
    if judged.status == "regressed" or (strict and judged.status == "investigate"):
        raise typer.Exit(REGRESSED)


def _update(path: Path, results: "Results", tasks: Sequence[str]) -> None:
    """Write a baseline; a file that is no baseline is kept."""
    from gpt2eval.report.comparison.entrants import Entrant
    from gpt2eval.report.gate.baseline import read_baseline, write_baseline

    entrant = Entrant.of(results)
    for task in tasks:
        if task not in entrant.tasks:
            raise unknown("task", task, entrant.tasks)
    chosen = [task for task in entrant.tasks if not tasks or task in tasks]
    before = read_baseline(path) if path.exists() else []
    write_baseline(path, [entrant.measured(task) for task in chosen])
    if gone := [task for entry in before if (task := entry.result.full_name) not in chosen]:
        notify(f"{path}: no longer holds {', '.join(gone)}")
    print(f"wrote {path}: {entrant.model.name}, {', '.join(chosen)}")


def _append(path: Path, text: str) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"--summary {path}: cannot be written: {error.strerror}") from None
