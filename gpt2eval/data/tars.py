"""Read the members of a tar archive from a stream, once and in memory that does not grow.

Checks what `tarfile` does not: the size of extended headers before they are read, the number of
members, and that the archive goes on to its end.
"""

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from gpt2eval.data.limits import PIECE, Readable, read_all, too_large
from gpt2eval.errors import UsageError

BLOCK = tarfile.BLOCKSIZE
KEPT = 8 * BLOCK  # bytes before the position, to which `tarfile` returns
LARGEST_HEADER = 1 << 14  # bytes of an extended header: a path, times, attributes
MOST_MEMBERS = 100_000
# `tarfile` searches a header in time that grows with the square of the longest run of digits.
DIGITS = re.compile(rb"\d{256}")


class TarMember(NamedTuple):
    """A member of an archive; `read` works until the next member is requested."""

    info: tarfile.TarInfo
    archive: tarfile.TarFile

    def read(self, limit: int, origin: Path | str) -> bytes:
        """Return the content. Raises UsageError, before it is read, above `limit` bytes."""
        if self.info.size > limit:
            raise too_large(f"{origin}: {self.info.name!r:.80}", limit)
        file = self.archive.extractfile(self.info)
        return read_all(file, limit, origin) if file else b""


class _Forward:
    """A stream with the positions that `tarfile` needs; goes back only by `KEPT` bytes."""

    def __init__(self, stream: Readable, origin: Path | str) -> None:
        self._stream = stream
        self._origin = origin
        self._position = 0
        self._kept = b""  # the bytes that end at the furthest position
        self._back = 0  # how far the position is before it
        self.in_header = True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position - self._back

    def seek(self, position: int) -> int:
        if position < self._position:
            self._back = self._position - position
            if self._back > len(self._kept):
                raise tarfile.ReadError("a member lies before the previous one")
        else:
            self._back = 0
            while (left := position - self._position) > 0 and self._advance(min(left, PIECE)):
                pass
        return self.tell()

    def read(self, size: int) -> bytes:
        if size < 0:
            raise tarfile.ReadError("a member has a negative size")
        if self.in_header and size > LARGEST_HEADER:
            raise UsageError(
                f"{self._origin}: a header of {size:,} bytes; expected at most {LARGEST_HEADER:,}"
            )
        content = b""
        if self._back:
            first = len(self._kept) - self._back
            content = self._kept[first : first + size]
            self._back -= len(content)
        while len(content) < size and (piece := self._advance(size - len(content))):
            content += piece
        if self.in_header and DIGITS.search(content):
            raise UsageError(f"{self._origin}: a header with a number of over 255 digits")
        return content

    def _advance(self, size: int) -> bytes:
        piece = self._stream.read(size)
        self._position += len(piece)
        self._kept = (self._kept + piece)[-KEPT:]
        return piece


def read_members(stream: Readable, origin: Path | str) -> Iterator[TarMember]:
    """Yield the members of an uncompressed tar stream, and check its end after the last.

    Raises UsageError for an archive that takes too much memory or has no end, and what
    `tarfile` raises for a corrupt one.
    """
    reader = _Forward(stream, origin)
    with tarfile.open(fileobj=cast(IO[bytes], reader), mode="r:") as archive:
        count = 0
        while (info := _next(archive, reader)) is not None:
            count += 1
            if count > MOST_MEMBERS:
                raise UsageError(f"{origin}: more than {MOST_MEMBERS:,} members; expected fewer")
            yield TarMember(info, archive)
        _check_end(reader, archive.offset)


def _next(archive: Any, reader: _Forward) -> tarfile.TarInfo | None:
    reader.in_header = True
    info = archive.next()
    reader.in_header = False
    archive.members.clear()  # of no use to a reader that never goes back
    return info


def _check_end(reader: _Forward, offset: int) -> None:
    """Raise ReadError unless only zeros, at least a block, follow the last member.

    `tarfile` takes a corrupt header for the end of the archive.
    """
    reader.seek(offset)
    end = reader.read(BLOCK)
    if len(end) < BLOCK:
        raise tarfile.ReadError("the archive has no end")
    while end:
        if end.strip(b"\0"):
            raise tarfile.ReadError("something other than a member follows the last one")
        end = reader.read(PIECE)


def is_tar(head: bytes) -> bool:
    """Return whether a file's first bytes are the header of a tar member."""
    try:
        tarfile.TarInfo.frombuf(head[:BLOCK], "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError, IndexError):
        return head[257:262] == b"ustar"
    return True
