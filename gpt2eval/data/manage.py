"""Download, verify, pack and unpack published files. Does not know models.

Each function takes the folder of the cache, or None for the platform's.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from gpt2eval.config.source_schema import File
from gpt2eval.data import corpus, packs, records
from gpt2eval.data.cache import Cache, CachedFile, is_published, key_of
from gpt2eval.data.required import RequiredFile, required_files
from gpt2eval.errors import UsageError
from gpt2eval.text import roundtrip
from gpt2eval.text.detokenizer import Detokenizer
from gpt2eval.text.loader import load_detokenizer

INCOMPLETE = "incomplete or corrupt; run 'gpt2eval data fetch' or delete it"


def fetch(
    names: Sequence[str],
    cache: Path | None = None,
    *,
    mirror: str | None = None,
    strict: bool = False,
    again: bool = False,
    include: Sequence[Path] = (),
) -> Iterator[str]:
    """Download the files that tasks require into the cache, and yield a line for each.

    A failure does not stop the other downloads. Raises UsageError at the end, with all failures.
    The options mean the same as in `corpus.fetch`.
    """
    store = Cache.at(cache)
    failures: list[UsageError] = []
    for required in required_files(names, include):
        task = required.tasks[0]
        try:
            fetched = corpus.fetch(task, store, mirror, strict=strict, again=again)
        except UsageError as error:
            failures.append(error)
            continue
        yield _describe(required, fetched.cached)
    if len(failures) == 1:
        raise failures[0]
    if failures:
        reasons = "; ".join(getattr(error, "reason", str(error)) for error in failures)
        raise UsageError(
            f"{reasons}; pass the files with --data TASK=PATH, or {corpus.UNPACK_REMEDY}"
        )


def _describe(required: RequiredFile, cached: CachedFile) -> str:
    provenance = cached.provenance
    status = _status(cached.content, required.source.file)
    commit = f" at {provenance.revision:.12}" if provenance.revision else ""
    return (
        f"{required.names}: {required.source.file.name}, {len(cached.content):,} bytes, {status}, "
        f"from {provenance.origin}{commit}"
    )


def _status(content: bytes, file: File) -> str:
    if is_published(content, file):
        return "the published file"
    if file.hash:
        return "NOT the published file (marked ! in signatures)"
    return "no published checksum to compare with (marked ! in signatures)"


def verify(
    names: Sequence[str] = (), cache: Path | None = None, include: Sequence[Path] = ()
) -> Iterator[str]:
    """Verify cached files, and yield a line for each.

    Checks the checksum, the counts and the round trips of the detokenizers.
    Raises UsageError at the end if any file is corrupt, is not the published one, has unexpected
    counts or fails the round trip, or if the file of a named task is not cached.
    """
    store = Cache.at(cache)
    files = required_files(names, include)
    keys = {key_of(required.source) for required in files}
    incomplete = {
        folder.name: folder for folder in store.incomplete() if not names or folder.name in keys
    }
    problems = [f"{folder}: {INCOMPLETE}" for folder in incomplete.values()]
    for required in files:
        cached = store.get(required.source)
        path = store.path_of(required.source)
        if cached:
            try:
                yield _verified(required, cached, path, include)
            except UsageError as error:
                problems.append(f"{required.names}: {error}")
        elif key_of(required.source) in incomplete:
            continue
        elif path.exists():
            task = required.tasks[0].full_name
            problems.append(f"{required.names}: {path}: corrupt; run 'gpt2eval data fetch {task}'")
        elif names:
            problems.append(f"{required.names}: {required.source.file.name} is not in the cache")
    if problems:
        raise UsageError("; ".join(problems))


def _verified(
    required: RequiredFile, cached: CachedFile, path: Path, include: Sequence[Path]
) -> str:
    """Describe a file whose checksum, counts and round trips are correct.

    Raises UsageError otherwise.
    """
    source = required.source
    content = cached.content
    # The Hub may have only the part of the file that the task scores.
    is_part = bool(source.hub and source.hub.part) and len(content) == required.tasks[0].cut_last
    if source.file.hash and not is_published(content, source.file) and not is_part:
        raise UsageError(
            f"{path}: not the published file; expected one with the hash {source.file.hash[:8]}"
        )
    facts = [_describe(required, cached)]
    corpora: dict[str, records.Corpus] = {}
    for task in {(t.format, t.expect.model_dump_json()): t for t in required.tasks}.values():
        parsed = records.parse_corpus(task, content, str(path))
        corpora[task.format] = parsed
        records.check_counts(task, parsed)
        units = parsed.units
        facts.append(
            f"{task.format}: {len(parsed.records):,} records, {units.words:,} words, "
            f"{units.lines:,} lines, {units.chars:,} chars"
        )
    for name, task in {t.detokenizer: t for t in required.tasks if t.detokenizer}.items():
        detokenizer = load_detokenizer(name, include)
        if isinstance(detokenizer, Detokenizer) and detokenizer.invertible:
            texts = records.scored_texts(task, corpora[task.format])
            outcome = roundtrip.check_round_trip(texts, detokenizer)
            if outcome.failures:
                raise UsageError(
                    f"detokenizer {detokenizer.name}: {outcome.failures} of "
                    f"{outcome.report.lines} lines fail the round trip"
                )
            facts.append(f"{detokenizer.name}: {outcome.report.lines:,} lines pass the round trip")
    return "; ".join(dict.fromkeys(facts))


def pack(
    path: Path, names: Sequence[str] = (), cache: Path | None = None, include: Sequence[Path] = ()
) -> tuple[list[packs.PackEntry], list[str]]:
    """Write the files of tasks, by default all that are cached, into one archive.

    Returns the entries, and the licences of the files.
    """
    store = Cache.at(cache)
    if not names and (incomplete := store.incomplete()):
        raise UsageError(f"{incomplete[0]}: {INCOMPLETE}")
    files = required_files(names, include)
    if not names:
        files = [required for required in files if store.path_of(required.source).exists()]
    if not files:
        raise UsageError(f"nothing to pack in {store.folder}; run 'gpt2eval data fetch' first")
    entries = packs.pack(path, store, [required.source for required in files])
    licences = [f"{required.source.file.name}: {required.tasks[0].licence}" for required in files]
    return entries, list(dict.fromkeys(licences))


def unpack(
    path: Path,
    cache: Path | None = None,
    include: Sequence[Path] = (),
    max_size: int | None = None,
) -> list[str]:
    """Store the files of a pack in the cache, as `packs.unpack` does; return a line for each."""
    store = Cache.at(cache)
    by_key = {key_of(required.source): required for required in required_files((), include)}
    lines = []
    for entry in packs.unpack(path, store, max_size):
        required = by_key.get(entry.key)
        cached = store.get_by_key(entry.key)
        if required and cached:
            lines.append(_describe(required, cached))
        else:
            provenance = entry.provenance
            lines.append(f"{provenance.name}, {provenance.bytes:,} bytes, belongs to no known task")
    return lines
