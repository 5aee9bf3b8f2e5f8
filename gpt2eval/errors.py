"""Errors that a user can correct: one line with the place, the problem and the expectation."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

# Control characters except tab and line feed, and the characters that reorder text from left to
# right: a terminal obeys both.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class UsageError(Exception):
    """Invalid input; the command line prints it as one line and exits with status 2."""


class LoadError(UsageError):
    """An unexpected exception while a model loads; `__cause__` is the original exception."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for an unknown name, with the nearest known name or a list of all.

    >>> str(unknown("task", "wikitxt2", ["ptb", "wikitext2"]))
    "unknown task 'wikitxt2'; did you mean 'wikitext2'?"
    """
    names = sorted(known)
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"expected one of: {', '.join(names)}"
    return UsageError(f"unknown {kind} '{name}'; {hint}")


def one_line(error: BaseException, length: int | None = 300) -> str:
    """Return an exception's message on one line, cut to `length` characters; else its type.

    >>> one_line(ValueError("no such\\n  model"))
    'no such model'
    """
    return " ".join(str(error).split())[:length] or type(error).__name__


def first_problem(error: "ValidationError") -> str:
    """Return the first problem that pydantic reports, as `path.to.key: what is wrong`."""
    first = error.errors()[0]
    location = ".".join(map(str, first["loc"])) or "content"
    message = first["msg"].removeprefix("Value error, ")  # raised by a validator of ours
    return f"{location}: {message[0].lower()}{message[1:]}"


def clean(text: str) -> str:
    r"""Return a text in which control characters are visible escapes, safe for a terminal.

    >>> clean("\x1b[2J gone?")
    '\\x1b[2J gone?'
    """
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
