"""Edits in little memory, for texts that are kept by the million."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from gpt2eval.text.edits import Edit

LARGEST = np.iinfo(np.int32).max
COLUMNS = 3  # start, end, and length of what is inserted


class PackedEdits:
    """Edits of a text, in order and not overlapping; iterating yields them one by one.

    An `Edit` takes about 150 bytes, and a question's text has dozens of them. Here it takes 12, and
    the text that it inserts.

    >>> [*PackedEdits([Edit(0, 1, ""), Edit(4, 4, "ab")])]
    [Edit(start=0, end=1, new=''), Edit(start=4, end=4, new='ab')]
    """

    __slots__ = ("_new", "_numbers")

    def __init__(self, edits: Iterable[Edit]) -> None:
        flat: list[int] = []
        texts: list[str] = []
        for start, end, new in edits:
            flat += (start, end, len(new))
            texts.append(new)
        kind = np.int32 if max(flat, default=0) <= LARGEST else np.int64
        self._numbers = np.array(flat, kind)
        self._new = "".join(texts)

    def __iter__(self) -> Iterator[Edit]:
        numbers = iter(self._numbers.tolist())
        done = 0
        for start, end, length in zip(numbers, numbers, numbers, strict=True):
            yield Edit(start, end, self._new[done : done + length])
            done += length

    def __len__(self) -> int:
        return len(self._numbers) // COLUMNS

    @property
    def starts(self) -> NDArray[np.integer]:
        """Where each edit starts."""
        return self._numbers[0::COLUMNS]

    @property
    def ends(self) -> NDArray[np.integer]:
        """Where each edit ends."""
        return self._numbers[1::COLUMNS]

    @property
    def lengths(self) -> NDArray[np.integer]:
        """The length of what each edit inserts."""
        return self._numbers[2::COLUMNS]
