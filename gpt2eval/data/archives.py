"""Read a plain file, or a member of a .zip, .tar.gz or .gz; the type follows from the content."""

import gzip
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import IO, Protocol, cast

from gpt2eval.errors import UsageError, one_line

# The first bytes of archives: of .zip files, and of .gz and .tar.gz files.
ZIP_MAGIC = b"PK\3\4"
GZIP_MAGIC = b"\x1f\x8b"
# What the archive libraries raise for a truncated or corrupt file.
CORRUPTION = (
    EOFError,
    zlib.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    OSError,
    RuntimeError,
    NotImplementedError,
)


class Readable(Protocol):
    """A stream that can be read."""

    def read(self, size: int, /) -> bytes: ...


def unreadable(origin: Path | str, error: Exception) -> UsageError:
    """Return the error for a file whose content cannot be read."""
    return UsageError(f"{origin}: cannot be read: {one_line(error, 200)}; truncated or corrupt?")


def unpack(path: Path, names: Iterable[str]) -> bytes:
    """Return the content of a file, or of the first of `names` that an archive holds in any folder.

    Raises UsageError for an archive that is corrupt, or has no such member.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(len(ZIP_MAGIC))
        if magic == ZIP_MAGIC:
            with zipfile.ZipFile(path) as archive:
                files = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
                return archive.read(_select_member(path, files, names))
        if not magic.startswith(GZIP_MAGIC):
            return path.read_bytes()
        if not tarfile.is_tarfile(path):
            return gzip.decompress(path.read_bytes())
        with tarfile.open(path) as archive:
            files = [entry.name for entry in archive.getmembers() if entry.isfile()]
            member = archive.extractfile(_select_member(path, files, names))
            return member.read() if member else b""
    except CORRUPTION as error:
        raise unreadable(path, error) from None


def _select_member(path: Path, members: list[str], names: Iterable[str]) -> str:
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        for member in members:
            if PurePosixPath(member).name == name:
                return member
    raise UsageError(
        f"{path}: contains no {' or '.join(wanted)}; it contains {', '.join(members[:5])}"
    )


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
        while self.read(1 << 20):
            pass
        return self._digest.hexdigest()


def extract_from_stream(file: Readable, name: str, origin: str) -> bytes:
    """Return the content of a regular file in a .tar.gz stream, reading no further than needed.

    Raises UsageError for an archive that is corrupt, or ends without the file.
    """
    wanted = PurePosixPath(name)
    try:
        with tarfile.open(fileobj=cast(IO[bytes], file), mode="r|gz", bufsize=1 << 20) as archive:
            for member in archive:
                if PurePosixPath(member.name) == wanted and member.isfile():
                    content = archive.extractfile(member)
                    return content.read() if content else b""
    except CORRUPTION as error:
        raise unreadable(origin, error) from None
    raise UsageError(f"{origin}: contains no {name}")
