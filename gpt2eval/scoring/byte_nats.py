"""The nats of scored tokens spread over the published bytes, for any tokenizer.

Two models' tokens have different bounds. Their bytes are the same, so sums over bytes can be
compared. Knows no text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gpt2eval.scoring.token_table import TokenTable

Places = NDArray[np.int64]
CHOICES = 1 << 16  # above the number of choices of a question


@dataclass(frozen=True, slots=True)
class Layout:
    """The published bytes of passages, laid end to end: a place for each of these bytes.

    A passage's places reach from its first scored byte to its last one. Some protocols leave tokens
    between them unscored, such as the first one of each window.

    Attributes:
        keys: Record * `CHOICES` + choice of each passage, increasing.
        begins: Offset of each passage's first scored byte in its published text.
        starts: Place of that byte; one more entry is the number of places.
        scored: Scored bytes before each place and before the end; None if all bytes are scored.
    """

    keys: Places
    begins: Places
    starts: Places
    scored: Places | None = None

    @classmethod
    def of(cls, tables: Sequence[TokenTable]) -> "Layout":
        """Return the layout of all bytes that a token of any of the tables stands for."""
        keys, inverse = np.unique(np.concatenate([*map(_keys, tables)]), return_inverse=True)
        begins = np.full(len(keys), np.iinfo(np.int64).max)
        ends = np.zeros(len(keys), np.int64)
        np.minimum.at(begins, inverse, np.concatenate([table.begin for table in tables]))
        np.maximum.at(ends, inverse, np.concatenate([table.end for table in tables]))
        starts = np.concatenate([[0], np.cumsum(ends - begins)]).astype(np.int64)
        layout = cls(keys, begins, starts)
        return replace(layout, scored=_scored_before(layout, tables))

    @property
    def record(self) -> Places:
        """The record of each passage."""
        return self.keys // CHOICES

    @property
    def choice(self) -> Places:
        """The choice of each passage."""
        return self.keys % CHOICES

    @property
    def sizes(self) -> Places:
        """The number of places of each passage."""
        return np.diff(self.starts)

    def scored_before(self, places: Places) -> Places:
        """Return the number of scored bytes before each place."""
        return places if self.scored is None else self.scored[places]

    def passages(self, table: TokenTable) -> Places:
        """Return the number of each token's passage."""
        return np.searchsorted(self.keys, _keys(table))


def _scored_before(layout: Layout, tables: Sequence[TokenTable]) -> Places | None:
    """Return the number of bytes that a token of any table stands for before each place."""
    size = int(layout.starts[-1])
    open_tokens = np.zeros(size + 1, np.int64)  # those that begin at a place minus those that end
    for table in tables:
        passage = layout.passages(table)
        shift = layout.starts[passage] - layout.begins[passage]
        open_tokens += np.bincount(table.begin + shift, minlength=size + 1)
        open_tokens -= np.bincount(table.end + shift, minlength=size + 1)
    is_scored = np.cumsum(open_tokens)[:-1] > 0
    return None if is_scored.all() else np.concatenate([[0], np.cumsum(is_scored)])


def _keys(table: TokenTable) -> Places:
    return table.record.astype(np.int64) * CHOICES + table.choice


@dataclass(frozen=True, slots=True)
class ByteNats:
    """The nats of the bytes before any place of a layout.

    A token's nats are spread over its published bytes in equal parts. A token without bytes goes on
    with a character that the token before it begins, or spells only what a detokenizer inserts. It
    gives its nats to the last token before it in its passage that has bytes, or if there is none to
    the next one.

    Attributes:
        begin: Place of each token's first byte, in the order of the table.
        end: Place after its last byte.
        nats: Nats of each token, how often it counts included.
        without_bytes: Nats of passages of which no token has bytes.
    """

    begin: Places
    end: Places
    nats: NDArray[np.float64]
    without_bytes: float
    _knots: Places
    _cumulated: NDArray[np.float64]

    @classmethod
    def of(cls, table: TokenTable, layout: Layout) -> "ByteNats":
        """Spread the nats of a table, all of whose bytes have places in the layout.

        Examples:
            >>> import numpy as np
            >>> arrays = {"record": [0, 0, 0], "choice": [0, 0, 0], "is_right": [True] * 3}
            >>> arrays |= {"id": [1, 2, 3], "begin": [0, 2, 2], "end": [2, 2, 6]}
            >>> arrays |= {"logprob": [-2.0, -1.0, -4.0], "is_greedy": [False] * 3}
            >>> arrays |= {"is_tied": [False] * 3, "context": [1, 2, 3], "weight": [1.0] * 3}
            >>> table = TokenTable.of({name: np.array(column) for name, column in arrays.items()})
            >>> spread = ByteNats.of(table, Layout.of([table]))
            >>> spread.before(np.array([0, 1, 2, 3, 6])).tolist()
            [0.0, 1.5, 3.0, 4.0, 7.0]
        """
        passage = layout.passages(table)
        shift = layout.starts[passage] - layout.begins[passage]
        begin, end = table.begin + shift, table.end + shift
        nats = 0.0 - table.logprob.astype(np.float64) * table.weight
        target = _nearest_with_bytes(passage, end > begin)
        has_target = target >= 0
        held = np.bincount(target[has_target], nats[has_target], len(nats))
        used = np.flatnonzero(end > begin)
        cumulated = np.concatenate([[0.0], np.cumsum(held[used])])
        # A knot where a token begins and one where it ends; adjacent tokens share theirs.
        knots = np.stack([begin[used], end[used]], axis=1).ravel()
        values = np.stack([cumulated[:-1], cumulated[1:]], axis=1).ravel()
        is_new = np.diff(knots, prepend=-1) > 0
        lost = float(nats[~has_target].sum())
        return cls(begin, end, nats, lost, knots[is_new], values[is_new])

    def before(self, places: Places) -> NDArray[np.float64]:
        """Return the nats of all bytes before each place."""
        if not len(self._knots):
            return np.zeros(len(places))
        return np.interp(places, self._knots, self._cumulated)

    def tokens(self, begin: int, end: int) -> slice:
        """Return the rows of the tokens that overlap a range of places."""
        return slice(
            int(np.searchsorted(self.end, begin, "right")),
            int(np.searchsorted(self.begin, end, "left")),
        )


def _nearest_with_bytes(passage: Places, has_bytes: NDArray[np.bool_]) -> Places:
    """Return the row of the token that holds each token's nats, or -1 if its passage has none."""
    rows = np.arange(len(passage))
    previous = np.maximum.accumulate(np.where(has_bytes, rows, -1))
    following = np.minimum.accumulate(np.where(has_bytes, rows, len(rows))[::-1])[::-1]
    is_before = (previous >= 0) & (passage[previous] == passage)
    is_behind = np.append(passage, -1)[following] == passage
    return np.where(is_before, previous, np.where(is_behind, following, -1))
