"""Published text to fair text, and back again.

Tokenized benchmarks are unfair to a model that has read ordinary prose, so a *scheme* proposes edits that make
a published line look ordinary, and knows how to put them back. This room applies a scheme line by line, takes
out every edit that the scheme's own `undo` does not restore, and moves scored spans along. It does not know
where schemes come from, nor what a task or a model is.

    undo(do(line).text) == line        for every line, by construction
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from gpt2eval.text.schemes import Edit, Scheme, Swap, matches
from gpt2eval.types import Passage

ESCAPE = "\u2063"  # INVISIBLE SEPARATOR, ahead of a kept line that `undo` would otherwise take for another's fair form
REACH = 8  # an edit this many characters or fewer from the first difference may be its cause


class Fair(NamedTuple):
    """One line after detokenizing: its text, the edits that made it, those dropped, and whether it stayed as published."""

    text: str
    edits: tuple[Edit, ...]
    dropped: tuple[Edit, ...]
    kept: bool


class Detokenizer:
    """A scheme that is checked on every line it touches.

    `do(line)` applies the proposed edits less those that `undo` cannot take back; where that does not help, the
    line stays as published. `undo` reads a fair line as `scheme.undo` does if doing so leads back to that fair
    line, and else takes it as one that stayed as published. A line for which even that is ambiguous stands
    behind `ESCAPE`. A scheme declared one-way (`invertible=False`) is applied in full and not checked.
    """

    def __init__(self, name: str, scheme: Scheme, *, invertible: bool = True) -> None:
        self.name, self.invertible = name, invertible
        self._scheme = scheme
        self.do = lru_cache(maxsize=4096)(self._do)

    def _do(self, line: str) -> Fair:
        if not self.invertible:
            edits = tuple(self._scheme.propose(line))
            return Fair(apply(line, edits), edits, (), False)
        fair = self._edited(line)
        if not fair.kept and not fair.text.startswith(ESCAPE):
            return fair
        safe = not line.startswith(ESCAPE) and self.undo(line) == line
        escape = () if safe else (Edit(0, 0, ESCAPE),)
        return Fair(apply(line, escape), escape, (*fair.dropped, *fair.edits), True)

    def undo(self, fair: str) -> str:
        """The published line that `do` made `fair` from."""
        if fair.startswith(ESCAPE):
            return fair[len(ESCAPE) :]
        line = self._scheme.undo(fair)
        if line == fair:
            return line
        again = self._edited(line)
        return line if again.text == fair and not again.kept else fair

    def _edited(self, line: str) -> Fair:
        edits, dropped = self._scheme.propose(line), []
        while True:
            text = apply(line, edits)
            back = self._scheme.undo(text)
            if back == line:
                return Fair(text, tuple(edits), tuple(dropped), False)
            culprit = _nearest(edits, _first_difference(back, line))
            if culprit is None:
                return Fair(line, (), (*dropped, *edits), True)
            edits.remove(culprit)
            dropped.append(culprit)


class OneWaySteps:
    """Another tool's preparation of a whole text, one-way: substitutions made one after the other, just as that tool does."""

    invertible = False

    def __init__(self, name: str, steps: Sequence[Swap]) -> None:
        self.name, self._steps = name, steps

    def do(self, text: str) -> Fair:
        """The text after all steps, and the edits of each, at positions of the text before it."""
        stages = self.stages(text)
        return Fair(
            stages.text, tuple(edit for stage in stages.of for edit in stage.edits), (), False
        )

    def stages(self, text: str) -> "Stages":
        """The text after each step."""
        of = [Moved(text, ())]
        for step in self._steps:
            edits = tuple(matches(step, of[-1].text))
            of.append(Moved(apply(of[-1].text, edits), edits))
        return Stages(tuple(of))


def _first_difference(a: str, b: str) -> int:
    """Where two different strings part, found by halving."""
    same, differ = 0, min(len(a), len(b)) + 1
    while differ - same > 1:
        middle = (same + differ) // 2
        if a[same:middle] == b[same:middle]:
            same = middle
        else:
            differ = middle
    return same


def _nearest(edits: Sequence[Edit], position: int) -> Edit | None:
    """The edit closest to a position of the published line, if any is within reach."""
    distance, edit = min(
        ((max(edit.start - position, position - edit.end, 0), edit) for edit in edits),
        default=(REACH + 1, None),
    )
    return edit if distance <= REACH else None


def apply(line: str, edits: Sequence[Edit]) -> str:
    """`line` with every edit made; edits are in order and do not overlap."""
    pieces, at = [], 0
    for start, end, new in edits:
        pieces += line[at:start], new
        at = end
    return "".join(pieces) + line[at:]


@dataclass(slots=True)
class RoundTrip:
    """What a detokenizer did to a text: sums over its lines, so reports add up."""

    lines: int = 0
    changed: int = 0
    edits: int = 0
    dropped: int = 0
    kept: int = 0
    most_dropped: Counter[str] = field(default_factory=Counter)

    def add(self, line: str, fair: Fair) -> None:
        self.lines += 1
        self.changed += fair.text != line
        self.edits += len(fair.edits)
        self.dropped += len(fair.dropped)
        self.kept += fair.kept
        for start, end, new in fair.dropped:
            left, right = line[max(0, start - 8) : start], line[end : end + 8]
            change = f"[{line[start:end]:.40}→{new:.40}]"
            self.most_dropped[f"{left.rpartition(' ')[2]}{change}{right.partition(' ')[0]}"] += 1


class Moved(NamedTuple):
    """A whole text after detokenizing, and where a position of the published text has gone."""

    text: str
    edits: tuple[Edit, ...]

    def positions(self, published: Iterable[int]) -> list[int]:
        """Fair positions of published ones: each moves by the growth of the edits that start before it.

        A position inside an edit goes to that edit's end; an insertion at a position comes after it.
        """
        starts = [edit.start for edit in self.edits]
        growth = [0, *accumulate(len(e.new) - (e.end - e.start) for e in self.edits)]
        moved = []
        for position in published:
            n = bisect_left(starts, position)
            inside = n > 0 and position < self.edits[n - 1].end
            moved.append((self.edits[n - 1].end if inside else position) + growth[n])
        return moved


class Stages(NamedTuple):
    """A whole text after several changes, one upon the other, and where a position of the published text has gone."""

    of: tuple[Moved, ...]

    @property
    def text(self) -> str:
        return self.of[-1].text

    def positions(self, published: Iterable[int]) -> list[int]:
        """Fair positions of published ones, moved by each change in turn."""
        moved = list(published)
        for stage in self.of:
            moved = stage.positions(moved)
        return moved


def fair(
    passage: Passage,
    detokenizer: Detokenizer | OneWaySteps | None,
    *,
    join: str,
    lead: str | None,
    report: RoundTrip | None,
) -> Passage:
    """A passage with its text made fair and its parts moved along.

    Line ends become `join` (one character); a `lead`, if any, replaces the white space that the text begins with.
    """
    moved = (
        detokenize(passage.text, detokenizer, report) if detokenizer else Moved(passage.text, ())
    )
    text, shift = moved.text.replace("\n", join), 0
    if lead is not None:
        shift = len(lead) - (len(text) - len(text.lstrip()))
        text = lead + text.lstrip()
    bounds = [bound for part in passage.parts for bound in part[:2]]
    to = {a: max(b + shift, 0) for a, b in zip(bounds, moved.positions(bounds), strict=True)} | {
        len(passage.text): len(text)
    }
    parts = tuple(part._replace(start=to[part.start], end=to[part.end]) for part in passage.parts)
    return replace(passage, text=text, parts=parts)


def detokenize(
    text: str, detokenizer: Detokenizer | OneWaySteps, report: RoundTrip | None = None
) -> Moved | Stages:
    """The fair form of a text: line by line (lines end in a newline, which is never edited), or whole if so published."""
    if isinstance(detokenizer, OneWaySteps):
        if report is not None:
            report.add(text, detokenizer.do(text))
        return detokenizer.stages(text)
    fair, edits, at = [], [], 0
    for line in text.removesuffix("\n").split("\n"):
        done = detokenizer.do(line)
        if report is not None:
            report.add(line, done)
        fair.append(done.text)
        edits += (Edit(at + start, at + end, new) for start, end, new in done.edits)
        at += len(line) + 1
    return Moved("\n".join(fair) + "\n" * text.endswith("\n"), tuple(edits))
