"""A file, or the one of a name inside an archive: .zip, .tar.gz, .tgz and .gz, told by their content."""

import gzip
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import IO

from gpt2eval.errors import UsageError

DAMAGE = (EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError)


def unpack(path: Path, names: Iterable[str]) -> bytes:
    """The content of a file, or of the first of `names` that an archive holds, in whatever folder of it.

    Raises UsageError for an archive that is damaged, or holds none of them.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
        if magic == b"PK\3\4":
            with zipfile.ZipFile(path) as archive:
                return archive.read(_member(path, archive.namelist(), names))
        if not magic.startswith(b"\x1f\x8b"):
            return path.read_bytes()
        if not tarfile.is_tarfile(path):
            return gzip.decompress(path.read_bytes())
        with tarfile.open(path) as archive:
            member = archive.extractfile(_member(path, archive.getnames(), names))
            return member.read() if member else b""
    except DAMAGE as error:
        raise UsageError(f"{path}: cannot be read: {error}; truncated or damaged?") from None


def _member(path: Path, listed: list[str], names: Iterable[str]) -> str:
    found = [entry for name in names for entry in listed if PurePosixPath(entry).name == name]
    if not found:
        raise UsageError(f"{path}: holds no {' or '.join(dict.fromkeys(names))}; it has {', '.join(listed[:5])}")
    return found[0]


def member_of_stream(file: IO[bytes], name: str, origin: str) -> bytes:
    """The content of a regular file of a .tar.gz that is read once from its beginning, and no further than it takes.

    Raises UsageError for an archive that is damaged, or ends without it.
    """
    wanted = PurePosixPath(name)
    try:
        with tarfile.open(fileobj=file, mode="r|gz", bufsize=1 << 20) as archive:
            for member in archive:
                if PurePosixPath(member.name) == wanted and member.isfile():
                    content = archive.extractfile(member)
                    return content.read() if content else b""
    except DAMAGE as error:
        raise UsageError(f"{origin}: cannot be read: {error}; truncated or damaged?") from None
    raise UsageError(f"{origin}: holds no {name}")
