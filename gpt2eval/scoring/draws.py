"""Where blocks of tokens are drawn at random from documents, as loaders of quantization papers do.

Knows lengths and positions only.
"""

from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple


class Place(NamedTuple):
    """Where a block begins: the document, and how many of its tokens precede the block."""

    document: int
    first: int


def places(
    length_of: Callable[[int], int], documents: int, size: int, blocks: int, seed: int
) -> Iterator[Place]:
    """Yield where blocks of `size` tokens begin; the same place may be drawn twice.

    For each block, documents are drawn until one has at least `size` tokens, and then the block's
    place in it. The last possible place is never drawn. In a document of exactly `size` tokens,
    with which the source fails, the block is all of it. At least one document must be long enough.
    Source: `get_c4` in datautils.py of IST-DASLab/gptq.

    Args:
        length_of: Returns the number of tokens of a document.
        documents: How many documents there are.
        size: Tokens of a block.
        blocks: How many blocks to draw.
        seed: The seed of Python's generator.

    >>> [tuple(place) for place in places([3, 19, 12].__getitem__, 3, 8, 3, 0)]
    [(1, 6), (1, 8), (1, 6)]
    """
    generator = Random(seed)
    for _ in range(blocks):
        document = generator.randrange(documents)
        while length_of(document) < size:
            document = generator.randrange(documents)
        spare = length_of(document) - size
        yield Place(document, generator.randrange(spare) if spare else 0)
