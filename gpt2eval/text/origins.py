"""The way from positions in a detokenized text back to the published text."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from gpt2eval.text.edits import Edit, EditedText, SteppedText, white_space_edits
from gpt2eval.types import Ids


@dataclass(frozen=True, slots=True)
class DetokenizedFrom:
    """The published text that a passage was detokenized from; see `types.Published`.

    Attributes:
        text: The published text.
        edited: Its edits.
        shift: Characters that `lead` adds to the beginning of the detokenized text.
    """

    text: str
    edited: EditedText | SteppedText
    shift: int = 0

    def origins(self, positions: Ids) -> Ids:
        """Return the positions in the published text of positions in the detokenized text.

        The results never decrease if the positions do not. A position inside an edit comes from
        the end of what the edit replaces. What an edit deletes comes after its position. What an
        edit repeats unchanged, such as the text of brackets that lose their spaces, is no part of
        the edit here.

        >>> edited = EditedText("a word,", (Edit(6, 7, ""),))  # published as "a word ,"
        >>> DetokenizedFrom("a word ,", edited).origins(np.array([6, 7], np.int32)).tolist()
        [6, 8]
        """
        found = np.asarray(positions, np.int64) - self.shift
        steps = [self.edited] if isinstance(self.edited, EditedText) else self.edited.steps
        befores = [self.text, *(step.text for step in steps)]
        for before, step in reversed([*zip(befores, steps, strict=False)]):
            found = _before(
                found, [small for edit in step.edits for small in smallest_edits(before, edit)]
            )
        return np.clip(found, 0, len(self.text)).astype(np.int32)


def smallest_edits(before: str, edit: Edit) -> Sequence[Edit]:
    """Return an edit of a text as the smallest edits that do the same.

    >>> smallest_edits("a ( b c )", Edit(2, 9, "(b c)"))
    [Edit(start=3, end=4, new=''), Edit(start=7, end=8, new='')]
    """
    start, end, new = edit
    if start == end or not new:
        return [edit]
    return [
        Edit(start + small.start, start + small.end, small.new)
        for small in white_space_edits(before[start:end], new)
    ]


def _before(positions: np.ndarray, edits: Sequence[Edit]) -> np.ndarray:
    """Return where positions after one pass of edits were before it."""
    if not edits:
        return positions
    ends = np.array([edit.end for edit in edits])
    lengths = np.array([len(edit.new) for edit in edits])
    # growth[n] is the number of characters that the first n edits add to the text.
    growth = np.array([0, *accumulate(len(e.new) - (e.end - e.start) for e in edits)])
    begins = np.array([edit.start for edit in edits]) + growth[:-1]  # in the text after the pass
    number = np.searchsorted(begins, positions, "left")  # edits that begin before each position
    last = np.maximum(number - 1, 0)
    is_inside = (number > 0) & (positions < (begins + lengths)[last])
    return np.where(is_inside, ends[last], positions - growth[number])
