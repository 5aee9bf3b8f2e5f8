"""Compile the regular expressions of detokenizer files, and bound the time that they take.

A shipped rule uses the module `re`. Any other rule uses the package `regex`, which has nearly the
same syntax and can stop: a rule such as `(a+)+$` takes exponential time with either.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

# The parser of the standard library's own expressions; it has no public name.
from re import _constants, _parser  # type: ignore[attr-defined]  # isort: skip

from gpt2eval.errors import UsageError

if TYPE_CHECKING:
    import regex

REPEATS = (_constants.MAX_REPEAT, _constants.MIN_REPEAT)
COUNTED = (*REPEATS, _constants.POSSESSIVE_REPEAT)
LONGEST = 10_000  # characters of a regular expression
LARGEST = 100_000  # characters that its counted repetitions may stand for
SECONDS = 2.0  # for one call, and more for a long text:
SECONDS_PER_CHARACTER = 2e-5
EXCERPT = 40  # characters of the text in the error


class Found(Protocol):
    """A match; a group that did not match starts and ends at -1."""

    def __getitem__(self, group: int, /) -> str | None: ...

    def start(self, group: int = 0, /) -> int: ...

    def end(self, group: int = 0, /) -> int: ...

    def span(self) -> tuple[int, int]: ...

    def expand(self, template: str, /) -> str: ...


Replacement = str | Callable[[Found], str]


class Pattern(Protocol):
    """A compiled regular expression."""

    @property
    def groups(self) -> int: ...

    def finditer(self, string: str, /) -> Iterator[Found]: ...

    def sub(self, repl: Replacement, string: str, /) -> str: ...


class SlowRuleError(UsageError):
    """A rule takes too long on a text; states the record and the line once they are known."""

    def __init__(self, rule: str, text: str, done: int = 0, place: str = "") -> None:
        self._facts = rule, text, done
        self._place = place
        where = f"{place}, " if place else ""
        super().__init__(
            f"{rule} takes more than {_seconds(text):.1f} s on {where}a text of {len(text):,} "
            f"characters, at {text[done : done + EXCERPT]!r}; expected an expression without "
            "nested repetitions, which can take exponential time"
        )

    def at(self, place: str) -> "SlowRuleError":
        """Return the error with the place of the text, before what is known of it."""
        known = f", {self._place}" if self._place else ""
        return SlowRuleError(*self._facts, f"{place}{known}")

    @property
    def line(self) -> int:
        """The number of the line, from 1, with which the search began after its last match."""
        _, text, done = self._facts
        rest = text[done:].lstrip("\n")
        return text.count("\n", 0, len(text) - len(rest)) + 1


@dataclass(frozen=True, slots=True)
class TimedPattern:
    """A compiled rule that raises UsageError, naming its `place`, instead of running on."""

    compiled: "regex.Pattern[str]"
    place: str

    @property
    def groups(self) -> int:
        """The number of groups."""
        return self.compiled.groups

    def finditer(self, string: str, /) -> Iterator[Found]:
        """Yield the matches from left to right."""
        done = 0
        try:
            for match in self.compiled.finditer(string, timeout=_seconds(string)):
                done = match.end()
                yield match
        except TimeoutError:
            raise self._too_slow(string, done) from None

    def sub(self, repl: Replacement, string: str, /) -> str:
        """Return the string with every match replaced."""
        try:
            return self.compiled.sub(repl, string, timeout=_seconds(string))
        except TimeoutError:
            raise self._too_slow(string) from None

    def _too_slow(self, string: str, done: int = 0) -> SlowRuleError:
        return SlowRuleError(f"{self.place}: {self.compiled.pattern!r:.60}", string, done)


def _seconds(string: str) -> float:
    return SECONDS + SECONDS_PER_CHARACTER * len(string)


def compile_pattern(pattern: str, replacement: str | None, place: str, *, timed: bool) -> Pattern:
    """Compile one rule.

    Args:
        pattern: The regular expression.
        replacement: The template of a swap rule; it is checked against the groups.
        place: The file and the key, for errors.
        timed: Bound the time of every call.

    Raises:
        UsageError: The expression or the replacement is invalid, too long or too complex.
    """
    if len(pattern) > LONGEST:
        raise UsageError(
            f"{place}: an expression of {len(pattern):,} characters; expected at most {LONGEST:,}"
        )
    try:
        parsed = _parser.parse(pattern)
        if _repeats_a_repetition(parsed):
            raise UsageError(
                f"{place}: {pattern!r:.60} repeats a repetition, which can take exponential time; "
                "expected one repetition, such as a+ for (a+)+"
            )
        if (size := _size(parsed)) > LARGEST:
            raise UsageError(
                f"{place}: {pattern!r:.60} counts repetitions of {size:,} characters; expected at "
                f"most {LARGEST:,}, or * or + for any number"
            )
        plain = re.compile(pattern)
        plain.sub(replacement or "", "")  # checks the template
        return _timed(pattern, place) if timed else plain
    except (re.error, IndexError, ValueError) as error:
        raise UsageError(f"{place}: invalid regular expression: {pattern!r:.60}: {error}") from None
    except (RecursionError, OverflowError, MemoryError):
        raise UsageError(
            f"{place}: {pattern!r:.60}: too complex to compile; expected fewer nested groups "
            "and smaller repetitions"
        ) from None


def _timed(pattern: str, place: str) -> TimedPattern:
    import regex

    try:
        return TimedPattern(regex.compile(pattern), place)
    except regex.error as error:
        raise ValueError(str(error)) from None


def _repeats_a_repetition(items: Any) -> bool:
    """Return whether a parsed expression repeats a group that is nothing but a repetition.

    There are exponentially many ways to match a text with such a group, as in `(a+)+`.
    """
    for operator, argument in items:
        if operator in REPEATS:
            _, most, body = argument
            if most > 1 and _is_repetition(body):
                return True
        if any(_repeats_a_repetition(inner) for inner in _inner(argument)):
            return True
    return False


def _size(items: Any) -> int:
    """Return how many characters a parsed expression stands for, with its counts written out.

    Compilers write small counts out, and a count of billions takes all memory while it matches.
    """
    size = 0
    for operator, argument in items:
        inner = sum(map(_size, _inner(argument)))
        times = 1
        if operator in COUNTED:
            least, most, _ = argument
            times = max(1, least) if most is _constants.MAXREPEAT else max(1, most)
        size += times * max(1, inner)
    return size


def _is_repetition(body: Any) -> bool:
    """Return whether a body is a repetition of variable length, perhaps inside groups."""
    if len(body) != 1:
        return False
    operator, argument = body[0]
    if operator in REPEATS:
        least, most, _ = argument
        return most > max(least, 1)
    return any(_is_repetition(inner) for inner in _inner(argument))


def _inner(argument: Any) -> Iterator[Any]:
    """Yield the parsed expressions inside the argument of an operator."""
    if isinstance(argument, _parser.SubPattern):
        yield argument
    elif isinstance(argument, list | tuple):
        for part in argument:
            yield from _inner(part)
