"""Split documents into blocks of lower-cased ASCII text.

Does not know what is computed from the blocks.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

BLOCK = 1 << 16  # bytes processed at a time; the arrays of a block fit into the processor's cache


class Block(NamedTuple):
    """ASCII bytes, and for each piece in them its first byte, its number and its document."""

    data: bytes
    starts: list[int]
    pieces: list[int]
    documents: list[int]


def split(documents: Iterable[Iterable[str]]) -> Iterator[Block]:
    """Yield lower-cased text as ASCII: `?` for other characters, a space after each document.

    No block is empty.
    """
    data = bytearray()
    starts: list[int] = []
    pieces: list[int] = []
    owners: list[int] = []
    number = -1
    for owner, document in enumerate(documents):
        for piece in document:
            number += 1
            starts.append(len(data))
            pieces.append(number)
            owners.append(owner)
            plain = piece.lower().encode("ascii", "replace")
            for start in range(0, len(plain), BLOCK):
                data += plain[start : start + BLOCK]
                if len(data) >= BLOCK:
                    yield Block(bytes(data), starts, pieces, owners)
                    # The piece continues at the beginning of the next block.
                    data = bytearray()
                    starts = [0]
                    pieces = [number]
                    owners = [owner]
        data += b" "
        if len(data) >= BLOCK:
            yield Block(bytes(data), starts or [0], pieces or [0], owners or [0])
            data = bytearray()
            starts = [0]
            pieces = [max(number, 0)]
            owners = [owner]
    yield Block(bytes(data + b" "), starts or [0], pieces or [0], owners or [0])
