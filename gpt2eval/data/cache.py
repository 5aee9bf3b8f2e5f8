"""Published files kept on disk: one folder per source, whole or not there, shared by processes and machines.

`<folder>/files/<key>/` holds a publisher's file as published and, written last, `origin.json`, without which it does
not count as there. The key follows from what a task file says of its source. `<folder>/archives/` holds the
publishers' archives as downloaded; it may be deleted.
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

from gpt2eval.config.schema import File, Source, Strict
from gpt2eval.errors import UsageError, first_problem
from gpt2eval.files import write_atomic
from gpt2eval.notices import notify

PlainName = Annotated[
    str, Field(pattern=r"^[^/\\.\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*$")
]  # of a file or folder, and no path
Printed = Annotated[
    str, Field(pattern=r"^[ -~]*$", max_length=500)
]  # what a terminal shows as it is
LARGEST = 1 << 31  # bytes


class Origin(Strict):
    """What is known of a kept file: its name, what it is, and where it came from, at which commit of the Hub."""

    name: PlainName
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0, le=LARGEST)]
    origin: Printed
    revision: Printed = ""


def is_published(content: bytes, file: File) -> bool:
    """Whether a content has the hash that a task's file gives."""
    if file.sha256:
        return sha256(content).hexdigest() == file.sha256
    if file.md5:
        return md5(content).hexdigest() == file.md5
    return file.git_blob is not None and git_blob(content) == file.git_blob


def git_blob(content: bytes) -> str:
    """The id that git gives to a content: a sha1 over a header and it."""
    return sha1(b"blob %d\0" % len(content) + content).hexdigest()


def key_of(source: Source) -> str:
    """The name of a source's folder: its file's, and a hash of all that the task file says of where it is and what.

    >>> from gpt2eval.config.schema import File
    >>> key_of(Source(file=File(name="ptb.test.txt")))
    'ptb.test.txt-6c394cf1'
    """
    return f"{source.file.name}-{sha256(source.model_dump_json(exclude_defaults=True).encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class Cache:
    """The kept files below a folder: by default the user's cache folder of the platform."""

    folder: Path

    @classmethod
    def at(cls, folder: Path | None = None) -> "Cache":
        """The cache in a folder, or in the standard one."""
        return cls(folder or user_cache_path("gpt2eval"))

    def place(self, source: Source) -> Path:
        """The folder of a source's file."""
        return self.folder / "files" / key_of(source)

    def path(self, source: Source) -> Path:
        """A source's file."""
        return self.place(source) / source.file.name

    def archive(self, name: str) -> Path:
        """Where a publisher's archive is kept."""
        return self.folder / "archives" / name

    def origin(self, source: Source) -> Origin | None:
        """What is known of a source's file, None where it is not there, or not whole."""
        known = self.origin_of(key_of(source))
        return known if known and known.name == source.file.name else None

    def origin_of(self, key: str) -> Origin | None:
        """The same by the name of its folder."""
        place = self.folder / "files" / key
        try:
            known = Origin.model_validate_json((place / "origin.json").read_bytes())
            return known if (place / known.name).stat().st_size == known.bytes else None
        except (OSError, ValidationError):
            return None

    def read(self, source: Source) -> bytes | None:
        """A source's file, None where it is not there, or is not what was kept."""
        return self.content_of(key_of(source)) if self.origin(source) else None

    def content_of(self, key: str) -> bytes | None:
        """The same by the name of its folder."""
        known = self.origin_of(key)
        try:
            content = (self.folder / "files" / key / known.name).read_bytes() if known else b""
        except OSError:
            return None
        return content if known and sha256(content).hexdigest() == known.sha256 else None

    def begun(self) -> list[Path]:
        """The folders whose file is not whole: one that was not finished, or was damaged later."""
        folders = sorted(
            path
            for path in (self.folder / "files").glob("*")
            if path.is_dir() and any(path.iterdir())
        )
        return [path for path in folders if self.origin_of(path.name) is None]

    def put(self, source: Source, content: bytes, origin: str, revision: str = "") -> None:
        """Keep a source's file."""
        digest, plain = (
            sha256(content).hexdigest(),
            origin.encode("ascii", "backslashreplace").decode()[:500],
        )
        try:
            known = Origin(
                name=source.file.name,
                sha256=digest,
                bytes=len(content),
                origin=plain,
                revision=revision,
            )
        except ValidationError as error:
            raise UsageError(
                f"{source.file.name}: cannot be kept: {first_problem(error)}"
            ) from None
        self.keep(key_of(source), known, content)

    def keep(self, key: str, known: Origin, content: bytes) -> None:
        """Keep a file under a key: what is known of it last, and with its hash, so that half of it never counts."""
        place = self.folder / "files" / key
        write_atomic(place / known.name, content)
        write_atomic(
            place / "origin.json", (json.dumps(known.model_dump(), indent=1) + "\n").encode()
        )

    @contextmanager
    def lock(self, source: Source) -> Iterator[None]:
        """What only one process at a time is in, for a source; who has to wait says so on stderr.

        Raises UsageError for a folder that cannot be written to.
        """
        lock = FileLock(self.folder / "locks" / f"{key_of(source)}.lock", timeout=1)
        try:
            Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire()
            except Timeout:
                notify(f"another process fetches {source.file.name}; waiting for it")
                lock.acquire(timeout=-1)
        except OSError as error:
            raise UsageError(
                f"{self.folder}: {error.strerror}; expected a cache folder that can be written to"
            ) from None
        try:
            yield
        finally:
            lock.release()
