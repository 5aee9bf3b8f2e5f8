"""The places of a detokenized text's characters in the published text, by applying the edits.

`origins` computes a position by subtracting what the edits have added. This module walks through
the edits instead, character by character, so that one checks the other.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt2eval.text.edits import Edit
from gpt2eval.text.joined import JoinedFrom
from gpt2eval.text.origins import DetokenizedFrom
from gpt2eval.text.packed import PackedEdits
from gpt2eval.types import Passage, Published

Positions = NDArray[np.int64]


class Walked(NamedTuple):
    """Where the characters of a text come from.

    `ends` has, for each character, the position in the published text at which it ends; `is_kept`
    says whether it is the published character before that position, which no edit made.
    """

    ends: Positions
    is_kept: NDArray[np.bool_]


def walked(passage: Passage) -> Walked | None:
    """Return where the characters of a passage come from; None if its source cannot tell."""
    if passage.published is None:
        return _unedited(len(passage.text))
    if isinstance(passage.published, JoinedFrom):
        return _joined(passage.text, passage.published)
    return _of_source(passage.text, passage.published)


def _unedited(length: int) -> Walked:
    return Walked(np.arange(1, length + 1), np.ones(length, np.bool_))


def _of_source(text: str, source: Published) -> Walked | None:
    if isinstance(source, DetokenizedFrom):
        return _detokenized(source, len(text))
    return _unedited(len(text)) if text == source.text else None


def _joined(text: str, joined: JoinedFrom) -> Walked | None:
    """Return where the characters of joined passages come from, each from its own text."""
    parts = [_unedited(0)]
    length = 0
    for source, (start, stop) in zip(joined.sources, pairwise(joined.starts), strict=True):
        part = _of_source(text[start:stop], source)
        if part is None:
            return None
        parts.append(Walked(part.ends + length, part.is_kept))
        length += len(source.text)
    return Walked(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _detokenized(source: DetokenizedFrom, length: int) -> Walked:
    """Return where the characters of a detokenized text of `length` characters come from.

    >>> from gpt2eval.text.edits import EditedText
    >>> edited = EditedText("a word,", (Edit(6, 7, ""),))  # published as "a word ,"
    >>> _detokenized(DetokenizedFrom.of("a word ,", edited), 7).ends.tolist()
    [1, 2, 3, 4, 5, 6, 8]
    """
    here = _unedited(len(source.text))
    for edits in source.passes:
        here = _after(here, edits)
    added = max(source.shift, 0)
    ends = np.concatenate([np.zeros(added, np.int64), here.ends[max(-source.shift, 0) :]])
    is_kept = np.concatenate([np.zeros(added, np.bool_), here.is_kept[max(-source.shift, 0) :]])
    return Walked(ends[:length], is_kept[:length])


def _after(before: Walked, edits: PackedEdits) -> Walked:
    """Return where characters come from after a pass of edits.

    What an edit inserts ends where the text that it replaces ends.
    """
    length = len(before.ends)
    bounds = np.concatenate([[0], before.ends])
    ends: list[Positions] = []
    is_kept: list[NDArray[np.bool_]] = []
    for last, edit in pairwise([Edit(0, 0, ""), *edits, Edit(length, length, "")]):
        ends.append(before.ends[last.end : edit.start])
        is_kept.append(before.is_kept[last.end : edit.start])
        ends.append(np.full(len(edit.new), bounds[edit.end]))
        is_kept.append(np.zeros(len(edit.new), np.bool_))
    return Walked(np.concatenate(ends), np.concatenate(is_kept))
