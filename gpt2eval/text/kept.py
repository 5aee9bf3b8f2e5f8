"""The characters of a detokenized text that are the published text's own, and their places there.

Follows the edits one by one, as a check of `origins`, which computes positions.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt2eval.text.edits import Edit, EditedText
from gpt2eval.text.origins import DetokenizedFrom

Positions = NDArray[np.int64]


class KeptCharacters(NamedTuple):
    """The characters that no edit made: their positions in the text, and in the published text.

    Two arrays of equal length, both in ascending order.
    """

    here: Positions
    published: Positions


def unedited(length: int) -> KeptCharacters:
    """Return all characters of a text that is the published one."""
    return KeptCharacters(np.arange(length), np.arange(length))


def kept_characters(source: DetokenizedFrom, length: int) -> KeptCharacters:
    """Return the characters of a detokenized text of `length` characters that no edit made.

    >>> edited = EditedText("a word,", (Edit(6, 7, ""),))  # published as "a word ,"
    >>> kept_characters(DetokenizedFrom("a word ,", edited), 7).published.tolist()
    [0, 1, 2, 3, 4, 5, 7]
    """
    edited = source.edited
    steps = [edited] if isinstance(edited, EditedText) else edited.steps
    origins = np.arange(len(source.text))
    for step in steps:
        origins = _after(origins, step.edits)
    if source.shift < 0:
        origins = origins[-source.shift :]
    else:
        origins = np.concatenate([np.full(source.shift, -1), origins])
    here = np.flatnonzero(origins[:length] >= 0)
    return KeptCharacters(here, origins[here])


def _after(origins: Positions, edits: Sequence[Edit]) -> Positions:
    """Return the origin of each character after a pass of edits; -1 for one that an edit made."""
    pieces: list[Positions] = []
    bounds = [Edit(0, 0, ""), *edits, Edit(len(origins), len(origins), "")]
    for before, edit in pairwise(bounds):
        pieces.append(origins[before.end : edit.start])
        pieces.append(np.full(len(edit.new), -1))
    return np.concatenate(pieces)
