"""Cut the published text of a task into pieces that a page can show, at edges of all tokenizers.

A piece is a record, or a part of a long one. It ends where a token of every model ends, so each
token lies in one piece, and the pieces of several models are the same text.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from gpt2eval.scoring.token_table import TokenTable

Texts = Mapping[tuple[int, int], bytes]
SHORTEST = 900  # bytes of a piece of a long record, if it ends at a line's end
LONGEST = 1400  # bytes of a piece whose text has no line's end in time
BEFORE = 600  # bytes of unscored text before a piece


class Piece(NamedTuple):
    """A part of a record's published text, in bytes, and the rows of each model's tokens in it.

    `before` is where the unscored text begins that is shown in front of it.
    """

    record: int
    choice: int
    before: int
    begin: int
    end: int
    rows: tuple[slice, ...]


class Passages(NamedTuple):
    """The rows of a token table by record and choice."""

    tokens: TokenTable
    rows: Mapping[tuple[int, int], slice]

    @classmethod
    def of(cls, tokens: TokenTable) -> "Passages":
        """Return the rows of the records' texts, and of questions' right choices."""
        rows: dict[tuple[int, int], slice] = {}
        for found in tokens.passages():
            if tokens.is_right[found.start]:
                rows[int(tokens.record[found.start]), int(tokens.choice[found.start])] = found
        return cls(tokens, rows)


def pieces(models: Sequence[Passages], texts: Texts) -> Iterator[Piece]:
    """Yield the pieces of all records that every model has scored, in text order."""
    for key in models[0].rows:
        if key in texts and all(key in model.rows for model in models):
            yield from _of_record(key, models, texts[key])


def _of_record(key: tuple[int, int], models: Sequence[Passages], text: bytes) -> Iterator[Piece]:
    ends = [model.tokens.end[model.rows[key]] for model in models]
    begin = min(int(model.tokens.begin[model.rows[key].start]) for model in models)
    cuts = [begin, *_cuts(begin, ends, text)]
    for number, (low, high) in enumerate(pairwise(cuts)):
        rows: list[slice] = []
        for model, own in zip(models, ends, strict=True):
            offset = model.rows[key].start
            # A token without bytes belongs to the piece before it.
            first = 0 if number == 0 else int(np.searchsorted(own, low, "right"))
            last = len(own) if high == cuts[-1] else int(np.searchsorted(own, high, "right"))
            rows.append(slice(offset + first, offset + last))
        # Unscored text before the scored span; a later piece follows scored text.
        before = max(0, low - BEFORE) if number == 0 else low
        yield Piece(*key, _character(text, before), low, high, tuple(rows))


def _cuts(begin: int, ends: Sequence[np.ndarray], text: bytes) -> Iterator[int]:
    """Yield where the pieces of a record end; the last one ends with its last token."""
    last = max(int(own[-1]) for own in ends)
    if last - begin <= LONGEST:
        yield last
        return
    common = ends[0][np.diff(ends[0], prepend=-1) > 0]  # sorted, so equal ends are adjacent
    for own in ends[1:]:
        nearest = np.minimum(np.searchsorted(own, common), len(own) - 1)
        common = common[own[nearest] == common]
    while begin < last:
        if last - begin <= LONGEST:
            yield last
            return
        near = common[np.searchsorted(common, begin + SHORTEST) :]
        near = near[: np.searchsorted(near, begin + LONGEST, "right")]
        lines = [edge for edge in near.tolist() if _ends_line(text, edge)]
        words = [edge for edge in near.tolist() if text[edge : edge + 1].isspace()]
        after = int(np.searchsorted(common, begin + LONGEST))
        later = common[after : after + 1].tolist()
        begin = (lines[:1] or words[-1:] or near.tolist()[-1:] or later or [last])[0]
        yield begin


def _ends_line(text: bytes, edge: int) -> bool:
    """Return whether a line ends at an edge, whichever side the line's end is on."""
    return text[edge - 1 : edge] == b"\n" or text[edge : edge + 1] == b"\n"


def _character(text: bytes, position: int) -> int:
    """Return the next position that is not inside a character."""
    while position < len(text) and text[position] & 0xC0 == 0x80:
        position += 1
    return position
