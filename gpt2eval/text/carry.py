"""Opening quotes that stand at the end of the line before their sentence.

The sentence splitter of the Children's Book Test took such a quote for a closing one, so that it
ends a line: `said the Darning-needle . '`, and then `I shall never get into it .` A detokenizer
carries it over to the line where it belongs. Works on published lines; knows no schemes.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

CLOSING = {"`": "'", "``": "''"}
OPENING = {closing: opening for opening, closing in CLOSING.items()}
# Each begins with what few places have, so that a search skips the others.
LAST_QUOTE = re.compile(r" (?<=\S )(''?|``?)\Z")
QUOTE = re.compile(r"(['`])(?<!\S['`])\1?(?!\S)")
# What may stand before a quote that ends or begins a speech; anything else is an apostrophe.
BREAK = re.compile(r"(?:^|[-,.;:!?'`])\Z")


class Carried(NamedTuple):
    """A line without the quote that it passes on, and with the one that it receives.

    Attributes:
        line: The line as its detokenizer reads it.
        received: The opening quote and the space that `line` begins with, or "".
        passed: The space and the quote that the published line ends with and `line` does not, or
            "".
    """

    line: str
    received: str
    passed: str


def carry(lines: Sequence[str]) -> list[Carried]:
    """Carry every opening quote at the end of a line over to the next line."""
    speech = _Speech()
    carried = []
    received = ""
    for number, line in enumerate(lines):
        if "'" not in line and "`" not in line:
            carried.append(Carried(received + line, received, ""))
            received = ""
            continue
        following = lines[number + 1] if number + 1 < len(lines) else ""
        passed = speech.passed(line, following)
        kept = line[: len(line) - len(passed)]
        carried.append(Carried(received + kept, received, passed))
        received = _received(passed, following)
    return carried


def carried_back(lines: Sequence[str], passes: Sequence[int]) -> list[str]:
    """Return the published lines.

    Args:
        lines: The lines as `carry` returns them.
        passes: By line, 0 if it passes nothing on, 1 if it passes a closing mark (' or ''), and 2
            if it passes an opening one (` or ``).
    """
    published = list(lines)
    for number, kind in enumerate(passes[:-1]):
        quote, space, rest = published[number + 1].partition(" ")
        if kind and space and quote in ("'", "`", "``"):
            passed = CLOSING.get(quote, quote) if kind == 1 else _opening(quote)
            published[number] += f" {passed}"
            published[number + 1] = rest
    return published


def kind_of(passed: str) -> int:
    """Return the kind of a passed quote, as in `passes` of `carried_back`."""
    return 0 if not passed else 1 if passed[1:] in OPENING else 2


def _received(passed: str, following: str) -> str:
    """Return the quote and the space that a line begins with after the previous one passed one on.

    Before `I`, the tokenizer took an opening single quote for an apostrophe wherever it stood.
    """
    if not passed:
        return ""
    opening = _opening(passed[1:])
    return "' " if opening == "`" and following.startswith("I ") else f"{opening} "


def _opening(quote: str) -> str:
    return OPENING.get(quote, quote)


class _Speech:
    """Follows line by line whether a speech is open, for single and double quotes.

    True: open; False: closed; None: unknown, as at the beginning of a text.
    """

    def __init__(self) -> None:
        self._open: dict[str, bool | None] = {"'": None, "''": None}

    def passed(self, line: str, following: str) -> str:
        """Read one line; return the space and quote that belong to the next line, or ""."""
        last = LAST_QUOTE.search(line)
        body = line[: last.start()] if last else line
        for match in QUOTE.finditer(body):
            self._read(match.group(), body[: match.start()].rstrip(" ")[-1:])
        if not last:
            return ""
        quote = last.group(1)
        if quote in CLOSING:
            belongs_to_next = bool(following)
        else:
            is_closed = self._open[quote] is False and BREAK.search(body[-1:])
            belongs_to_next = bool(is_closed) and following[:1].isupper()
        self._read(_opening(quote) if belongs_to_next else quote, body[-1:])
        return last.group() if belongs_to_next else ""

    def _read(self, quote: str, before: str) -> None:
        if quote in CLOSING:
            self._open[CLOSING[quote]] = True
        elif BREAK.search(before):
            # A closing mark where no speech is open begins one; the tokenizer took it wrongly.
            self._open[quote] = self._open[quote] is False
