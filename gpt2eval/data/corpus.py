"""Load published records from a local file, the cache, the Hub or the publisher's archive.

Every source first yields the bytes of the file as published (Hub rows are converted back into it),
so that one checksum, one parser and one set of messages serve all sources. Knows no models or
metrics.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from huggingface_hub import constants

from gpt2eval.config.schema import Task
from gpt2eval.config.source_schema import Archive, Hub, Source
from gpt2eval.data import download, hub
from gpt2eval.data.archives import HashingReader, extract_from_stream, unpack
from gpt2eval.data.cache import Cache, CachedFile, is_published, key_of
from gpt2eval.data.limits import limit_for, limit_of
from gpt2eval.data.local import file_of, read_local
from gpt2eval.data.records import Corpus, check_form, checksum_mismatch, parse_corpus
from gpt2eval.data.restore import restore
from gpt2eval.errors import UsageError, scrub
from gpt2eval.http import why_unreachable
from gpt2eval.notices import notify
from gpt2eval.settings import Settings


def load(task: Task, files: Mapping[str, Path], settings: Settings) -> Corpus:
    """Load the records of a task from its local file, if `files` names one, as settings say."""
    return load_corpus(
        task,
        file_of(task, files),
        strict=settings.strict_data,
        cache=settings.cache,
        max_size=settings.max_size,
    )


class FetchedFile(NamedTuple):
    """A task's file in the cache, and its records if the download has already parsed them."""

    cached: CachedFile
    corpus: Corpus | None


def load_corpus(
    task: Task,
    path: Path | None = None,
    *,
    strict: bool = False,
    cache: Path | None = None,
    max_size: int | None = None,
) -> Corpus:
    """Load the records of a task.

    Reads the local file, archive or folder at `path` if given, up to `max_size` bytes. Otherwise
    reads the published file from the `cache` folder (by default the platform's) and downloads it
    first if needed. Raises UsageError as `parse_corpus` does, and for an unavailable file.
    """
    if path:
        file = path / task.source.file.name if path.is_dir() else path
        content = read_local(task, file, max_size)
        if task.layout and not is_published(content, task.source.file):
            check_form(task, content, str(file))  # restoring might hide another format
        content, names = restore(task, content)
        corpus = parse_corpus(task, content, str(file), strict=strict)
        if not names:
            return replace(corpus, origin=file.name)
        notify(f"{file}: restored to the published form: {', '.join(names)}")
        return replace(corpus, origin=f"{file.name} (restored: {', '.join(names)})")
    cached, corpus = fetch(task, Cache.at(cache), strict=strict)
    return corpus or parse_corpus(task, cached.content, cached.provenance.origin, strict=strict)


# -- fetching --------------------------------------------------------------------------------------

UNPACK_REMEDY = "unpack a pack made on a machine with a network: gpt2eval data unpack FILE"


class MissingDataError(UsageError):
    """A task's file is not available. `reason` is the message without the remedy."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}; {remedy}")
        self.reason = reason


def fetch(
    task: Task,
    cache: Cache,
    mirror: str | None = None,
    *,
    strict: bool = False,
    again: bool = False,
) -> FetchedFile:
    """Return a task's published file from the cache, or download it into the cache.

    The sources are the Hub data set and the publisher's archive. If a source fails or yields a file
    with a different checksum, the next one is tried. Such a file is accepted only if no source
    yields the published one, and never if `strict`. `mirror` is a base URL that is tried first for
    archives. `again` downloads the file even if it is cached. Raises MissingDataError with the
    failure of each source and the remedy.
    """
    if not again and (cached := _cached(task, cache, strict=strict)):
        return FetchedFile(cached, None)
    with cache.lock(task.source):
        # Another process may have downloaded the file while this one waited for the lock.
        if not again and (cached := _cached(task, cache, strict=strict)):
            return FetchedFile(cached, None)
        return _download(task, cache, mirror, strict=strict)


def _cached(task: Task, cache: Cache, *, strict: bool) -> CachedFile | None:
    cached = cache.get(task.source)
    if cached and strict and not is_published(cached.content, task.source.file):
        return None
    return cached


def _download(task: Task, cache: Cache, mirror: str | None, *, strict: bool) -> FetchedFile:
    failures: list[str] = []
    unpublished: list[tuple[hub.SourceFile, Corpus]] = []
    for origin, read_source in _sources(task, cache, mirror):
        try:
            file = read_source()
            corpus = parse_corpus(task, file.content, origin)
        except (download.UnreachableError, UsageError) as error:
            message = str(error)
            failures.append(message if message.startswith(origin) else f"{origin}: {message}")
            continue
        if corpus.published or not (strict or task.source.file.hash):
            return FetchedFile(cache.put(task.source, file.content, origin, file.revision), corpus)
        unpublished.append((file, corpus))
        failures.append(f"{origin}: {checksum_mismatch(task)}")
    if published := _cached(task, cache, strict=True):
        return FetchedFile(published, None)
    if unpublished and not strict:
        file, corpus = unpublished[0]
        cached = cache.put(task.source, file.content, corpus.origin, file.revision)
        return FetchedFile(cached, corpus)
    remedy = f"pass the file with --data {task.full_name}=PATH/TO/{task.source.file.name}"
    if not failures:
        raise MissingDataError(f"task {task.full_name} has no download source", remedy)
    reason = f"task {task.full_name}: its data could not be loaded: {'; '.join(failures)}"
    remedy += f", or {UNPACK_REMEDY}"
    raise MissingDataError(reason, remedy)


class _SourceReader(NamedTuple):
    """A source of a file: its name in messages, and the function that reads it."""

    origin: str
    read: Callable[[], hub.SourceFile]


def _sources(task: Task, cache: Cache, mirror: str | None) -> Iterator[_SourceReader]:
    """Yield the sources in the order in which they are tried: the Hub, then the archive.

    The archive comes first if there is a mirror, or if the Hub has only a part of the file.
    """
    source = task.source
    from_hub: list[_SourceReader] = []
    if source.hub:
        read_hub = partial(_read_hub, source.hub)
        from_hub.append(_SourceReader(f"hub:{source.hub.id}", read_hub))
    from_archive: list[_SourceReader] = []
    if source.archive:
        for url in download.mirrored(source.archive.url, mirror):
            read_archive = partial(_read_archive, source.archive, source, url, cache)
            # A mirror's URL may hold a password, and its name is recorded beside the file.
            from_archive.append(_SourceReader(scrub(url), read_archive))
    archive_first = mirror or (source.hub and source.hub.part)
    yield from from_archive + from_hub if archive_first else from_hub + from_archive


def _read_hub(source: Hub) -> hub.SourceFile:
    """Read the published file from the Hub, if the Hub answers at all."""
    if not constants.HF_HUB_OFFLINE and (problem := why_unreachable()):
        raise download.UnreachableError(f"{problem}; HF_HUB_OFFLINE=1 skips the attempt")
    return hub.read_source(source)


def _read_archive(archive: Archive, source: Source, url: str, cache: Cache) -> hub.SourceFile:
    """Read the published file from the archive at a URL. Discards content with a wrong checksum."""
    file = source.file
    if archive.stream and archive.member:
        with download.stream(url) as body:
            reader = HashingReader(body)
            limit = limit_for(0, file.bytes)
            content = extract_from_stream(reader, archive.member, url, limit)
            # The rest of a large archive is read only if nothing else identifies the file.
            if not is_published(content, file) and archive.sha256:
                digest = reader.digest_to_end()
                if digest != archive.sha256:
                    raise UsageError(download.mismatch(url, digest, archive.sha256))
    elif archive.member:
        path = cache.archive_path(str(archive.sha256))
        download.download(url, path, archive.sha256)
        content = unpack(path, [PurePosixPath(archive.member).name], limit_of(path, file.bytes))
    else:
        path = cache.archive_path(key_of(source))
        download.download(url, path, archive.sha256 or file.sha256)
        try:
            content = unpack(path, [file.name], limit_of(path, file.bytes))
        finally:
            path.unlink()
    if file.hash and not is_published(content, file):
        raise UsageError(f"{url}: checksum mismatch: not the published {file.name}; discarded")
    return hub.SourceFile(content, "")
