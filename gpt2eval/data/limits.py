"""Limits on the size of unpacked data, checked before memory is taken.

A small file can unpack to any size: an archive of zeros, a sparse member, a table that repeats one
long string. Every reader of this folder therefore counts what it unpacks.
"""

import io
import re
from pathlib import Path
from typing import NamedTuple, Protocol

from gpt2eval.errors import UsageError

PIECE = 1 << 20  # bytes per read
FLOOR = 64 << 20  # bytes that any file may unpack to
RATIO = 100  # larger files may unpack to this multiple of their size; text reaches about 10
LARGEST = 2 << 30  # bytes of a file that is read into memory
UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


class Readable(Protocol):
    """A stream that can be read."""

    def read(self, size: int, /) -> bytes: ...


class Limit(NamedTuple):
    """The most bytes of a file's content, and of everything that is unpacked to find it."""

    content: int
    unpacked: int


def limit_for(size: int, declared: int | None = None, max_size: int | None = None) -> Limit:
    """Return the limit for a file of `size` bytes.

    A file may unpack to 64 MiB, to 100 times its size, or to twice the `declared` size of the
    published file, whichever is most. Its content may have 2 GiB. `max_size` replaces both bounds.

    >>> limit_for(1000) == Limit(FLOOR, FLOOR)
    True
    """
    unpacked = max(FLOOR, RATIO * size, 2 * (declared or 0))
    if max_size is not None:
        return Limit(max_size, max(unpacked, max_size))
    return Limit(min(unpacked, LARGEST), unpacked)


def limit_of(path: Path, declared: int | None = None, max_size: int | None = None) -> Limit:
    """Return the limit for the file at a path; a missing file counts as empty."""
    try:
        size = path.stat().st_size
    except OSError:
        size = 0
    return limit_for(size, declared, max_size)


def too_large(origin: Path | str, limit: int) -> UsageError:
    """Return the error for content above a limit."""
    return UsageError(
        f"{origin}: more than {limit:,} bytes when unpacked; expected at most that, "
        "or a larger --max-size"
    )


def parse_size(text: str) -> int:
    """Return a size in bytes; the suffixes K, M, G and T are powers of 1,024.

    >>> parse_size("20GB") == parse_size("20 GiB") == 20 << 30
    True
    """
    match = re.fullmatch(r"(\d{1,15}) ?([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE | re.ASCII)
    if match is None or not int(match[1]):
        raise UsageError(f"--max-size {text:.40}: expected a size such as 500MB or 20GB")
    return int(match[1]) << UNITS[match[2].upper()]


class Bounded(io.RawIOBase):
    """A stream that raises UsageError once more than `limit` bytes are read from it."""

    def __init__(self, file: Readable, limit: int, origin: Path | str) -> None:
        self._file = file
        self._limit = limit
        self._left = limit
        self._origin = origin

    def readable(self) -> bool:
        return True

    # pyright: ignore because typeshed lets a buffer be more than a memoryview
    def readinto(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, buffer: memoryview, /
    ) -> int:
        content = self._file.read(len(buffer))
        self._left -= len(content)
        if self._left < 0:
            raise too_large(self._origin, self._limit)
        buffer[: len(content)] = content
        return len(content)


def read_all(file: Readable, limit: int, origin: Path | str) -> bytes:
    """Return the rest of a stream. Raises UsageError, before it is read, beyond `limit` bytes."""
    content = bytearray()
    while piece := file.read(PIECE):
        if len(content) + len(piece) > limit:
            raise too_large(origin, limit)
        content += piece
    return bytes(content)
