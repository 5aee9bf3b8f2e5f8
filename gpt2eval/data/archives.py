"""Read a file, whatever it is packed in: a compression, a .zip or a tar, told by their content.

Every container is read and checked to its end, and unpacked in pieces up to a limit.
"""

import codecs
import gzip
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import IO, cast

from gpt2eval.data.compression import (
    CORRUPTION,
    HEAD,
    PIECE,
    SUFFIXES,
    compression_of,
    decompressed,
)
from gpt2eval.data.limits import Bounded, Limit, Readable, limit_of, read_all
from gpt2eval.data.selection import Selection
from gpt2eval.data.tars import TarMember, is_tar, read_members
from gpt2eval.data.zips import ZIP_MAGIC, read_zip
from gpt2eval.errors import UsageError, one_line

MOST_LAYERS = 3  # of containers inside each other, such as a .gz in a .zip
CONTAINERS = (*SUFFIXES, ".tgz", ".tbz", ".tbz2", ".txz", ".tar", ".zip")
SHORTEST = 16  # bytes; less may be the beginning of a container


def unreadable(origin: Path | str, error: Exception) -> UsageError:
    """Return the error for a file whose content cannot be read."""
    return UsageError(f"{origin}: cannot be read: {one_line(error, 200)}; truncated or corrupt?")


def is_packed(head: bytes) -> bool:
    """Return whether a file's first bytes are those of a compression or an archive."""
    return bool(compression_of(head)) or head.startswith(ZIP_MAGIC) or is_tar(head)


def unpack(path: Path, names: Iterable[str], limit: Limit | None = None) -> bytes:
    """Return the content of a file, or of the first of `names` that an archive holds in any folder.

    Raises UsageError for a container that is corrupt, has no such member, or unpacks to more than
    the limit.
    """
    limit = limit or limit_of(path)
    wanted = tuple(dict.fromkeys(names))
    try:
        with path.open("rb") as raw:
            is_plain = not is_packed(raw.read(HEAD))
            raw.seek(0)
            content = _content(raw, path, wanted, limit)
        for _ in range(MOST_LAYERS - 1):
            if not is_packed(content[:HEAD]):
                break
            content = _content(io.BytesIO(content), path, wanted, limit)
    except CORRUPTION as error:
        raise unreadable(path, error) from None
    if is_packed(content[:HEAD]):
        raise UsageError(f"{path}: more than {MOST_LAYERS} containers inside each other")
    if is_plain and path.suffix.lower() in CONTAINERS and not _is_text(content[:HEAD]):
        raise UsageError(f"{path}: not a {path.suffix} file, nor text; truncated or corrupt?")
    return content


def _is_text(head: bytes) -> bool:
    """Return whether the first bytes of a file that is named like a container may be text."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return len(head) >= SHORTEST and not re.search(rb"[\x00-\x08\x0e-\x1f]", head)


def _content(raw: IO[bytes], path: Path, names: Sequence[str], limit: Limit) -> bytes:
    """Return the content of a file without its outermost container."""
    head = raw.read(HEAD)
    raw.seek(0)
    selection = Selection(path, names)
    if head.startswith(ZIP_MAGIC):
        return read_zip(raw, path, selection, limit)
    with _opened(raw, path, limit) as stream:
        if not is_tar(stream.peek(HEAD)[:HEAD]):
            return read_all(stream, limit.content, path)
        content = b""
        for member in read_members(stream, path):
            if member.info.isfile() and selection.prefers(member.info.name):
                content = member.read(limit.content, path)
        selection.check()
        while stream.read(PIECE):  # a compression verifies its checksum at its end
            pass
        return content


@contextmanager
def _opened(raw: IO[bytes], path: Path, limit: Limit) -> "Iterator[io.BufferedReader[Bounded]]":
    """Open a file decompressed; a read beyond the limit raises UsageError."""
    stream = decompressed(raw)
    most = limit.content if stream is raw else limit.unpacked
    with io.BufferedReader(Bounded(stream, most, path), PIECE) as bounded:
        yield bounded


@contextmanager
def open_tar(path: Path, limit: Limit | None = None) -> Iterator[Iterator[TarMember]]:
    """Open a tar archive of any compression; the members are to be read in order, to the end.

    Raises UsageError for an archive that is corrupt or unpacks to more than the limit.
    """
    try:
        with path.open("rb") as raw, _opened(raw, path, limit or limit_of(path)) as stream:

            def members() -> Iterator[TarMember]:
                yield from read_members(stream, path)
                while stream.read(PIECE):
                    pass

            yield members()
    except CORRUPTION as error:
        raise unreadable(path, error) from None


class HashingReader:
    """A stream that is read once and hashes its bytes with SHA-256."""

    def __init__(self, file: Readable) -> None:
        self._file = file
        self._digest = sha256()

    def read(self, size: int) -> bytes:
        content = self._file.read(size)
        self._digest.update(content)
        return content

    def digest_to_end(self) -> str:
        """Read the rest, and return the SHA-256 of the complete stream."""
        while self.read(PIECE):
            pass
        return self._digest.hexdigest()


def extract_from_stream(
    file: Readable, name: str, origin: str, limit: Limit | None = None
) -> bytes:
    """Return the content of a regular file in a .tar.gz stream, reading no further than needed.

    The rest of the stream, with its checksums, is for the caller to read or to leave. Raises
    UsageError for an archive that is corrupt, or ends without the file.
    """
    wanted = PurePosixPath(name)
    most = (limit or limit_of(Path())).content
    try:
        with gzip.GzipFile(fileobj=cast(IO[bytes], file)) as stream:
            for member in read_members(stream, origin):
                if PurePosixPath(member.info.name) == wanted and member.info.isfile():
                    return member.read(most, origin)
    except CORRUPTION as error:
        raise unreadable(origin, error) from None
    raise UsageError(f"{origin}: contains no {name}")
