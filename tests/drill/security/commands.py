"""Run the command line in this process."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

from gpt2eval.cli import main
from gpt2eval.errors import UsageError


class Ended(NamedTuple):
    """The exit code of a command, and what it printed."""

    code: int
    out: str
    err: str


def gpt2eval(*arguments: str | Path) -> Ended:
    """Run a command, and return how it ended."""
    before = sys.argv
    sys.argv = ["gpt2eval", *map(str, arguments)]
    code = 0
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        try:
            main.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            sys.argv = before
    return Ended(code, out.getvalue(), err.getvalue())


def accepted(*arguments: str | Path) -> str:
    """Run a command, and return what it printed.

    Raises:
        UsageError: It refused its input; the message is the last line that it printed.
        RuntimeError: It ended in any other way.
    """
    ended = gpt2eval(*arguments)
    if ended.code == 0:
        return ended.out
    if ended.code == 2 and ended.err.strip():
        raise UsageError(ended.err.strip().splitlines()[-1])
    raise RuntimeError(f"exit {ended.code}: {ended.err:.300}")
