"""Which tally and which document a scored byte of two results belongs to."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gpt2eval.analysis.published_texts import Texts
from gpt2eval.errors import UsageError
from gpt2eval.metrics.clusters import Clusters, is_stream
from gpt2eval.report.measured import Measured
from gpt2eval.scoring.byte_nats import Layout, Places
from gpt2eval.types import Tally


class Documents(NamedTuple):
    """The documents, numbered as exported records are.

    Attributes:
        name: What a document is.
        numbers: Number of each: of a record, an article or a part.
        bounds: Place where each one begins; one more entry ends the last.
    """

    name: str
    numbers: Places
    bounds: Places


class Entries:
    """Which tally a place belongs to, and where the documents begin."""

    def __init__(
        self, layout: Layout, texts: Texts, parts: Sequence[Tally], measured: Measured
    ) -> None:
        self._layout = layout
        self._is_stream = is_stream(parts)
        if self._is_stream:
            # A stream's only passage begins at its first byte, so that places are offsets.
            sizes = [part.units.bytes for part in parts]
            self._bounds = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
            is_alike = self._bounds[-1] == len(next(iter(texts.values())))
        else:
            self._records = np.unique([record for record, _ in texts])
            is_alike = len(self._records) == len(parts)
        if not is_alike:
            raise UsageError(
                f"{measured.path}: its tallies are of another text; expected the text that was "
                "measured"
            )

    def places(self, places: Places) -> Places:
        """Return the number of the tally of each place."""
        if self._is_stream:
            offsets = places + self._layout.begins[0]
            return np.searchsorted(self._bounds[1:-1], offsets, "right")
        passage = np.searchsorted(self._layout.starts, places, "right") - 1
        return np.searchsorted(self._records, self._layout.record[passage])

    def documents(self, by: Clusters) -> Documents:
        """Return the documents: records, or a stream's articles or parts."""
        if not self._is_stream:
            return Documents(by.name, self._layout.record, self._layout.starts)
        begins = self._bounds[:-1]
        name, numbers = "part", np.arange(len(begins))
        if by.numbers is not None:
            name = by.name
            numbers, first = np.unique(by.numbers, return_index=True)
            begins = begins[first]
        shifted = np.clip(begins - self._layout.begins[0], 0, self._layout.starts[-1])
        return Documents(name, numbers, np.append(shifted, self._layout.starts[-1]))
