"""The command line: its commands and exit statuses.

stdout holds data, stderr holds notices and progress. The exit status is 0 for success, 2 for an
error that the user can fix, 1 for a defect (`diff`: numbers that may not be compared; `gate`: a
regression), and 128 plus the number of a signal that ended the command: 130 for Ctrl-C, 143 for
SIGTERM, 129 for SIGHUP.
"""

import os
import sys
import traceback
from typing import Annotated

import typer

from gpt2eval.cli import (
    check_bytes,
    compare,
    data,
    export,
    gate,
    inspect,
    overlap,
    plot,
    protocols,
    report,
    report_page,
    run,
    watch,
)
from gpt2eval.cli.command import HELP, Command, Group
from gpt2eval.cli.output import clean_stdout
from gpt2eval.cli.session import Session
from gpt2eval.cli.signals import caught
from gpt2eval.errors import UsageError, clean, one_line, scrub
from gpt2eval.http import hide_environment
from gpt2eval.notices import shown_on_stderr

app = typer.Typer(
    cls=Group,
    context_settings=HELP,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="Example: gpt2eval run --model gpt2 --tasks wikitext2,lambada",
)

INTERRUPTED = 130  # typer's exit status after KeyboardInterrupt
SCORE, COMPARE, TASKS = "Score models", "Compare results", "Tasks and data"


@app.callback(invoke_without_command=True)
def top(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("-V", "--version", help="Print the version and exit.")
    ] = False,
    citation: Annotated[
        bool, typer.Option("--citation", help="Print a BibTeX entry and exit.")
    ] = False,
) -> None:
    """Zero-shot language-model benchmarks whose numbers others can compare."""
    if version:
        from gpt2eval.version import __version__

        print(__version__)
        raise typer.Exit
    if citation:
        from gpt2eval.cli.citation import bibtex

        print(bibtex())
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


COMMANDS = (
    (SCORE, run.run, "run --model gpt2 --tasks ptb --data ptb=ptb.test.txt"),
    (SCORE, watch.watch, "watch runs/mine --tasks ptb --data ptb=ptb.test.txt"),
    (SCORE, protocols.rerun, "rerun 'task:ptb|data:dd65dff3|...' --model gpt2-large"),
    (SCORE, protocols.explain, "explain --model gpt2 --task wikitext103"),
    (SCORE, check_bytes.check_bytes, "check-bytes --model gpt2 --text notes.txt"),
    (COMPARE, report.table, "table results --format latex"),
    (COMPARE, report_page.report, "report results --html report.html"),
    (COMPARE, plot.plot, "plot results --kind size --out sizes.svg"),
    (COMPARE, compare.compare, "compare results/gpt2 results/gpt2-large"),
    (COMPARE, gate.gate, "gate results/gpt2 --baseline baseline.json --max 2%"),
    (COMPARE, protocols.diff, "diff results/gpt2/ptb results/gpt2-large/ptb"),
    (COMPARE, export.export, "export results/gpt2/ptb --tokens tokens.parquet"),
    (COMPARE, overlap.overlap, "overlap --train corpus/*.txt --tasks ptb,lambada"),
    (TASKS, inspect.ls, "ls"),
    (TASKS, inspect.show, "show lambada --data demo"),
    (TASKS, inspect.check, "check ptb --data ptb=ptb.test.txt"),
)
for group, command, example in COMMANDS:
    app.command(cls=Command, rich_help_panel=group, epilog=f"Example: gpt2eval {example}")(command)
app.add_typer(
    data.app,
    name="data",
    rich_help_panel=TASKS,
    epilog="Example: gpt2eval data fetch wikitext2,ptb",
)


def main() -> None:
    """Run a command and exit. An error that the user can fix is one line on stderr."""
    import_path = [*sys.path]
    hide_environment()
    with caught() as received:
        try:
            status, problem = _run(Session(traceback=_wants_traceback()))
        except KeyboardInterrupt:  # outside of typer, which returns a status
            status, problem = INTERRUPTED, ""
        if status == INTERRUPTED or (status and received.number):
            # Whatever came of the interruption: a library may turn it into an error of its own.
            status = received.status
            problem = "interrupted; the same command resumes after the last finished chunk"
    sys.path[:] = import_path  # --trust-include adds folders
    if problem:
        print(f"gpt2eval: {' '.join(scrub(clean(problem)).split())}", file=sys.stderr)
    sys.exit(status)


def _wants_traceback() -> bool:
    return os.environ.get("GPT2EVAL_TRACEBACK", "") not in ("", "0")


def _run(session: Session) -> tuple[int, str]:
    """Run a command; return the exit status and what to tell the user, if anything."""
    try:
        with shown_on_stderr(), clean_stdout():
            return app(standalone_mode=False, obj=session) or 0, ""
    except typer.TyperException as error:
        return 2, error.format_message()
    except UsageError as error:
        if session.traceback:
            _print_traceback(error)
        return 2, str(error)
    except Exception as error:  # Python would print its text as it is, with secrets
        if session.traceback:
            _print_traceback(error)
        problem = f"unexpected {type(error).__name__}: {one_line(error)}; this is a defect of "
        return 1, problem + "gpt2eval: please report it with the output of --traceback"


def _print_traceback(error: BaseException) -> None:
    """Print the traceback of an error with every cause, including causes that `from None` hides."""
    cause: BaseException | None = error
    while cause is not None:
        cause.__suppress_context__ = cause.__cause__ is not None
        cause = cause.__cause__ or cause.__context__
    lines = "".join(traceback.format_exception(error)).splitlines()
    print(scrub("\n".join(map(clean, lines))), file=sys.stderr)
