"""Edits of a text, and the mapping of positions through them."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple


class Edit(NamedTuple):
    """Replace `published[start:end]` by `new`."""

    start: int
    end: int
    new: str


def apply_edits(text: str, edits: Sequence[Edit]) -> str:
    """Return `text` with every edit applied; edits are in order and do not overlap."""
    pieces: list[str] = []
    done = 0
    for start, end, new in edits:
        pieces.append(text[done:start])
        pieces.append(new)
        done = end
    pieces.append(text[done:])
    return "".join(pieces)


class EditedText(NamedTuple):
    """A text after one pass of edits, which are in order and do not overlap."""

    text: str
    edits: tuple[Edit, ...]

    def positions(self, published: Iterable[int]) -> list[int]:
        """Map positions of the published text to positions of the edited text.

        A position moves by the growth of all edits that start before it, and a position inside an
        edit moves to the end of that edit. Text inserted at a position comes after it.
        """
        starts = [edit.start for edit in self.edits]
        # growth[n] is the number of characters that the first n edits add to the text.
        growth = [0, *accumulate(len(e.new) - (e.end - e.start) for e in self.edits)]
        moved = []
        for position in published:
            before = bisect_left(starts, position)  # number of edits that start before it
            inside = before > 0 and position < self.edits[before - 1].end
            anchor = self.edits[before - 1].end if inside else position
            moved.append(anchor + growth[before])
        return moved


class SteppedText(NamedTuple):
    """A text after several passes of edits, each applied to the result of the previous one."""

    steps: tuple[EditedText, ...]

    @property
    def text(self) -> str:
        """The text after the last step."""
        return self.steps[-1].text

    def positions(self, published: Iterable[int]) -> list[int]:
        """Map positions of the published text to positions of the final text, step by step."""
        moved = list(published)
        for step in self.steps:
            moved = step.positions(moved)
        return moved
