"""Published data as a whole: what is needed, what is there, and whether it is what it should be.

It does not know models. Each function takes the folder of the cache, or None for the standard one.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tabulate import tabulate

from gpt2eval.config import catalog, loader
from gpt2eval.config.schema import File, Source, Task
from gpt2eval.data import corpus, packs, records
from gpt2eval.data.cache import Cache, is_published, key_of
from gpt2eval.errors import UsageError
from gpt2eval.text import roundtrip
from gpt2eval.text.detokenizer import Detokenizer
from gpt2eval.text.loader import load_detokenizer


class Needed(NamedTuple):
    """A publisher's file, and the tasks that are made of it."""

    source: Source
    tasks: tuple[Task, ...]

    @property
    def names(self) -> str:
        """Its first task's name, and how many more there are."""
        more = len(self.tasks) - 1
        return self.tasks[0].full_name + (f" (+ {more})" if more else "")


def needed(names: Sequence[str], include: Sequence[Path] = ()) -> list[Needed]:
    """The files that tasks and suites are made of, each once; without names those of all tasks and variants."""
    chosen = (
        loader.select_tasks([part for name in names for part in name.split(",")], include)
        if names
        else _all(include)
    )
    by_key: dict[str, list[Task]] = {}
    for task in chosen:
        by_key.setdefault(key_of(task.source), []).append(task)
    return [Needed(found[0].source, tuple(found)) for found in by_key.values()]


def _all(include: Sequence[Path]) -> list[Task]:
    bases = [loader.load_task(name, include) for name in catalog.files("tasks", include)]
    return [
        task
        for base in bases
        for task in (base, *(loader.load_task(f"{base.name}/{v}", include) for v in base.variants))
    ]


def listing(
    names: Sequence[str] = (), cache: Path | None = None, include: Sequence[Path] = ()
) -> str:
    """A table of the files that are needed: size, whether they are there, hash, licence, origin, tasks."""
    kept = Cache.at(cache)
    rows = []
    for item in needed(names, include):
        file, known, content = item.source.file, kept.origin(item.source), kept.read(item.source)
        there = "no" if content is None else "yes" if is_published(content, file) else "yes!"
        size = known.bytes if known and content is not None else file.bytes
        digest = known.sha256 if known and content is not None else file.hash
        origin = known.origin if known and content is not None else _address(item.source)
        licence = item.tasks[0].licence
        rows.append(
            [
                file.name,
                f"{size:,}" if size else "?",
                there,
                digest[:8] or "?",
                item.names,
                origin,
                licence,
            ]
        )
    table = tabulate(
        rows,
        ["file", "bytes", "there", "hash", "task", "from", "licence"],
        "plain",
        disable_numparse=True,
    )
    marked = (
        "\nyes! = not the published file, or nothing to tell it by"
        if any(row[2] == "yes!" for row in rows)
        else ""
    )
    return table + marked


def _address(source: Source) -> str:
    """Where a file is looked for first."""
    if source.hub and not (source.hub.part and source.archive):
        return f"hub:{source.hub.id}"
    return source.archive.url if source.archive else "(--data)"


def fetch(
    names: Sequence[str],
    cache: Path | None = None,
    *,
    mirror: str | None = None,
    strict: bool = False,
    again: bool = False,
    include: Sequence[Path] = (),
) -> Iterator[str]:
    """Put the files of tasks into the cache; a line for each as soon as it is there. As `corpus.fetch`.

    What fails does not keep the others from being fetched. Raises UsageError at the end, with all that failed.
    """
    kept, failed = Cache.at(cache), list[UsageError]()
    for item in needed(names, include):
        try:
            content, _ = corpus.fetch(item.tasks[0], kept, mirror, strict=strict, again=again)
        except UsageError as error:
            failed.append(error)
            continue
        yield _line(item, kept, content)
    if len(failed) == 1:
        raise failed[0]
    if failed:
        said = "; ".join(getattr(error, "said", str(error)) for error in failed)
        raise UsageError(
            f"{said}; give the files: --data TASK=PATH, or a pack made elsewhere: gpt2eval data unpack FILE"
        )


def _line(item: Needed, cache: Cache, content: bytes) -> str:
    known = cache.origin(item.source)
    published = (
        "the published file"
        if is_published(content, item.source.file)
        else _why_not(item.source.file)
    )
    at = f" at {known.revision:.12}" if known and known.revision else ""
    return f"{item.names}: {item.source.file.name}, {len(content):,} bytes, {published}, from {known and known.origin}{at}"


def _why_not(file: File) -> str:
    return (
        "NOT the published file (marked ! in signatures)"
        if file.hash
        else "no published hash to tell it by (!)"
    )


def verify(
    names: Sequence[str] = (), cache: Path | None = None, include: Sequence[Path] = ()
) -> Iterator[str]:
    """Check the files that are there: hash, counts, and every detokenizer of their tasks there and back; a line for each.

    Raises UsageError at the end, naming what is damaged, not the published file, of other counts, or without a way
    back; and for a task that was named and is not there.
    """
    kept = Cache.at(cache)
    asked = needed(names, include)
    keys = {key_of(item.source) for item in asked}
    begun = {place.name: place for place in kept.begun() if not names or place.name in keys}
    wrong = [
        f"{place}: damaged, or not finished; expected 'gpt2eval data fetch', or it gone"
        for place in begun.values()
    ]
    for item in asked:
        if names and kept.origin(item.source) is None and key_of(item.source) not in begun:
            wrong.append(f"{item.names}: {item.source.file.name} is not there")
        elif kept.origin(item.source):
            try:
                yield _checked(item, kept, include)
            except UsageError as error:
                wrong.append(f"{item.names}: {error}")
    if wrong:
        raise UsageError("; ".join(wrong))


def _checked(item: Needed, cache: Cache, include: Sequence[Path]) -> str:
    """A line on a kept file whose hash, counts and round trips are right. Raises UsageError where they are not."""
    content, path, source = cache.read(item.source), cache.path(item.source), item.source
    if content is None:
        raise UsageError(
            f"{path}: damaged; expected 'gpt2eval data fetch {item.tasks[0].full_name}' again"
        )
    is_part = source.hub is not None and source.hub.part and len(content) == item.tasks[0].cut_last
    if source.file.hash and not is_published(content, source.file) and not is_part:
        raise UsageError(
            f"{path}: not the published file; expected {source.file.hash[:8]} by its hash"
        )
    said = [_line(item, cache, content)]
    reads: dict[str, records.Corpus] = {}
    for task in {
        (task.format, task.expect.model_dump_json()): task for task in item.tasks
    }.values():
        read = reads[task.format] = records.parse_corpus(task, content, str(path))
        records.check_counts(task, read)
        units = read.units
        said.append(
            f"{task.format}: {len(read.records):,} records, {units.words:,} words, {units.lines:,} lines, {units.chars:,} chars"
        )
    for name, task in {task.detokenizer: task for task in item.tasks if task.detokenizer}.items():
        detokenizer = load_detokenizer(name, include)
        if isinstance(detokenizer, Detokenizer) and detokenizer.invertible:
            lines = records.lines_of(task, reads[task.format])
            if failures := roundtrip.check_round_trip(lines, detokenizer).failures:
                raise UsageError(
                    f"detokenizer {detokenizer.name}: {failures} of {len(lines)} lines do not come back"
                )
            said.append(f"{detokenizer.name}: {len(lines):,} lines there and back")
    return "; ".join(dict.fromkeys(said))


def pack(
    path: Path, names: Sequence[str] = (), cache: Path | None = None, include: Sequence[Path] = ()
) -> tuple[list[packs.Entry], list[str]]:
    """Write the files of tasks, or all that are there, into one archive; returns what it holds, and under which licences."""
    kept = Cache.at(cache)
    chosen = [item for item in needed(names, include) if names or kept.origin(item.source)]
    if not names and (begun := kept.begun()):
        raise UsageError(
            f"{begun[0]}: damaged, or not finished; expected 'gpt2eval data fetch', or it gone"
        )
    if not chosen:
        raise UsageError(f"nothing to pack in {kept.folder}; expected 'gpt2eval data fetch' first")
    entries = packs.pack(path, kept, [item.source for item in chosen])
    return entries, list(
        dict.fromkeys(f"{item.source.file.name}: {item.tasks[0].licence}" for item in chosen)
    )


def unpack(path: Path, cache: Path | None = None, include: Sequence[Path] = ()) -> list[str]:
    """Put the files of a pack into the cache, as `packs.unpack`; a line for each."""
    kept, known = Cache.at(cache), {key_of(item.source): item for item in needed((), include)}
    lines = []
    for entry in packs.unpack(path, kept):
        item, content = known.get(entry.key), kept.content_of(entry.key)
        unknown = (
            f"{entry.known.name}, {entry.known.bytes:,} bytes, of a task that is not known here"
        )
        lines.append(_line(item, kept, content) if item and content is not None else unknown)
    return lines
