"""The way from positions in a detokenized text back to the published text."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpt2eval.text.edits import Edit, EditedText, SteppedText, white_space_edits
from gpt2eval.text.packed import PackedEdits
from gpt2eval.types import Ids


@dataclass(frozen=True, slots=True)
class DetokenizedFrom:
    """The published text that a passage was detokenized from; see `types.Published`.

    Attributes:
        text: The published text.
        passes: The smallest edits that make the detokenized text, pass by pass.
        shift: Characters that `lead` adds to the beginning of the detokenized text.
    """

    text: str
    passes: Sequence[PackedEdits]
    shift: int = 0

    @classmethod
    def of(cls, text: str, edited: EditedText | SteppedText, shift: int = 0) -> "DetokenizedFrom":
        """Return the way back to a published text from what was made of it."""
        steps = [edited] if isinstance(edited, EditedText) else edited.steps
        befores = [text, *(step.text for step in steps)]
        passes = [
            PackedEdits(small for edit in step.edits for small in smallest_edits(before, edit))
            for before, step in zip(befores, steps, strict=False)
        ]
        return cls(text, tuple(edits for edits in passes if len(edits)), shift)

    def origins(self, positions: Ids) -> Ids:
        """Return the positions in the published text of positions in the detokenized text.

        The results never decrease if the positions do not. A position inside an edit comes from
        the end of what the edit replaces. What an edit deletes comes after its position. What an
        edit repeats unchanged, such as the text of brackets that lose their spaces, is no part of
        the edit here.

        >>> edited = EditedText("a word,", (Edit(6, 7, ""),))  # published as "a word ,"
        >>> DetokenizedFrom.of("a word ,", edited).origins(np.array([6, 7], np.int32)).tolist()
        [6, 8]
        """
        found = np.asarray(positions, np.int64) - self.shift
        for edits in reversed(self.passes):
            found = _before(found, edits)
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


def _before(positions: np.ndarray, edits: PackedEdits) -> np.ndarray:
    """Return where positions after one pass of edits, at least one, were before it."""
    # growth[n] is the number of characters that the first n edits add to the text.
    growth = np.zeros(len(edits) + 1, np.int64)
    np.cumsum(edits.lengths - (edits.ends - edits.starts), out=growth[1:])
    begins = edits.starts + growth[:-1]  # in the text after the pass
    number = np.searchsorted(begins, positions, "left")  # edits that begin before each position
    last = np.maximum(number - 1, 0)
    is_inside = (number > 0) & (positions < (begins + edits.lengths)[last])
    return np.where(is_inside, edits.ends[last], positions - growth[number])
