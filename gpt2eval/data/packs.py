"""Packs: the kept files of a cache in one archive, to be carried to a machine without network.

A .tar.gz whose first member, `manifest.json`, names every other one with its size and hash. The same files make the
same pack, byte for byte. Nothing of a pack is kept before all of it has been checked.
"""

import gzip
import io
import os
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field, ValidationError

from gpt2eval.config.schema import Source, Strict
from gpt2eval.data.archives import DAMAGE
from gpt2eval.data.cache import Cache, Origin, PlainName, key_of
from gpt2eval.errors import UsageError, first_problem

LARGEST_MANIFEST = 1 << 24  # bytes


class Entry(Strict):
    """A packed file: its folder in the cache, and what is known of it."""

    key: PlainName
    known: Origin

    @property
    def member(self) -> str:
        return f"files/{self.key}/{self.known.name}"


class Manifest(Strict):
    """What a pack holds."""

    format: Annotated[int, Field(ge=1, le=1)] = 1
    files: tuple[Entry, ...]


class PackedFile(NamedTuple):
    """A file of a pack, checked."""

    entry: Entry
    content: bytes


def pack(path: Path, cache: Cache, sources: Iterable[Source]) -> list[Entry]:
    """Write the kept files of sources into a pack, whole or not at all, and return what it holds.

    Raises UsageError where one is not there, or is damaged, and where the pack cannot be written.
    """
    found = [(source, cache.origin(source), cache.read(source)) for source in sources]
    if absent := [source.file.name for source, _, content in found if content is None]:
        raise UsageError(
            f"not in the cache: {', '.join(absent)}; expected 'gpt2eval data fetch' first"
        )
    kept = {
        key_of(s): PackedFile(Entry(key=key_of(s), known=k), c)
        for s, k, c in found
        if k and c is not None
    }
    files = [kept[key] for key in sorted(kept)]
    manifest = Manifest(files=tuple(file.entry for file in files))
    members = [("manifest.json", manifest.model_dump_json(indent=1).encode())]
    members += [(entry.member, content) for entry, content in files]
    temporary = path.parent / f".{path.name}.{os.getpid()}"
    try:
        with (
            temporary.open("wb") as raw,
            gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as squeezed,
            tarfile.open(fileobj=squeezed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for name, content in members:
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(content), 0o644
                archive.addfile(member, io.BytesIO(content))
        temporary.replace(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        with suppress(OSError):
            temporary.unlink()
    return list(manifest.files)


def unpack(path: Path, cache: Cache) -> list[Entry]:
    """Keep all files of a pack in a cache, and return what they are.

    Raises UsageError, before anything is kept, for an archive that is damaged or cut short, that has no manifest, or a
    member that the manifest does not name (a link, a path outside), for a file of another size or hash, and for one
    that the cache has already with another content.
    """
    entries = [packed.entry for packed in checked(path)]
    for entry in entries:
        there = cache.origin_of(entry.key)
        if there and there.sha256 != entry.known.sha256:
            raise UsageError(
                f"{path}: {entry.known.name}: {cache.folder / 'files' / entry.key} has one of another hash, "
                f"{there.sha256[:8]}, not {entry.known.sha256[:8]}; expected it gone, or another --cache"
            )
    for entry, content in checked(path):
        if cache.content_of(entry.key) != content:
            cache.keep(entry.key, entry.known, content)
    return entries


def checked(path: Path) -> Iterator[PackedFile]:
    """The files of a pack, each compared with the manifest; raises UsageError as `unpack` does."""
    try:
        with gzip.open(path) as squeezed, tarfile.open(fileobj=squeezed, mode="r|") as archive:
            first = archive.next()
            if (
                first is None
                or first.name != "manifest.json"
                or not first.isreg()
                or first.size > LARGEST_MANIFEST
            ):
                raise UsageError(
                    f"{path}: not a pack: expected manifest.json first, as 'gpt2eval data pack' writes it"
                )
            missing = {
                entry.member: entry for entry in _manifest(_content(archive, first), path).files
            }
            while (member := archive.next()) is not None:
                where, entry = f"{path}: {member.name!r:.80}", missing.pop(member.name, None)
                if entry is None:
                    raise UsageError(f"{where}: not a file that its manifest names, or there twice")
                if not member.isreg():
                    raise UsageError(f"{where}: a link, folder or device; expected a plain file")
                if member.size != entry.known.bytes:
                    raise UsageError(
                        f"{where}: {member.size:,} bytes; its manifest says {entry.known.bytes:,}"
                    )
                content = _content(archive, member)
                if sha256(content).hexdigest() != entry.known.sha256:
                    raise UsageError(f"{where}: its hash is not the one that its manifest says")
                yield PackedFile(entry, content)
            while squeezed.read(1 << 20):  # to its end, where its own checksum is
                pass
    except DAMAGE as error:
        raise UsageError(f"{path}: cannot be read: {error}; truncated or damaged?") from None
    if missing:
        raise UsageError(
            f"{path}: lacks {', '.join(sorted(missing))}, which its manifest names; truncated?"
        )


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return file.read() if file else b""


def _manifest(content: bytes, path: Path) -> Manifest:
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        raise UsageError(f"{path}: manifest.json: {first_problem(error)}") from None
