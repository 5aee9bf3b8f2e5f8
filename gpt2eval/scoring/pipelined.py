"""Wait for batches in order, while the next one is already started.

A GPU computes one batch while the host lays out the next. A backend that cannot do so computes when
its scores are waited for, so the order is the same.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from gpt2eval.scoring.plan import Batch, PlannedRequest
from gpt2eval.types import TokenScores

Element = TypeVar("Element")


class Started(NamedTuple):
    """Batches of a chunk that were started together; `wait` waits for the scores of each."""

    chunk: int
    batches: Sequence[Batch]
    wait: Callable[[], Sequence[TokenScores]]
    is_resumed: bool = False

    @classmethod
    def resumed(cls, chunk: int, batches: Sequence[Batch], scores: TokenScores) -> "Started":
        """Return a chunk whose scores an earlier run left behind."""
        return cls(chunk, batches, lambda: [scores], is_resumed=True)


def completed(
    started: Iterable[Started], advance: Callable[[Sequence[PlannedRequest]], None]
) -> Iterator[tuple[Started, TokenScores]]:
    """Yield the last batches and all scores of each chunk, as soon as they are complete.

    `advance` is called with the requests of completed batches. An exception concerns the first
    batch that fails, even if a later one was started before.
    """
    parts: list[TokenScores] = []
    for current, following in one_ahead(started):
        parts += current.wait()
        advance([item for batch in current.batches for item in batch])
        if following is None or following.chunk != current.chunk:
            yield current, TokenScores.joined(parts)
            parts = []


def one_ahead(elements: Iterable[Element]) -> Iterator[tuple[Element, Element | None]]:
    """Yield each element with the one that follows it, which is fetched first; None at the end.

    >>> [*one_ahead("abc")]
    [('a', 'b'), ('b', 'c'), ('c', None)]
    """
    remaining = iter(elements)
    element = next(remaining, None)
    while element is not None:
        following = next(remaining, None)
        yield element, following
        element = following
