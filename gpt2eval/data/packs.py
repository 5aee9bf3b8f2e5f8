"""Packs: cached files in one archive, to be copied to a machine without a network.

A pack is a .tar.gz whose first member, `manifest.json`, lists every other member with its size and
checksum. Equal files give equal packs, byte for byte. All members are checked before the
first is unpacked.
"""

import gzip
import io
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field, ValidationError

from gpt2eval.config.source_schema import Source, Strict
from gpt2eval.data.archives import open_tar
from gpt2eval.data.cache import Cache, CachedFile, PlainName, Provenance, key_of
from gpt2eval.data.limits import limit_of
from gpt2eval.data.tars import TarMember
from gpt2eval.errors import UsageError, first_problem
from gpt2eval.files import temporary_beside

LARGEST_MANIFEST = 1 << 24  # bytes


class PackEntry(Strict):
    """A file in a pack: its folder in the cache, and its provenance (`known` in the manifest)."""

    key: PlainName
    provenance: Provenance = Field(alias="known")

    @property
    def member(self) -> str:
        return f"files/{self.key}/{self.provenance.name}"


class Manifest(Strict):
    """The contents of a pack."""

    format: Annotated[int, Field(ge=1, le=1)] = 1
    files: tuple[PackEntry, ...]


class PackedFile(NamedTuple):
    """A file of a pack that matches its manifest entry."""

    entry: PackEntry
    content: bytes


def pack(path: Path, cache: Cache, sources: Iterable[Source]) -> list[PackEntry]:
    """Write the cached files of sources into a pack atomically, and return its entries.

    Raises UsageError if a file is missing or corrupt, or the pack cannot be written.
    """
    cached: dict[str, CachedFile] = {}
    missing: list[str] = []
    for source in sources:
        file = cache.get(source)
        if file is None:
            missing.append(source.file.name)
        else:
            cached[key_of(source)] = file
    if missing:
        raise UsageError(
            f"not in the cache, or corrupt: {', '.join(missing)}; run 'gpt2eval data fetch' first"
        )
    files = [
        PackedFile(PackEntry(key=key, known=cached[key].provenance), cached[key].content)
        for key in sorted(cached)
    ]
    manifest = Manifest(files=tuple(file.entry for file in files))
    members = [("manifest.json", manifest.model_dump_json(indent=1, by_alias=True).encode())]
    members += [(file.entry.member, file.content) for file in files]
    _write_archive(path, members)
    return list(manifest.files)


def _write_archive(path: Path, members: Sequence[tuple[str, bytes]]) -> None:
    try:
        with (
            temporary_beside(path) as temporary,
            temporary.open("wb") as raw,
            # No name and no time in the gzip header, so that equal contents give equal bytes.
            gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as compressed,
            tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for name, content in members:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                member.mode = 0o644
                archive.addfile(member, io.BytesIO(content))
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None


def unpack(path: Path, cache: Cache, max_size: int | None = None) -> list[PackEntry]:
    """Store all files of a pack in a cache, and return its entries.

    Raises UsageError, before anything is stored, for an archive that is truncated or corrupt, that
    has no manifest or a member that its manifest does not list (a link, a path outside), for a file
    of the wrong size or checksum, and for a file that the cache holds with different content.
    """
    entries = [file.entry for file in read_pack(path, max_size)]
    for entry in entries:
        cached = cache.get_by_key(entry.key)
        if cached and cached.provenance.sha256 != entry.provenance.sha256:
            folder = cache.folder / "files" / entry.key
            raise UsageError(
                f"{path}: {entry.provenance.name}: checksum mismatch: {folder} has "
                f"{cached.provenance.sha256[:8]}, the pack {entry.provenance.sha256[:8]}; "
                "delete that folder, or use another --cache"
            )
    for entry, content in read_pack(path, max_size):
        if cache.get_by_key(entry.key) is None:
            cache.put_by_key(entry.key, CachedFile(entry.provenance, content))
    return entries


def read_pack(path: Path, max_size: int | None = None) -> Iterator[PackedFile]:
    """Yield the files of a pack, each compared with the manifest.

    Raises UsageError as `unpack` does.
    """
    with open_tar(path, limit_of(path, max_size=max_size)) as members:
        missing = {entry.member: entry for entry in _read_manifest(members, path).files}
        for member in members:
            where = f"{path}: {member.info.name!r:.80}"
            entry = missing.pop(member.info.name, None)
            if entry is None:
                raise UsageError(f"{where}: not listed in the manifest, or a duplicate")
            yield PackedFile(entry, _checked_content(member, entry, where))
    if missing:
        raise UsageError(
            f"{path}: lacks {', '.join(sorted(missing))}, listed in its manifest; truncated?"
        )


def _checked_content(member: TarMember, entry: PackEntry, where: str) -> bytes:
    if not member.info.isreg() or member.info.issparse():
        raise UsageError(f"{where}: a link, folder or device; expected a plain file")
    expected = entry.provenance.bytes
    if member.info.size != expected:
        raise UsageError(f"{where}: {member.info.size:,} bytes; its manifest says {expected:,}")
    content = member.read(expected, where)
    if sha256(content).hexdigest() != entry.provenance.sha256:
        raise UsageError(f"{where}: checksum mismatch with its manifest")
    return content


def _read_manifest(members: Iterator[TarMember], path: Path) -> Manifest:
    member = next(members, None)
    is_manifest = member is not None and member.info.name == "manifest.json"
    if member is None or not is_manifest or not member.info.isreg():
        raise UsageError(
            f"{path}: not a pack; expected manifest.json first, as 'gpt2eval data pack' writes it"
        )
    try:
        return Manifest.model_validate_json(member.read(LARGEST_MANIFEST, path))
    except ValidationError as error:
        raise UsageError(f"{path}: manifest.json: {first_problem(error)}") from None
