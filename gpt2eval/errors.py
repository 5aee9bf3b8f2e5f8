"""Errors that a user can correct: one line with the place, the problem and the expectation.

Every message is printable and holds no secret: `clean` removes control characters, `scrub` the
secrets of the process and what looks like one.
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

HIDDEN = "***"
SHORTEST_SECRET = 4  # characters; shorter ones would make messages unreadable
SHORT_SECRET = 8  # characters; shorter ones are hidden only where they stand alone
# Escape sequences of a terminal: operating-system commands, then colours and cursor movements.
ESCAPE = re.compile(
    r"(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|\x1b[ -/]*[0-~]?"
)
BLANK = re.compile(r"[^\S ]+")  # any white space but a blank: line ends, tabs, wide blanks
SECRET_WORD = r"[\w.-]*(?:key|token|secret|passw|pwd|auth|sig|credential)[\w.-]*"
SECRET_FORMS = (
    re.compile(r"(?P<keep>://)[^\s/?#]*(?=@)"),  # the user and password of a URL
    re.compile(r"(?P<keep>\bapi:https?://[^\s?#]*\?)[^\s#]+", re.IGNORECASE),  # a server's query
    re.compile(rf"(?P<keep>[?&;#]{SECRET_WORD}=)[^\s&;#'\"]+", re.IGNORECASE),
    re.compile(r"(?P<keep>\bauthorization\W{1,5}(?:\w+\s+)?)[^\s'\",;]+", re.IGNORECASE),
    re.compile(r"(?P<keep>\bbearer\s+)[\w.~+/=-]{8,}", re.IGNORECASE),
    re.compile(r"(?P<keep>\b(?:hf_|sk-))[\w-]{16,}"),
)
# A secret may reach a message on any path, so all of them share what must be hidden.
_secrets: set[str] = set()


def keep_secret(text: str) -> None:
    """Hide a text in every later message; texts shorter than 4 characters are not hidden."""
    if len(text) >= SHORTEST_SECRET:
        _secrets.add(text)


def scrub(text: str) -> str:
    """Return a text with secrets replaced by `***`.

    Secrets are the texts given to `keep_secret`, and what has the form of one: the user and
    password in a URL, a parameter named like a key, an `Authorization` header, a Hub token.

    >>> scrub("https://me:pass@host/v1?api_key=1234&page=2")
    'https://***@host/v1?api_key=***&page=2'
    """
    for secret in sorted(_secrets, key=len, reverse=True):
        if len(secret) < SHORT_SECRET:
            pattern = rf"(?<!\w){re.escape(secret)}(?!\w)"
        else:
            pattern = r"\s{0,2}".join(map(re.escape, secret))  # also where a line was broken
        text = re.sub(pattern, HIDDEN, text, flags=re.IGNORECASE)
    for form in SECRET_FORMS:
        text = form.sub(rf"\g<keep>{HIDDEN}", text)
    return text


def clean(text: str) -> str:
    """Return a text without what a terminal would obey; line breaks and tabs become a space.

    Removes control characters, escape sequences, characters that override the direction of text,
    lone surrogates and the like. Keeps everything printable.

    >>> clean("\\x1b[31mred\\x1b[0m,\\n plain\\x07")
    'red,  plain'
    """
    return "".join(filter(str.isprintable, BLANK.sub(" ", ESCAPE.sub("", text))))


def quoted(value: object, length: int = 40) -> str:
    """Return the start of a text that somebody else wrote, in quotes, for a message.

    >>> quoted("a\\x1b[2J b")
    "'a b'"
    """
    return repr(scrub(clean(str(value)))[:length])


class UsageError(Exception):
    """Invalid input; the command line prints it as one line and exits with status 2.

    >>> str(UsageError("status 401:\\n no such key at http://me:word@host"))
    'status 401:  no such key at http://***@host'
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(scrub(clean(message)))


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
    # scrubbed before the cut, which might leave half a secret
    return " ".join(scrub(clean(str(error))).split())[:length] or type(error).__name__


def first_problem(error: "ValidationError") -> str:
    """Return the first problem that pydantic reports, as `path.to.key: what is wrong`."""
    first = error.errors()[0]
    location = ".".join(map(str, first["loc"])) or "content"
    message = first["msg"].removeprefix("Value error, ")  # raised by a validator of ours
    return f"{location}: {message[0].lower()}{message[1:]}"
