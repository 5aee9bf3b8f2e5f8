"""The one error a user can mend: a line that says what, where, and what was expected."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class UsageError(Exception):
    """Bad input; the command line prints it as one line and exits with status 2."""


class LoadError(UsageError):
    """An unexpected exception while a model loads; `__cause__` is the original exception."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is not there, with the nearest one that is.

    >>> str(unknown("task", "wikitxt2", ["ptb", "wikitext2"]))
    "unknown task 'wikitxt2'; did you mean 'wikitext2'?"
    """
    names = sorted(known)
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"expected one of: {', '.join(names)}"
    return UsageError(f"unknown {kind} '{name}'; {hint}")


def first_problem(error: "ValidationError") -> str:
    """Return the first problem that pydantic reports, as `path.to.key: what is wrong`."""
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"])) or "content"
    return f"{place}: {first['msg'][0].lower()}{first['msg'][1:]}"
