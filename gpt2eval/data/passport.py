"""Passports: the checksum, counts and licence of a published file, with a source for each."""

from collections.abc import Mapping
from hashlib import md5, sha256
from pathlib import Path

from gpt2eval.config import loader
from gpt2eval.config.schema import Task
from gpt2eval.config.source_schema import File, Hub, Source
from gpt2eval.data import kinds, records
from gpt2eval.data.archives import is_packed
from gpt2eval.data.cache import git_blob
from gpt2eval.errors import UsageError
from gpt2eval.version import __version__

CLAIMS = {
    "licence",
    "archive_sha256",
    "sha256",
    "md5",
    "git_blob",
    "records",
    "words",
    "lines",
    "bytes",
    "chars",
}


def task_passport(task: Task) -> str:
    """Return the passport in a task's file: a line per figure, and below it the figure's source."""
    lines = [f"{task.full_name}: {task.title}"]
    for name, figure in _figures(task).items():
        if figure is not None:
            figure_text = f"{figure:,}" if isinstance(figure, int) else str(figure)
            lines.append(f"  {name:14} {figure_text}")
        if figure is not None and name in CLAIMS:
            lines.append(f"  {'':14} <- {task.passport.get(name, '(no source given)')}")
    return "\n".join(lines)


def _figures(task: Task) -> Mapping[str, str | int | None]:
    """Return what a task's file states about its data, by the names that its `passport` uses."""
    hub = task.source.hub
    archive = task.source.archive
    file = task.source.file
    hub_arguments = None
    if hub:
        named = [hub.config, hub.data_dir, hub.split, hub.revision, _selection(hub)]
        hub_arguments = ", ".join(filter(None, named))
    counts = task.expect.model_dump()
    return {
        "licence": task.licence,
        "citation": " ".join(task.citation.split()),
        "hub": hub and f"{hub.id} ({hub_arguments})",
        "archive": archive and archive.url,
        "archive_sha256": archive and archive.sha256,
        "member": archive and archive.member,
        "file": file.name,
        **{name: getattr(file, name) for name in ("sha256", "md5", "git_blob")},
        "scored": task.cut_last and f"the last {task.cut_last:,} of {task.cut_whole:,} bytes",
        **counts,
        "bytes": file.bytes or counts["bytes"],
    }


def _selection(hub: Hub) -> str:
    """Return which rows of a split a task scores, or "" for all of them."""
    if not hub.rows:
        return ""
    if hub.rows.last is not None:
        return f"the last {hub.rows.last:,} rows"
    return f"a share of {hub.rows.share:g} of the rows at seed {hub.rows.seed}"


def file_passport(path: Path, form: str, encoding: str = "utf-8") -> str:
    """Return the checksum and counts of a new task's file, as YAML to paste into its task file.

    Raises UsageError for a file that does not exist or is not in the given format.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file; expected the file as published")
    content = path.read_bytes()
    if is_packed(content[: kinds.HEAD]):
        raise UsageError(f"{path}: an archive; expected the file inside it")
    kinds.check_is_text(content, str(path), "the text file inside it")
    source = Source(
        file=File(name=path.name, sha256=sha256(content).hexdigest(), bytes=len(content))
    )
    description = {
        "name": path.stem,
        "title": path.stem,
        "citation": "...",
        "licence": "...",
        "version": 1,
        "source": source,
    }
    protocol = {
        "format": form,
        "encoding": encoding,
        "ask": "everything",
        "unit": "word",
        "metrics": ("ppl",),
    }
    corpus = records.parse_corpus(Task.model_validate(description | protocol), content, str(path))
    counts = records.counts_of(corpus, len(content))
    computed = f"computed by gpt2eval {__version__}"
    snippet = loader.as_yaml(
        {
            "licence": "...",
            "source": {"file": source.file.model_dump(exclude_none=True)},
            "format": form,
            "encoding": encoding,
            "expect": counts,
            "passport": {"licence": "..."} | dict.fromkeys(["sha256", *counts], computed),
        }
    )
    md5_digest = md5(content, usedforsecurity=False).hexdigest()
    hashes = f"md5 {md5_digest}, git blob {git_blob(content)}"
    return f"# {path.name}: {hashes}: compare them with the published hashes\n{snippet}"
