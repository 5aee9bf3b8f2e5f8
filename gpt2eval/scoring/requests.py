"""What a backend is asked, where its answers belong, and lists of it that are formed lazily."""

from abc import abstractmethod
from array import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from gpt2eval.scoring.large import blocks
from gpt2eval.types import Encoded, Request

Element = TypeVar("Element")


class Target(NamedTuple):
    """Where the scores of a branch belong: tokens `first`, `first + 1`, ... of a passage."""

    passage: int
    first: int


class PlannedRequest(NamedTuple):
    """A request, the target of each of its branches, and how often each scored token counts."""

    request: Request
    targets: tuple[Target, ...]
    weight: float = 1.0


Batch = list[PlannedRequest]
Chunk = list[Batch]


def tokens_fed(request: Request) -> int:
    """Return the number of input tokens of a request; a branch's last token is only a target."""
    return len(request.prefix) + sum(len(branch) - 1 for branch in request.branches)


def flat(chunk: Iterable[Sequence[PlannedRequest]]) -> list[PlannedRequest]:
    """Return the requests of batches."""
    return [item for batch in chunk for item in batch]


def token_places(chunk: Chunk, encoded: Sequence[Encoded]) -> tuple[np.ndarray, np.ndarray]:
    """Return the end in its text, and the record, of each token that a chunk scores."""
    ends = []
    records = []
    for item in flat(chunk):
        for branch, target in zip(item.request.branches, item.targets, strict=True):
            one = encoded[target.passage]
            ends.append(one.ends[target.first : target.first + len(branch)])
            records.append(np.full(len(branch), one.passage.record, np.int32))
    return np.concatenate(ends), np.concatenate(records)


class Lazy(Sequence[Element]):
    """Requests, or groups of them, each formed when it is asked for.

    `sizes` are the input tokens of each element; `requests` counts the requests of all together.
    A text of many million tokens has more requests than fit into memory.
    """

    sizes: NDArray[np.integer]
    requests: int

    @abstractmethod
    def element(self, number: int) -> Element:
        """Return element `number`, which is at least 0."""

    def __len__(self) -> int:
        return len(self.sizes)

    @overload
    def __getitem__(self, index: int) -> Element: ...
    @overload
    def __getitem__(self, index: slice) -> list[Element]: ...
    def __getitem__(self, index: int | slice) -> "Element | list[Element]":
        numbers = range(len(self))[index]
        if isinstance(numbers, range):
            return [self.element(number) for number in numbers]
        return self.element(numbers)


class Listed(Lazy[Element]):
    """Requests, or groups of them, that exist already."""

    def __init__(self, elements: Sequence[Element], sizes: Sequence[int], requests: int) -> None:
        self._elements = elements
        self.sizes = np.array(sizes, np.int64)
        self.requests = requests

    def element(self, number: int) -> Element:
        return self._elements[number]


def listed(planned: Sequence[PlannedRequest]) -> Listed[PlannedRequest]:
    """Return requests that exist with their sizes."""
    return Listed(planned, [tokens_fed(item.request) for item in planned], len(planned))


def listed_batches(batches: Sequence[Batch]) -> Listed[Batch]:
    """Return batches that exist with their sizes."""
    sizes = [sum(tokens_fed(item.request) for item in batch) for batch in batches]
    return Listed(batches, sizes, sum(map(len, batches)))


class Grouped(Lazy[list[Element]]):
    """Groups of elements: up to a total of `limit` input tokens each; larger elements stand alone.

    Args:
        elements: The elements.
        limit: The tokens of a group.
        order: The order in which the elements are taken; None for their own.
    """

    def __init__(
        self, elements: Lazy[Element], limit: int, order: NDArray[np.int64] | None = None
    ) -> None:
        sizes = elements.sizes if order is None else elements.sizes[order]
        self._elements = elements
        self._order = order
        self._starts = _starts(sizes, limit)
        self.sizes = np.zeros(0, np.int64)
        if len(sizes):
            self.sizes = np.add.reduceat(sizes, self._starts, dtype=np.int64)
        self.requests = elements.requests

    def element(self, number: int) -> list[Element]:
        last = len(self._elements) if number + 1 == len(self) else int(self._starts[number + 1])
        places = range(int(self._starts[number]), last)
        if self._order is None:
            return [self._elements[place] for place in places]
        return [self._elements[place] for place in self._order[places.start : last].tolist()]


def _starts(sizes: NDArray[np.integer], limit: int) -> NDArray[np.int64]:
    """Return the number of the first element of each group."""
    starts = array("q")
    total = limit + 1
    for place in blocks(range(len(sizes))):
        for number, size in enumerate(sizes[place].tolist(), place.start):
            total += size
            if total > limit:
                starts.append(number)
                total = size
    return np.array(starts, np.int64)
