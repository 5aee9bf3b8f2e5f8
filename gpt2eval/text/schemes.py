"""Schemes: ways in which published text was tokenized, as edits that make a line fair and rules that put it back.

A scheme need not be exact: `detok.py` checks it on every line. It does not know files, tasks or texts.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Edit(NamedTuple):
    """Replace `published[start:end]` by `new`."""

    start: int
    end: int
    new: str


class Scheme(Protocol):
    """A way of tokenizing: what to edit on a published line, and how to put a fair line back."""

    def propose(self, line: str) -> list[Edit]: ...

    def undo(self, fair: str) -> str: ...


class Swap(NamedTuple):
    """Replace every match of `find` by `put`; a `glue` is a swap that cuts out only the captured groups."""

    find: re.Pattern[str]
    put: str | None


@dataclass(frozen=True, slots=True)
class RuleScheme:
    """A scheme written as data: `do` matches the published line, `undo` is applied in order to the fair line."""

    do: tuple[Swap, ...]
    back: tuple[Swap, ...]

    def propose(self, line: str) -> list[Edit]:
        """All edits on `line`, left to right; of two that overlap the leftmost stands, then the earlier rule."""
        found = [edit for rule in self.do for edit in matches(rule, line)]
        found.sort(key=lambda edit: edit.start)
        edits, last = [], -1
        for edit in found:
            if edit.start >= last and (edit.start, edit.end) != (last, last):
                edits.append(edit)
                last = edit.end
        return edits

    def undo(self, fair: str) -> str:
        for find, put in self.back:
            fair = find.sub(put or "", fair)
        return fair


def matches(rule: Swap, line: str) -> Iterable[Edit]:
    """The edits of one rule, left to right."""
    if rule.put is None:
        for match in rule.find.finditer(line):
            for start, end in match.regs[1:]:
                if start >= 0:
                    yield Edit(start, end, "")
    else:
        for match in rule.find.finditer(line):
            yield Edit(
                match.start(), match.end(), match.expand(rule.put) if "\\" in rule.put else rule.put
            )


class TextScheme(Protocol):
    """What `python: module:Class` names: a whole line there, a whole line back."""

    def do(self, line: str) -> str: ...

    def undo(self, fair: str) -> str: ...


@dataclass(frozen=True, slots=True)
class WholeLine:
    """A `TextScheme` as a `Scheme`: one edit, the whole line."""

    scheme: TextScheme

    def propose(self, line: str) -> list[Edit]:
        fair = self.scheme.do(line)
        return [] if fair == line else [Edit(0, len(line), fair)]

    def undo(self, fair: str) -> str:
        return self.scheme.undo(fair)
