"""Invertible detokenizers: convert published text to ordinary-looking text without loss.

Tokenized benchmarks put a model that was trained on ordinary prose at a disadvantage. A *scheme*
proposes edits that make a published line look ordinary, and reverses them. This module applies the
edits line by line and repairs the places where the scheme's own `undo` errs, so that

    undo(do(line).text) == line        holds for every line, by construction.

Does not know tasks, models or the origin of schemes.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from gpt2eval.text.edits import Edit, EditedText, SteppedText, apply_edits
from gpt2eval.text.repair import MARK, Repaired, repair, restore
from gpt2eval.text.schemes import Scheme, Swap, matches

# At the beginning of a line, a mark says that the rest is as published.
ESCAPE = MARK
EDITS_PER_MARK = 2  # a mark costs a reader less than the loss of more edits than this
CONTEXT = 8  # characters of context beside a dropped edit in a report


class DetokenizedLine(NamedTuple):
    """One line after detokenizing.

    Attributes:
        text: The detokenized line.
        edits: The edits that turn the published line into `text`.
        dropped: The proposed edits that were omitted because they could not be reversed.
        marks: The number of marks in `text` that keep `undo` from restoring too much.
        as_published: Whether the line was left as published (apart from an escape).
    """

    text: str
    edits: tuple[Edit, ...]
    dropped: tuple[Edit, ...] = ()
    marks: int = 0
    as_published: bool = False


class Detokenizer:
    """A scheme whose edits are checked on every line.

    `do` applies the proposed edits, with repairs where `undo` errs; if that does not help, the line
    stays as published. `undo` applies the scheme's own `undo` if detokenizing the outcome gives the
    same text again, and otherwise treats the text as a line left as published. A line for which
    even that is ambiguous is preceded by `ESCAPE`. A scheme declared one-way (`invertible=False`)
    is applied in full and not checked. `carries` says that a quote at the end of a line may belong
    to the next line; see `gpt2eval.text.carry`.
    """

    def __init__(
        self, name: str, scheme: Scheme, *, invertible: bool = True, carries: bool = False
    ) -> None:
        self.name = name
        self.invertible = invertible
        self.carries = carries
        self._scheme = scheme
        # Lines repeat: blank lines, headings, and the context that ten choices share.
        self.do = lru_cache(maxsize=4096)(self._do)

    def _do(self, line: str) -> DetokenizedLine:
        proposed = tuple(self._scheme.propose(line))
        text = apply_edits(line, proposed)
        if not self.invertible or self._is_restored(line, text):
            return DetokenizedLine(text, proposed)
        if (edited := self._edited(line)) is not None:
            edits = edited.all_edits()
            return DetokenizedLine(
                apply_edits(line, edits), edits, edited.dropped, len(edited.marks)
            )
        unambiguous = MARK not in line and self.undo(line) == line
        escape = () if unambiguous else (Edit(0, 0, ESCAPE),)
        return DetokenizedLine(apply_edits(line, escape), escape, proposed, as_published=True)

    def _is_restored(self, line: str, text: str) -> bool:
        """Return whether a line needs no repair: with all its edits, `text` restores it."""
        return (
            MARK not in line and not text.startswith(ESCAPE) and restore(self._scheme, text) == line
        )

    def undo(self, detokenized: str) -> str:
        """Return the published line from which `do` produced `detokenized`."""
        if detokenized.startswith(ESCAPE):
            return detokenized[len(ESCAPE) :]
        line = restore(self._scheme, detokenized)
        if line == detokenized:
            return line
        # Accept the restored line only if detokenizing it gives the same text.
        if MARK not in line and apply_edits(line, self._scheme.propose(line)) == detokenized:
            return line  # as in `_is_restored`: `detokenized` is known to restore the line
        again = self._edited(line)
        return line if again is not None and again.text() == detokenized else detokenized

    def _edited(self, line: str) -> Repaired | None:
        """Return the edits of a line, or None if it must stay as published."""
        edited = self._repaired(line)
        return None if edited and self._is_better_as_published(edited) else edited

    def _is_better_as_published(self, edited: Repaired) -> bool:
        """Return whether a mark would surprise a model more than the edits of the line help.

        The line must not need a mark as published either: it is no other line detokenized.
        """
        if not edited.marks or len(edited.edits) > EDITS_PER_MARK * len(edited.marks):
            return False
        other = self._repaired(restore(self._scheme, edited.line))
        return other is None or other.text() != edited.line

    def _repaired(self, line: str) -> Repaired | None:
        """Return the edits that the scheme makes on a line, and that can be reversed."""
        if MARK in line:
            return None
        edited = repair(self._scheme, line)
        return edited if edited and not edited.text().startswith(ESCAPE) else None


class OneWaySteps:
    """Another tool's one-way preparation of a complete text: substitutions in that tool's order."""

    invertible = False

    def __init__(self, name: str, steps: Sequence[Swap]) -> None:
        self.name = name
        self._steps = steps

    def do(self, text: str) -> DetokenizedLine:
        """Return the text after all steps; each edit has positions of the text before its step."""
        return self.summarize(self.apply_steps(text))

    @staticmethod
    def summarize(stepped: SteppedText) -> DetokenizedLine:
        """Return the final text with the edits of all steps."""
        edits = tuple(edit for step in stepped.steps for edit in step.edits)
        return DetokenizedLine(stepped.text, edits)

    def apply_steps(self, text: str) -> SteppedText:
        """Return the text after each step, starting with the text itself."""
        steps = [EditedText(text, ())]
        for rule in self._steps:
            before = steps[-1].text
            # An edit that changes nothing would only hide the positions inside it.
            edits = tuple(e for e in matches(rule, before) if before[e.start : e.end] != e.new)
            steps.append(EditedText(apply_edits(before, edits), edits))
        return SteppedText(tuple(steps))


@dataclass(slots=True)
class RoundTrip:
    """Running totals of what a detokenizer did, over lines or texts.

    Attributes:
        lines: Lines seen.
        changed: Lines whose text changed.
        edits: Edits made, including marks.
        dropped: Edits that were proposed but could not be reversed.
        kept: Lines left as published. Result files report it under this name.
        kept_words: Words in lines left as published.
        words: Words seen.
        marked: Other lines whose text contains a mark.
        marks: Marks in these lines.
        first: The number of the first line that is kept or marked, from 1, or 0.
        first_line: That line, as published.
        most_dropped: The dropped edits with the letters around them, and how often each occurs.
    """

    lines: int = 0
    changed: int = 0
    edits: int = 0
    dropped: int = 0
    kept: int = 0
    kept_words: int = 0
    words: int = 0
    marked: int = 0
    marks: int = 0
    first: int = 0
    first_line: str = ""
    most_dropped: Counter[str] = field(default_factory=Counter)

    @property
    def unfit(self) -> int:
        """Lines that are not in the form that the detokenizer expects: kept or marked."""
        return self.kept + self.marked

    def add(self, line: str, detokenized: DetokenizedLine) -> None:
        """Add one line."""
        self.lines += 1
        self.changed += detokenized.text != line
        self.edits += len(detokenized.edits)
        self.dropped += len(detokenized.dropped)
        words = len(line.split())
        self.words += words
        if detokenized.as_published or detokenized.marks:
            self.kept += detokenized.as_published
            self.kept_words += words * detokenized.as_published
            self.marked += detokenized.marks > 0
            self.marks += detokenized.marks
            if not self.first:
                self.first = self.lines
                self.first_line = line
        for start, end, new in detokenized.dropped:
            # Show the rest of the word on either side: `Corp[ .→.]` rather than the complete line.
            left = line[max(0, start - CONTEXT) : start].rpartition(" ")[2]
            right = line[end : end + CONTEXT].partition(" ")[0]
            self.most_dropped[f"{left}[{line[start:end]:.40}→{new:.40}]{right}"] += 1
