"""Split documents into blocks of lower-cased ASCII text. Does not know what blocks are for."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

BLOCK = 1 << 16  # bytes processed at a time; the arrays of a block fit into the processor's cache


class Block(NamedTuple):
    """ASCII bytes, and where pieces begin in them.

    Entry i of the lists is the first byte of a stretch, the number of its piece, and its document.
    """

    data: bytes
    starts: list[int]
    pieces: list[int]
    documents: list[int]


class _Chunk(NamedTuple):
    """At most `BLOCK` bytes of one piece, or the space after a document."""

    data: bytes
    piece: int
    document: int


def split(documents: Iterable[Iterable[str]]) -> Iterator[Block]:
    """Yield lower-cased text as ASCII: `?` for other characters, a space after each document.

    No block is empty.
    """
    data = bytearray()
    starts: list[int] = []
    pieces: list[int] = []
    owners: list[int] = []
    for chunk in _chunks(documents):
        starts.append(len(data))
        pieces.append(chunk.piece)
        owners.append(chunk.document)
        data += chunk.data
        if len(data) >= BLOCK:
            yield Block(bytes(data), starts, pieces, owners)
            data = bytearray()
            starts = []
            pieces = []
            owners = []
    if data:
        yield Block(bytes(data), starts, pieces, owners)


def _chunks(documents: Iterable[Iterable[str]]) -> Iterator[_Chunk]:
    piece_number = -1
    for owner, document in enumerate(documents):
        for piece in document:
            piece_number += 1
            plain = piece.lower().encode("ascii", "replace")
            for start in range(0, len(plain), BLOCK):
                yield _Chunk(plain[start : start + BLOCK], piece_number, owner)
        yield _Chunk(b" ", piece_number, owner)
