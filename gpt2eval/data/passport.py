"""Passports: what identifies a task's published file, its counts and its licence, and where each figure comes from."""

from collections.abc import Mapping
from hashlib import md5, sha256
from pathlib import Path

from gpt2eval.config import loader
from gpt2eval.config.schema import File, Source, Task
from gpt2eval.data import records
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


def of_task(task: Task) -> str:
    """The passport in a task's file: a line per figure, and below it where it comes from."""
    lines = [f"{task.full_name}: {task.title}"]
    for name, figure in _figures(task).items():
        if figure is not None:
            shown = f"{figure:,}" if isinstance(figure, int) else str(figure)
            lines.append(f"  {name:14} {shown}")
        if figure is not None and name in CLAIMS:
            lines.append(f"  {'':14} <- {task.passport.get(name, '(where from is not said)')}")
    return "\n".join(lines)


def _figures(task: Task) -> Mapping[str, str | int | None]:
    """What a task's file says of its data, by the names that its `passport` uses."""
    hub, archive, file = task.source.hub, task.source.archive, task.source.file
    rows = (
        ", ".join(filter(None, [hub.config, hub.data_dir, hub.split, hub.revision]))
        if hub
        else None
    )
    counts = task.expect.model_dump()
    return {
        "licence": task.licence,
        "citation": " ".join(task.citation.split()),
        "hub": hub and f"{hub.id} ({rows})",
        "archive": archive and archive.url,
        "archive_sha256": archive and archive.sha256,
        "member": archive and archive.member,
        "file": file.name,
        **{name: getattr(file, name) for name in ("sha256", "md5", "git_blob")},
        "scored": task.cut_last and f"of {task.cut_whole:,} bytes the last {task.cut_last:,}",
        **counts,
        "bytes": file.bytes or counts["bytes"],
    }


def of_file(path: Path, form: str, encoding: str = "utf-8") -> str:
    """What a new task's file may say of its data: hash, counts, and that they were counted here; YAML, to be pasted.

    Raises UsageError for a file that is not there, or does not read as that format.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file; expected the file as its publisher gives it")
    content, said = path.read_bytes(), f"taken and counted by gpt2eval {__version__}"
    if content.startswith((b"PK\3\4", b"\x1f\x8b")):
        raise UsageError(f"{path}: an archive; expected the file that is inside it")
    source = Source(
        file=File(name=path.name, sha256=sha256(content).hexdigest(), bytes=len(content))
    )
    keys = {
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
    read = records.parse_corpus(Task.model_validate(keys | protocol), content, str(path))
    found = {
        "words": read.units.words,
        "lines": read.units.lines,
        "bytes": len(content),
        "chars": read.units.chars,
    }
    snippet = loader.as_yaml(
        {
            "licence": "...",
            "source": {"file": source.file.model_dump(exclude_none=True)},
            "format": form,
            "encoding": encoding,
            "expect": {"records": len(read.records)} | found,
            "passport": {"licence": "..."} | dict.fromkeys(["sha256", "records", *found], said),
        }
    )
    hashes = f"md5 {md5(content).hexdigest()}, git blob {git_blob(content)}"
    return f"# {path.name}: {hashes}: compare them with what its publisher gives\n{snippet}"
