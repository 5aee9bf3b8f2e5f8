"""Published records: from a local file, the cache, the Hub or the publisher's archive, always by way of the publisher's file.

Whatever the source, the first thing made is the bytes of the file as published (Hub rows are laid back into it),
so one hash, one parser and one set of complaints serve all. It does not know models or metrics.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from gpt2eval.config.schema import Archive, Source, Task
from gpt2eval.data import download, hub
from gpt2eval.data.archives import Hashed, member_of_stream, unpack
from gpt2eval.data.cache import Cache, is_published, key_of
from gpt2eval.data.records import Corpus, parse_corpus
from gpt2eval.errors import UsageError


def load_corpus(
    task: Task, path: Path | None = None, *, strict: bool = False, cache: Path | None = None
) -> Corpus:
    """The records of a task: from a local file (or archive, or a folder with it) if `path` is given, else the published one.

    That is taken from the `cache` folder (the standard one by default), where it is put first if need be. Raises
    UsageError as `parse_corpus` does, and for a file that cannot be had.
    """
    if path:
        file = path / task.source.file.name if path.is_dir() else path
        return replace(
            parse_corpus(task, _local(task, file), str(file), strict=strict), origin=file.name
        )
    return parse_corpus(task, *fetch(task, Cache.at(cache), strict=strict), strict=strict)


# -- bytes ---------------------------------------------------------------------------------------------------------


def _local(task: Task, path: Path) -> bytes:
    source = task.source
    if not path.is_file():
        raise UsageError(
            f"--data {task.name}={path}: no such file; expected {source.file.name}, or an archive with it"
        )
    member = source.archive and source.archive.member
    return unpack(path, [source.file.name, *([PurePosixPath(member).name] if member else [])])


class MissingError(UsageError):
    """A task's file that cannot be had; `said` is why, without what to do."""

    def __init__(self, said: str, mend: str) -> None:
        super().__init__(f"{said}; {mend}")
        self.said = said


def fetch(
    task: Task,
    cache: Cache,
    mirror: str | None = None,
    *,
    strict: bool = False,
    again: bool = False,
) -> tuple[bytes, str]:
    """A task's published file and where it came from: from the cache, else from its Hub data set or archive, then kept.

    A source that fails, or gives another file than the published one, is followed by the next; another file is taken
    only where none gives the published one, and never if `strict`. A `mirror` is an address below which archives are
    looked for, first of all. `again` asks them though the file is there. Raises MissingError, with what each said and
    what to do, where none gives it.
    """
    found = None if again else _kept(task, cache, strict=strict)
    if found is None:
        with cache.lock(task.source):
            found = None if again else _kept(task, cache, strict=strict)
            found = found or _fetched(task, cache, mirror, strict=strict)
    return found


def _kept(task: Task, cache: Cache, *, strict: bool) -> tuple[bytes, str] | None:
    known, content = cache.origin(task.source), cache.read(task.source)
    if known is None or content is None or (strict and not is_published(content, task.source.file)):
        return None
    return content, known.origin


def _fetched(task: Task, cache: Cache, mirror: str | None, *, strict: bool) -> tuple[bytes, str]:
    said, other = list[str](), list[tuple[bytes, str, str]]()
    for origin, source in _sources(task, cache, mirror):
        try:
            content, revision = source()
            parsed = parse_corpus(task, content, origin)
        except (download.UnreachableError, UsageError) as error:
            said.append(str(error) if str(error).startswith(origin) else f"{origin}: {error}")
            continue
        if parsed.published or not (strict or task.source.file.hash):
            cache.put(task.source, content, origin, revision)
            return content, origin
        other.append((content, origin, revision))
        said.append(f"{origin}: its hash is not that of the published {task.source.file.name}")
    if published := _kept(task, cache, strict=True):
        return published
    if other and not strict:
        cache.put(task.source, *other[0])
        return other[0][:2]
    give = f"give the file: --data {task.full_name}=PATH/TO/{task.source.file.name}"
    if not said:
        raise MissingError(f"task {task.full_name} has no address", give)
    give += ", or a pack made where there is a network: gpt2eval data unpack FILE"
    raise MissingError(
        f"task {task.full_name}: its data could not be loaded: {'; '.join(said)}", give
    )


def _sources(
    task: Task, cache: Cache, mirror: str | None
) -> Iterator[tuple[str, Callable[[], hub.Restored]]]:
    """Where the file may be had, in the order in which it is tried: the Hub, the archive; the other way with a mirror."""
    source = task.source
    of_hub = [(f"hub:{source.hub.id}", partial(hub.restored, source.hub))] if source.hub else []
    of_archive = (
        [
            (url, partial(_from_archive, source.archive, source, url, cache))
            for url in download.mirrored(source.archive.url, mirror)
        ]
        if source.archive
        else []
    )
    archive_first = mirror or (source.hub and source.hub.part)
    yield from of_archive + of_hub if archive_first else of_hub + of_archive


def _from_archive(archive: Archive, source: Source, url: str, cache: Cache) -> hub.Restored:
    """The publisher's file from the archive at an address; what has another hash than it should is thrown away."""
    file = source.file
    if archive.stream and archive.member:
        with download.stream(url) as body:
            hashed = Hashed(body)
            content = member_of_stream(hashed, archive.member, url)
            if not is_published(content, file) and archive.sha256 not in (
                None,
                found := hashed.at_the_end(),
            ):
                raise UsageError(
                    f"{url}: sha256 {found[:8]}, expected {str(archive.sha256)[:8]}; thrown away, try again"
                )
    elif archive.member:
        path = cache.archive(str(archive.sha256))
        download.download(url, path, archive.sha256)
        content = unpack(path, [PurePosixPath(archive.member).name])
    else:
        path = cache.archive(key_of(source))
        download.download(url, path, archive.sha256 or file.sha256)
        content = path.read_bytes()
        path.unlink()
    if file.hash and not is_published(content, file):
        raise UsageError(
            f"{url}: its {file.name} has another hash than the published one; thrown away"
        )
    return hub.Restored(content, "")


# -- text ----------------------------------------------------------------------------------------------------------


def file_of(task: Task, files: Mapping[str, Path] | None) -> Path | None:
    """The local file given for a task: under its full name, or else under its base name."""
    return (files or {}).get(task.full_name) or (files or {}).get(task.name)
