"""Sum the sizes that the pages of a parquet column declare, before a page is decompressed.

The footer of a file states a size, too, but a reader allocates what the header of a page states.
A header is a struct in Thrift's compact protocol: fields 2 and 3 are the decompressed and the
compressed size. Source: parquet.thrift and thrift-compact-protocol.md of the Apache projects.
"""

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


class _Header(NamedTuple):
    length: int
    decompressed: int
    compressed: int


def declared_size(file: IO[bytes], chunk: Any) -> int:
    """Return the decompressed size of a column chunk: the sum over the headers of its pages.

    Raises ValueError or IndexError for a header that cannot be read.
    """
    position = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < (chunk.dictionary_page_offset or 0) < position:
        position = chunk.dictionary_page_offset
    end = position + chunk.total_compressed_size
    total = 0
    while position < end:
        file.seek(position)
        header = _read_header(file.read(LARGEST_HEADER))
        if header.decompressed < 0 or header.compressed < 0:
            raise ValueError("a page has a negative size")
        total += header.decompressed
        position += header.length + header.compressed
    return total


def _read_header(data: bytes) -> _Header:
    sizes = {2: -1, 3: -1}
    position = field = 0
    while kind := data[position]:
        position += 1
        field, position = _field(data, position, kind, field)
        if kind & 15 in INTEGERS:
            value, position = _varint(data, position)
            if field in sizes:
                sizes[field] = (value >> 1) ^ -(value & 1)  # zigzag
        else:
            position = _skip(data, position, kind & 15)
    return _Header(position + 1, sizes[2], sizes[3])


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
    raise ValueError("a page's header has an integer of over ten bytes")


def _skip(data: bytes, position: int, kind: int, depth: int = 0) -> int:
    """Return the position after a value."""
    if depth > DEEPEST:
        raise ValueError("a page's header is nested too deeply")
    if kind in BOOLEANS:
        return position
    if kind == BYTE:
        return position + 1
    if kind in INTEGERS:
        return _varint(data, position)[1]
    if kind == DOUBLE:
        return position + 8
    if kind == BINARY:
        length, position = _varint(data, position)
        return position + length
    if kind in LISTS:
        count = data[position] >> 4
        element = data[position] & 15
        position += 1
        if count == 15:
            count, position = _varint(data, position)
        for _ in range(min(count, LARGEST_HEADER)):
            position = (
                position + 1 if element in BOOLEANS else _skip(data, position, element, depth + 1)
            )
        return position
    if kind != STRUCT:
        raise ValueError("a page's header has a field of an unknown type")
    field = 0
    while first := data[position]:
        field, position = _field(data, position + 1, first, field)
        position = _skip(data, position, first & 15, depth + 1)
    return position + 1
