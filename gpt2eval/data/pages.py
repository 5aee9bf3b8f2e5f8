"""Sum the sizes that the pages of a parquet column declare, before a page is decompressed.

The footer of a file states a size, too, but a reader allocates what the header of a page states.
Headers and footer are structs in Thrift's compact protocol. Fields 2 and 3 of a header are the
decompressed and the compressed size. Source: parquet.thrift and thrift-compact-protocol.md of the
Apache projects.
"""

import os
from collections.abc import Iterator, Mapping
from typing import IO, Any, NamedTuple

LARGEST_HEADER = 1 << 16  # bytes; a header may hold the least and the greatest value of a page
DEEPEST = 8  # structs inside each other

BOOLEANS = (1, 2)
BYTE = 3
INTEGERS = (4, 5, 6)
DOUBLE = 7
BINARY = 8
LISTS = (9, 10)
STRUCT = 12


class Chunk(NamedTuple):
    """A column's part of a row group, as the footer describes it.

    Attributes:
        path: The column, with a dot before each level.
        values: The number of values.
        decompressed: The size that the footer states.
        first: Where the first page begins.
        compressed: The length in the file.
    """

    path: str
    values: int
    decompressed: int
    first: int
    compressed: int


def chunks(file: IO[bytes]) -> Iterator[Chunk]:
    """Yield the column chunks of a parquet file.

    pyarrow's own description of a chunk ends the process where the footer contradicts itself.
    Raises ValueError or IndexError for a footer that cannot be read.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(size - 8)
    length = int.from_bytes(file.read(4), "little")
    file.seek(size - 8 - length)
    footer, _ = _struct(file.read(length), 0)
    try:
        for group in footer.get(4, []):
            for column in group[1]:
                yield _chunk(column[3])
    except (KeyError, TypeError, AttributeError):
        raise ValueError("the footer lacks a field") from None


def _chunk(fields: Mapping[int, Any]) -> Chunk:
    path = ".".join(name.decode() for name in fields[3])
    first = fields[9]
    if 0 < fields.get(11, 0) < first:  # a dictionary precedes the data
        first = fields[11]
    return Chunk(path, fields[5], fields[6], first, fields[7])


def declared_size(file: IO[bytes], chunk: Chunk) -> int:
    """Return the decompressed size of a column chunk: the sum over the headers of its pages.

    Raises ValueError or IndexError for a header that cannot be read.
    """
    position = chunk.first
    end = position + chunk.compressed
    total = 0
    while position < end:
        file.seek(position)
        header, length = _struct(file.read(LARGEST_HEADER), 0)
        decompressed, compressed = header.get(2, -1), header.get(3, -1)
        if not (isinstance(decompressed, int) and isinstance(compressed, int)):
            raise ValueError("a page's size is no integer")
        if decompressed < 0 or compressed < 0:
            raise ValueError("a page has a negative size")
        total += decompressed
        position += length + compressed
    return total


def _struct(data: bytes, position: int, depth: int = 0) -> tuple[dict[int, Any], int]:
    """Return a struct's values by the numbers of their fields, and the position after it."""
    if depth > DEEPEST:
        raise ValueError("structs are nested too deeply")
    fields: dict[int, Any] = {}
    number = 0
    while first := data[position]:
        number, position = _field(data, position + 1, first, number)
        fields[number], position = _value(data, position, first & 15, depth + 1)
    return fields, position + 1


def _field(data: bytes, position: int, kind: int, previous: int) -> tuple[int, int]:
    """Return a field's number, which its first byte gives as a difference, or a varint."""
    if kind >> 4:
        return previous + (kind >> 4), position
    value, position = _varint(data, position)
    return (value >> 1) ^ -(value & 1), position


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise ValueError("an integer has over ten bytes")


def _value(data: bytes, position: int, kind: int, depth: int) -> tuple[Any, int]:
    """Return a value, and the position after it."""
    if kind in BOOLEANS:  # a field's type is its value
        return kind == BOOLEANS[0], position
    if kind == BYTE:
        return data[position], position + 1
    if kind in INTEGERS:
        value, position = _varint(data, position)
        return (value >> 1) ^ -(value & 1), position  # zigzag
    if kind == DOUBLE:
        return data[position : position + 8], position + 8
    if kind == BINARY:
        length, position = _varint(data, position)
        return data[position : position + length], position + length
    if kind in LISTS:
        return _list(data, position, depth + 1)
    if kind != STRUCT:
        raise ValueError("a field has an unknown type")
    return _struct(data, position, depth)


def _list(data: bytes, position: int, depth: int) -> tuple[list[Any], int]:
    """Return a list's elements, each of at least one byte, and the position after it."""
    if depth > DEEPEST:
        raise ValueError("lists are nested too deeply")
    count = data[position] >> 4
    kind = data[position] & 15
    position += 1
    if count == 15:
        count, position = _varint(data, position)
    elements: list[Any] = []
    for _ in range(count):
        element, position = _value(data, position, BYTE if kind in BOOLEANS else kind, depth)
        elements.append(element)
        if position > len(data):
            raise IndexError("a list is longer than the data")
    return elements, position
