"""Schemes: tokenization conventions as edits, and as rules that reverse the edits.

A scheme may be wrong for some lines; `gpt2eval.text.detokenizer` checks it on every line. Does not
know files or tasks.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple, Protocol

from gpt2eval.text.edits import Edit, apply_edits, compose, trimmed, white_space_edits
from gpt2eval.text.rule_patterns import Found, Pattern


class Scheme(Protocol):
    """A tokenization convention: the edits that detokenize a line, and their inverse."""

    def propose(self, line: str) -> list[Edit]:
        """Return the edits that detokenize a published line, in order and without overlaps."""
        ...

    def undo(self, detokenized: str) -> str:
        """Return the published line, if the scheme is right about this line."""
        ...

    def undo_edits(self, detokenized: str) -> list[Edit]:
        """Return the edits by which `undo` changes the line, in order and apart from each other."""
        ...


class Swap(NamedTuple):
    """A rule: replace every match of `find` by `put`.

    With `put=None` the rule is a `glue` rule: it deletes the captured groups and keeps the rest
    of the match.

    Attributes:
        find: The regular expression.
        put: The replacement text, or None.
        telling: Texts of which a line with a match has at least one; they save most searches. The
            empty text, which every line has, if none are known.
    """

    find: Pattern
    put: str | None
    telling: tuple[str, ...] = ("",)


@dataclass(frozen=True, slots=True)
class RuleScheme:
    """A scheme made of rules: `do` reads the published line, `back` rewrites the detokenized line.

    The rules of `do` all read the published line, so their order only settles overlaps. The rules
    of `back` run one after the other, each on the result of the previous one.
    """

    do: tuple[Swap, ...]
    back: tuple[Swap, ...]

    def propose(self, line: str) -> list[Edit]:
        """Return all edits from left to right.

        Where edits overlap, the leftmost wins; where they start together, the earlier rule wins.
        """
        candidates: list[Edit] = []
        for rule in self.do:
            for text in rule.telling:  # `any` takes three times as long as this loop
                if text in line:
                    candidates += matches(rule, line)
                    break
        candidates.sort(key=START)  # stable: keeps the order of the rules
        edits: list[Edit] = []
        last = -1
        for edit in candidates:
            start, end, _ = edit
            # The second condition rejects an insertion exactly where the last edit ended.
            if start >= last and not start == end == last:
                edits.append(edit)
                last = end
        return edits

    def undo(self, detokenized: str) -> str:
        """Apply the rules of `back` in order."""
        for rule in self.back:
            for text in rule.telling:
                if text in detokenized:
                    detokenized = _replaced(rule, detokenized)
                    break
        return detokenized

    def undo_edits(self, detokenized: str) -> list[Edit]:
        """Return the edits of all rules of `back` as those of a single pass."""
        edits: list[Edit] = []
        text = detokenized
        for rule in self.back:
            step: list[Edit] = []
            if any(telling in text for telling in rule.telling):
                changes = (e for e in matches(rule, text) if text[e.start : e.end] != e.new)
                step = [trimmed(text, edit) for edit in changes]
            if step:
                text = apply_edits(text, step)
                edits = compose(edits, step, text)
        return edits


START = itemgetter(0)


def _replaced(rule: Swap, text: str) -> str:
    """Return the text with every match of one rule replaced."""
    if rule.put is None:
        return apply_edits(text, matches(rule, text))
    return rule.find.sub(_replacement(rule.put), text)


def matches(rule: Swap, line: str) -> list[Edit]:
    """Return the edits that one rule makes on a line, from left to right."""
    found = rule.find.finditer(line)
    if rule.put is None:
        groups = range(1, rule.find.groups + 1)
        return [
            Edit(start, match.end(group), "")
            for match in found
            for group in groups
            if (start := match.start(group)) >= 0  # -1: the group did not match
        ]
    new = _replacement(rule.put)
    if isinstance(new, str):
        return [Edit(*match.span(), new) for match in found]
    return [Edit(*match.span(), new(match)) for match in found]


# Three octal digits are a character, as in `re`, and no reference.
REFERENCE = re.compile(r"\\(?:g<([0-9]+)>|(?![0-7]{3})([1-9][0-9]?)|(\\))")


@lru_cache(maxsize=512)
def _replacement(put: str) -> str | Callable[[Found], str]:
    r"""Return a replacement text as `sub` takes it: a literal text, or a function of the match.

    `re` reads the references in a text again for every match, which takes longer than the search.
    """
    pieces = _template(put)
    if pieces is None:  # a reference or an escape that only `re` can read
        return lambda match: match.expand(put)
    if not pieces:
        return ""
    match pieces:
        case [str(literal)] if literal != "\\":
            return literal
        case [int(group)]:
            return lambda match: match[group] or ""
        case [str(before), int(group)]:
            return lambda match: before + (match[group] or "")
        case [int(group), str(after)]:
            return lambda match: (match[group] or "") + after
        case [str(before), int(group), str(after)]:
            return lambda match: f"{before}{match[group] or ''}{after}"
    return lambda match: "".join([p if isinstance(p, str) else match[p] or "" for p in pieces])


def _template(put: str) -> tuple[str | int, ...] | None:
    r"""Return the pieces of a replacement text: literal text, and numbers of groups.

    None stands for a text with other references or escapes.

    >>> _template(r" \g<0>@\1\\")
    (' ', 0, '@', 1, '\\')
    """
    if "\\" in REFERENCE.sub("", put):
        return None
    pieces: list[str | int] = []
    done = 0
    for reference in REFERENCE.finditer(put):
        number = reference[1] or reference[2]
        pieces += [put[done : reference.start()], int(number) if number else "\\"]
        done = reference.end()
    pieces.append(put[done:])
    return tuple(piece for piece in pieces if piece != "")


class TextScheme(Protocol):
    """The interface of a class that a detokenizer file names as `python: module:Class`."""

    def do(self, line: str) -> str:
        """Return the detokenized line."""
        ...

    def undo(self, detokenized: str) -> str:
        """Return the published line."""
        ...


@dataclass(frozen=True, slots=True)
class WholeLine:
    """Adapt a `TextScheme` to a `Scheme`.

    Each change of white space is an edit of its own. If the class changes anything else, a single
    edit covers everything that it changes.
    """

    scheme: TextScheme

    def propose(self, line: str) -> list[Edit]:
        """Return the edits by which the class changes the line."""
        return white_space_edits(line, self.scheme.do(line))

    def undo(self, detokenized: str) -> str:
        """Return what the class restores."""
        return self.scheme.undo(detokenized)

    def undo_edits(self, detokenized: str) -> list[Edit]:
        """Return the edits by which the class restores the line."""
        return white_space_edits(detokenized, self.scheme.undo(detokenized))
