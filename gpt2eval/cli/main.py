"""The command line: its commands, and how they end. stdout is data, stderr is progress; exit 0 done, 2 user error, 1 defect."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from gpt2eval.cli import data, run
from gpt2eval.cli.options import PAPER, Cache, Data, Include, files_of
from gpt2eval.errors import UsageError
from gpt2eval.notices import notify, shown_on_stderr

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="Example: gpt2eval run --model gpt2 --tasks wikitext2,lambada",
)

INTERRUPTED = 130  # what typer makes of Ctrl-C


@app.callback(invoke_without_command=True)
def top(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Zero-shot language-model benchmarks in numbers that others can compare."""
    if version:
        from gpt2eval.version import __version__

        print(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command(epilog="Example: gpt2eval ls")
def ls(include: Include = None) -> None:
    """List tasks with their variants, suites and detokenizers."""
    from gpt2eval.config import catalog, loader

    for name in catalog.files("tasks", include or ()):
        task = loader.load_task(name, include or ())
        print(f"{name:12} {', '.join(task.metrics):24} {task.title}")
        if task.variants:
            print(f"{'':12} variants: {', '.join(task.variants)}")
    print(f"suites: {', '.join(catalog.files('tasks/suites', include or ()))}")
    print(f"detokenizers: {', '.join(catalog.files('detokenizers', include or ()))}")


@app.command(epilog="Example: gpt2eval show lambada --data demo")
def show(
    task: Annotated[str, typer.Argument(help="A task or task/variant.")],
    data: Data = None,
    cache: Cache = None,
    include: Include = None,
    passport: Annotated[
        bool,
        typer.Option(
            "--passport", help="Its data's hashes, counts and licence, and their sources."
        ),
    ] = False,
) -> None:
    """Show a task's resolved file, and its first record before and after detokenizing, the scored span marked."""
    from gpt2eval.analysis import inspect_task
    from gpt2eval.config.loader import select_tasks
    from gpt2eval.data.passport import task_passport

    if passport:
        print("\n\n".join(map(task_passport, select_tasks(task, include or ()))))
    else:
        print(inspect_task.show(task, files_of(data, include or ()), include or (), cache=cache))


@app.command(epilog="Example: gpt2eval check ptb --data ptb=ptb.test.txt")
def check(
    task: Annotated[str, typer.Argument(help="A task or task/variant.")],
    data: Data = None,
    cache: Cache = None,
    include: Include = None,
    sample: Annotated[
        int, typer.Option(help="Also print this many fair lines, spread over the file.")
    ] = 0,
) -> None:
    """Run a task's detokenizer over its whole file and back, and report."""
    from gpt2eval.analysis import inspect_task

    print(
        inspect_task.check(task, files_of(data, include or ()), include or (), sample, cache=cache)
    )


app.command(epilog="Example: gpt2eval run --model gpt2 --tasks ptb --data ptb=ptb.test.txt")(
    run.run
)
app.command(epilog="Example: gpt2eval watch runs/mine --tasks ptb --data ptb=ptb.test.txt")(
    run.watch
)


@app.command(epilog="Example: gpt2eval table results --format latex")
def table(
    results: Annotated[list[Path], typer.Argument(help="result.json files, or folders with them.")],
    form: Annotated[
        str, typer.Option("--format", help="markdown, csv, latex or json.")
    ] = "markdown",
    mixed: Annotated[
        bool, typer.Option(help="Allow numbers of different protocols in one column.")
    ] = False,
    suite: Annotated[
        str, typer.Option(help="The suite whose columns and published rows to use.")
    ] = PAPER,
    include: Include = None,
) -> None:
    """Set results beside the published figures, signatures below."""
    from gpt2eval.config.loader import load_suite
    from gpt2eval.report.store import read_results
    from gpt2eval.report.table import render
    from gpt2eval.scoring.journal import incomplete

    for line in incomplete(results):
        notify(line)
    print(render(read_results(*results), load_suite(suite, include or ()), form, mixed=mixed))


app.command(epilog="Example: gpt2eval rerun 'task:ptb|data:dd65dff3|...' --model gpt2-large")(
    run.rerun
)


@app.command(epilog="Example: gpt2eval diff results/gpt2/ptb results/gpt2-large/ptb")
def diff(
    first: Annotated[
        str, typer.Argument(help="A signature in quotes, a result.json, or a folder with one.")
    ],
    second: Annotated[str, typer.Argument(help="The other.")],
) -> None:
    """Name the fields in which two signatures or results differ, and say whether their numbers may be compared."""
    from gpt2eval.analysis import reproduce as again

    print(again.diff(first, second))


app.command(epilog="Example: gpt2eval explain --model gpt2 --task wikitext103")(run.explain)
app.add_typer(data.app, name="data", epilog="Example: gpt2eval data fetch wikitext2,ptb")
app.command(epilog="Example: gpt2eval overlap --train corpus/*.txt --tasks ptb,lambada")(
    data.overlap
)


def main() -> None:
    """Run the command; what the user can mend is one line on stderr and exit status 2, an interruption is 130."""
    sys.path.append("")  # module:Factory may lie where the command is given
    try:
        with shown_on_stderr():
            status = app(standalone_mode=False)
        problem = (
            "interrupted; the same command goes on from the last finished unit"
            if status == INTERRUPTED
            else None
        )
    except typer.TyperException as error:
        status, problem = 2, error.format_message()
    except UsageError as error:
        status, problem = 2, str(error)
    if problem:
        print(f"gpt2eval: {' '.join(problem.split())}", file=sys.stderr)
    sys.exit(status)
