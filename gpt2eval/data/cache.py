"""The cache of published files: one folder per source, shared by processes and machines.

`<folder>/files/<key>/` holds the published file and `origin.json`. `origin.json` is written last,
and a file without a valid one does not count as cached. The key is derived from the `source` of a
task file. `<folder>/archives/` holds the publishers' archives as downloaded; it may be deleted.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import md5, sha1, sha256
from pathlib import Path
from typing import Annotated

from filelock import FileLock, Timeout
from platformdirs import user_cache_path
from pydantic import Field, ValidationError

from gpt2eval.config.source_schema import File, Source, Strict
from gpt2eval.errors import UsageError, first_problem
from gpt2eval.files import write_atomic
from gpt2eval.notices import notify

# A plain file name: no separators, no control characters, not hidden.
PlainName = Annotated[str, Field(pattern=r"^[^/\\.\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*$")]
# Printable ASCII only, so that a foreign file cannot send control characters to a terminal.
Printable = Annotated[str, Field(pattern=r"^[ -~]*$", max_length=500)]
LARGEST = 1 << 31  # bytes


class Provenance(Strict):
    """The content of `origin.json`: where a file came from, and its checksum and size."""

    name: PlainName
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0, le=LARGEST)]
    origin: Printable
    revision: Printable = ""


class _Recorded(Provenance):
    """`origin.json` with a checksum of its other fields; files of older versions lack it."""

    check: str = ""

    @classmethod
    def of(cls, provenance: Provenance) -> "_Recorded":
        fields = {name: getattr(provenance, name) for name in Provenance.model_fields}
        check = sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
        return cls(**fields, check=check)


@dataclass(frozen=True, slots=True)
class CachedFile:
    """A cached file whose content matches its recorded checksum."""

    provenance: Provenance
    content: bytes


def is_published(content: bytes, file: File) -> bool:
    """Return whether the content has the checksum that a task file gives."""
    if file.sha256:
        return sha256(content).hexdigest() == file.sha256
    if file.md5:
        return md5(content, usedforsecurity=False).hexdigest() == file.md5
    return file.git_blob is not None and git_blob(content) == file.git_blob


def git_blob(content: bytes) -> str:
    """Return the Git blob id of `content`: the SHA-1 of a header followed by the content."""
    header = b"blob %d\0" % len(content)
    return sha1(header + content, usedforsecurity=False).hexdigest()


def key_of(source: Source) -> str:
    """Return the name of a source's folder: the file name and a hash of the `source` section.

    >>> from gpt2eval.config.source_schema import File
    >>> key_of(Source(file=File(name="ptb.test.txt")))
    'ptb.test.txt-6c394cf1'
    """
    description = source.model_dump_json(exclude_defaults=True).encode()
    return f"{source.file.name}-{sha256(description).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class Cache:
    """The cached files below a folder."""

    folder: Path

    @classmethod
    def at(cls, folder: Path | None = None) -> "Cache":
        """Return the cache in `folder`, by default the user's cache folder on this platform."""
        return cls(folder or user_cache_path("gpt2eval"))

    def folder_of(self, source: Source) -> Path:
        """Return the folder that holds a source's file."""
        return self._folder(key_of(source))

    def path_of(self, source: Source) -> Path:
        """Return the path of a source's file."""
        return self.folder_of(source) / source.file.name

    def archive_path(self, name: str) -> Path:
        """Return the path of a publisher's archive."""
        return self.folder / "archives" / name

    def get(self, source: Source) -> CachedFile | None:
        """Return a source's file, or None if it is missing, incomplete or corrupt."""
        cached = self.get_by_key(key_of(source))
        return cached if cached and cached.provenance.name == source.file.name else None

    def get_by_key(self, key: str) -> CachedFile | None:
        """Return the file in the folder `key`, or None as `get` does."""
        provenance = self._provenance(key)
        if provenance is None:
            return None
        try:
            content = (self._folder(key) / provenance.name).read_bytes()
        except OSError:
            return None
        if sha256(content).hexdigest() != provenance.sha256:
            return None
        return CachedFile(provenance, content)

    def incomplete(self) -> list[Path]:
        """Return the folders without a valid `origin.json`, or with a file of the wrong size."""
        folders = sorted((self.folder / "files").glob("*"))
        used = [folder for folder in folders if folder.is_dir() and any(folder.iterdir())]
        return [folder for folder in used if self._provenance(folder.name) is None]

    def put(self, source: Source, content: bytes, origin: str, revision: str = "") -> CachedFile:
        """Store a source's file and return it as cached."""
        try:
            provenance = Provenance(
                name=source.file.name,
                sha256=sha256(content).hexdigest(),
                bytes=len(content),
                origin=origin.encode("ascii", "backslashreplace").decode()[:500],
                revision=revision,
            )
        except ValidationError as error:
            message = f"{source.file.name}: cannot be cached: {first_problem(error)}"
            raise UsageError(message) from None
        cached = CachedFile(provenance, content)
        self.put_by_key(key_of(source), cached)
        return cached

    def put_by_key(self, key: str, cached: CachedFile) -> None:
        """Store a file in the folder `key`.

        Writes `origin.json` last, so that a partial file never counts.
        """
        folder = self._folder(key)
        recorded = _Recorded.of(cached.provenance)
        provenance = json.dumps(recorded.model_dump(), indent=1) + "\n"
        write_atomic(folder / cached.provenance.name, cached.content)
        write_atomic(folder / "origin.json", provenance.encode())

    @contextmanager
    def lock(self, source: Source) -> Iterator[None]:
        """Hold a source's lock, which excludes other processes; emit a notice while waiting.

        Raises UsageError for a folder that is not writable.
        """
        lock = FileLock(self.folder / "locks" / f"{key_of(source)}.lock", timeout=1)
        try:
            Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire()
            except Timeout:
                notify(f"waiting for another process that is downloading {source.file.name}")
                lock.acquire(timeout=-1)
        except OSError as error:
            raise UsageError(
                f"{self.folder}: {error.strerror}; expected a writable cache folder"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def _folder(self, key: str) -> Path:
        return self.folder / "files" / key

    def _provenance(self, key: str) -> Provenance | None:
        """Read `origin.json`; None if it is invalid, damaged, or the file has the wrong size.

        Does not read the file.
        """
        folder = self._folder(key)
        try:
            recorded = _Recorded.model_validate_json((folder / "origin.json").read_bytes())
            provenance = Provenance(**recorded.model_dump(exclude={"check"}))
            size = (folder / provenance.name).stat().st_size
        except (OSError, ValidationError):
            return None
        is_damaged = recorded.check not in ("", _Recorded.of(provenance).check)
        return None if is_damaged or size != provenance.bytes else provenance
