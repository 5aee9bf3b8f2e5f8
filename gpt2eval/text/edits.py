"""Edits of a text, and the mapping of positions through them."""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
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


def trimmed(text: str, edit: Edit) -> Edit:
    """Return the same edit of `text` without what it leaves unchanged at its end and beginning.

    >>> trimmed("a,b", Edit(1, 2, " ,"))
    Edit(start=1, end=1, new=' ')
    """
    start, end, new = edit
    shortest = min(end - start, len(new))
    tail = next((n for n in range(shortest) if text[end - 1 - n] != new[-1 - n]), shortest)
    shortest -= tail
    head = next((n for n in range(shortest) if text[start + n] != new[n]), shortest)
    return Edit(start + head, end - tail, new[head : len(new) - tail])


def white_space_edits(before: str, after: str) -> list[Edit]:
    """Return edits that turn `before` into `after`, from left to right.

    Texts that differ in white space only have one edit per gap between their other characters; for
    any others, one edit covers everything between the first and the last difference. A gap is known
    by its place, the number of other characters before it.
    """
    olds = SPACES.split(before)
    news = SPACES.split(after)
    if before == after:
        return []
    if "".join(olds[::2]) != "".join(news[::2]):
        return [trimmed(before, Edit(0, len(before), after))]
    old_places = list(accumulate(map(len, olds[::2])))
    old_gaps = dict(zip(old_places, olds[1::2], strict=False))
    new_gaps = dict(zip(accumulate(map(len, news[::2])), news[1::2], strict=False))
    spaces = [0, *accumulate(map(len, olds[1::2]))]  # characters of white space before each gap
    edits = []
    for place in sorted({place for place, _ in old_gaps.items() ^ new_gaps.items()}):
        start = place + spaces[bisect_left(old_places, place)]
        old = old_gaps.get(place, "")
        edits.append(Edit(start, start + len(old), new_gaps.get(place, "")))
    return edits


SPACES = re.compile(r"(\s+)")


class Cluster(NamedTuple):
    """A place that two passes of edits change, in the positions of all three texts.

    Attributes:
        first: The edits of the first pass that lie here, as indexes.
        before: The span in the text before the first pass.
        between: The span in the text between the passes.
        after: The span in the text after the second pass.
    """

    first: range
    before: tuple[int, int]
    between: tuple[int, int]
    after: tuple[int, int]


def clusters(first: Sequence[Edit], second: Sequence[Edit]) -> Iterator[Cluster]:
    """Yield the places that two successive passes change; edits that touch share a cluster.

    Outside the clusters all three texts are equal. Takes linear time.
    """
    i = j = 0
    grown = regrown = 0  # how much longer the text is after the first pass, and after the second
    while i < len(first) or j < len(second):
        starts = [first[i].start + grown] if i < len(first) else []
        starts += [second[j].start] if j < len(second) else []
        start = end = min(starts)
        begin, grown_before, regrown_before = i, grown, regrown
        while True:
            if i < len(first) and first[i].start + grown <= end:
                end = max(end, first[i].start + grown + len(first[i].new))
                grown += len(first[i].new) - (first[i].end - first[i].start)
                i += 1
            elif j < len(second) and second[j].start <= end:
                end = max(end, second[j].end)
                regrown += len(second[j].new) - (second[j].end - second[j].start)
                j += 1
            else:
                break
        yield Cluster(
            range(begin, i),
            (start - grown_before, end - grown),
            (start, end),
            (start + regrown_before, end + regrown),
        )


def compose(first: Sequence[Edit], second: Sequence[Edit], after: str) -> list[Edit]:
    """Return the edits that do in one pass what two passes do; `after` is the final text."""
    if not first or not second:
        return [*first, *second]
    return [
        Edit(*cluster.before, after[slice(*cluster.after)]) for cluster in clusters(first, second)
    ]


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
