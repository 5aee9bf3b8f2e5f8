"""The segments of two results' published text, with the nats of both models: arrays only."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt2eval.analysis.gap_entries import Documents, Entries
from gpt2eval.analysis.published_texts import Texts
from gpt2eval.errors import UsageError
from gpt2eval.report.measured import Measured
from gpt2eval.scoring.byte_nats import ByteNats, Layout, Places
from gpt2eval.scoring.token_table import byte_offsets
from gpt2eval.text.segments import segments

Values = NDArray[np.float64]


class Sums(NamedTuple):
    """Sums over the segments of each entry: bytes, and nats of both models."""

    bytes: Values
    first: Values
    second: Values


@dataclass(frozen=True, slots=True)
class GapTable:
    """The segments of the scored published bytes, in the order of their places.

    Attributes:
        layout: The passages.
        texts: The published text of each passage.
        content: The published bytes of all places.
        spread: The nats of both models by place.
        bounds: Place where each segment begins; one more entry ends the last.
        sizes: Scored bytes of each segment.
        kinds: Kind of each segment.
        first: Nats of the first model.
        second: Nats of the second model.
        entry: The tally that each segment belongs to, by the place where it begins.
        entries: Number of tallies.
        documents: The documents.
    """

    layout: Layout
    texts: Sequence[bytes]
    content: bytes
    spread: tuple[ByteNats, ByteNats]
    bounds: Places
    sizes: Places
    kinds: NDArray[np.int8]
    first: Values
    second: Values
    entry: Places
    entries: int
    documents: Documents

    @classmethod
    def of(cls, first: Measured, second: Measured, texts: Texts) -> "GapTable":
        """Align two results on one text.

        Raises UsageError if the text is not theirs, or a loss is infinite.
        """
        for one in (first, second):
            if not math.isfinite(one.result.tally.nats):
                raise UsageError(f"{one.path}: a record has a probability of 0; expected none")
        tables = [table.select(table.is_right) for table in (first.tokens(), second.tokens())]
        layout = Layout.of(tables)
        passages = _passages(layout, texts, first)
        spread = (ByteNats.of(tables[0], layout), ByteNats.of(tables[1], layout))
        places, kinds = _segments(layout, passages)
        before = [one.before(places) for one in spread]
        entry_of = Entries(layout, texts, first.parts, first)
        return cls(
            layout=layout,
            texts=passages,
            content=b"".join(
                text[begin : begin + size]
                for text, begin, size in zip(passages, layout.begins, layout.sizes, strict=True)
            ),
            spread=spread,
            bounds=places,
            sizes=np.diff(layout.scored_before(places)),
            kinds=kinds,
            first=np.diff(before[0]),
            second=np.diff(before[1]),
            entry=entry_of.places(places[:-1]),
            entries=len(first.parts),
            documents=entry_of.documents(first.independent),
        )

    @property
    def difference(self) -> Values:
        """Nats of the second model minus nats of the first, of each segment."""
        return self.second - self.first

    def unscored(self) -> tuple[int, int]:
        """Return the scored bytes that each model does not score, but the other one does."""
        both = int(self.layout.scored_before(self.bounds[-1:])[0])
        first, second = (int((one.end - one.begin).sum()) for one in self.spread)
        return both - first, both - second

    def by_entry(self, chosen: NDArray[np.int64]) -> Sums:
        """Return the sums over chosen segments."""
        sizes = self.sizes[chosen].astype(np.float64)
        return Sums(
            *(self._sums(chosen, of) for of in (sizes, self.first[chosen], self.second[chosen]))
        )

    def _sums(self, chosen: NDArray[np.int64], values: Values) -> Values:
        return np.bincount(self.entry[chosen], values, self.entries).astype(np.float64)

    def text(self, segment: int) -> bytes:
        """Return the bytes of a segment."""
        return self.content[self.bounds[segment] : self.bounds[segment + 1]]

    def literals(self) -> Places:
        """Return a number for each segment: equal for equal bytes of one kind, counted from 0."""
        numbers: dict[tuple[int, bytes], int] = {}
        content = self.content
        bounds = self.bounds.tolist()
        keys = (
            (kind, content[begin:end])
            for kind, begin, end in zip(self.kinds.tolist(), bounds, bounds[1:], strict=False)
        )
        return np.fromiter(
            (numbers.setdefault(key, len(numbers)) for key in keys), np.int64, len(self.kinds)
        )

    def passage(self, place: int) -> int:
        """Return the passage of a place."""
        passage = int(np.searchsorted(self.layout.starts, place, "right")) - 1
        return min(passage, len(self.layout.keys) - 1)

    def position(self, place: int) -> tuple[int, int]:
        """Return the record of a place, and the offset of its byte in the published text."""
        passage = self.passage(place)
        offset = int(self.layout.begins[passage] + place - self.layout.starts[passage])
        return int(self.layout.record[passage]), offset


def _passages(layout: Layout, texts: Texts, measured: Measured) -> list[bytes]:
    """Return the published text of each passage of a layout."""
    passages = [
        texts.get((int(record), int(choice)), b"")
        for record, choice in zip(layout.record, layout.choice, strict=True)
    ]
    reached = layout.begins + layout.sizes
    if any(len(text) < end for text, end in zip(passages, reached, strict=True)):
        raise UsageError(
            f"{measured.path}: its tokens reach beyond the published text; expected the text that "
            "was measured"
        )
    return passages


def _segments(layout: Layout, passages: Sequence[bytes]) -> tuple[Places, NDArray[np.int8]]:
    """Return the bounds and kinds of the segments of the scored bytes.

    Whole texts are cut, because white space before a scored word decides its kind; then what is
    not scored is left out.
    """
    decoded = [text.decode("utf-8", "surrogateescape") for text in passages]
    ends, kinds = segments(decoded)
    ends = byte_offsets("".join(decoded))[ends]
    begins = np.concatenate([[0], ends])[:-1]
    starts = np.concatenate([[0], np.cumsum([len(text) for text in passages])]).astype(np.int64)
    passage = np.searchsorted(starts, begins, "right") - 1
    low = starts[passage] + layout.begins[passage]
    high = low + layout.sizes[passage]
    begins, ends = np.maximum(begins, low), np.minimum(ends, high)
    is_scored = ends > begins
    places = (begins - low + layout.starts[passage])[is_scored]
    return np.append(places, layout.starts[-1]), kinds[is_scored]
