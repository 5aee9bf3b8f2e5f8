"""A file, or the one of a name inside an archive: .zip, .tar.gz, .tgz and .gz, told by their content."""

import gzip
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import IO, Protocol, cast

from gpt2eval.errors import UsageError

DAMAGE = (
    EOFError,
    zlib.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    OSError,
    RuntimeError,
    NotImplementedError,
)


class Readable(Protocol):
    """What a stream must be able to."""

    def read(self, size: int, /) -> bytes: ...


def unpack(path: Path, names: Iterable[str]) -> bytes:
    """The content of a file, or of the first of `names` that an archive holds, in whatever folder of it.

    Raises UsageError for an archive that is damaged, or holds none of them.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
        if magic == b"PK\3\4":
            with zipfile.ZipFile(path) as archive:
                files = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
                return archive.read(_member(path, files, names))
        if not magic.startswith(b"\x1f\x8b"):
            return path.read_bytes()
        if not tarfile.is_tarfile(path):
            return gzip.decompress(path.read_bytes())
        with tarfile.open(path) as archive:
            files = [entry.name for entry in archive.getmembers() if entry.isfile()]
            member = archive.extractfile(_member(path, files, names))
            return member.read() if member else b""
    except DAMAGE as error:
        raise UsageError(f"{path}: cannot be read: {error}; truncated or damaged?") from None


def _member(path: Path, listed: list[str], names: Iterable[str]) -> str:
    found = [entry for name in names for entry in listed if PurePosixPath(entry).name == name]
    if not found:
        raise UsageError(
            f"{path}: holds no {' or '.join(dict.fromkeys(names))}; it has {', '.join(listed[:5])}"
        )
    return found[0]


class Hashed:
    """A file that is read once, and the sha256 of what was read of it."""

    def __init__(self, file: Readable) -> None:
        self._file, self._digest = file, sha256()

    def read(self, size: int) -> bytes:
        content = self._file.read(size)
        self._digest.update(content)
        return content

    def at_the_end(self) -> str:
        """The hash of all of it, after the rest has been read."""
        while self.read(1 << 20):
            pass
        return self._digest.hexdigest()


def member_of_stream(file: Readable, name: str, origin: str) -> bytes:
    """The content of a regular file of a .tar.gz that is read once from its beginning, and no further than it takes.

    Raises UsageError for an archive that is damaged, or ends without it.
    """
    wanted = PurePosixPath(name)
    try:
        with tarfile.open(fileobj=cast(IO[bytes], file), mode="r|gz", bufsize=1 << 20) as archive:
            for member in archive:
                if PurePosixPath(member.name) == wanted and member.isfile():
                    content = archive.extractfile(member)
                    return content.read() if content else b""
    except DAMAGE as error:
        raise UsageError(f"{origin}: cannot be read: {error}; truncated or damaged?") from None
    raise UsageError(f"{origin}: holds no {name}")
