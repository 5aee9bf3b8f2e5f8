"""List the published files that tasks need, and whether each is cached."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

from tabulate import tabulate

from gpt2eval.config.source_schema import Source
from gpt2eval.data.cache import Cache, CachedFile, is_published
from gpt2eval.data.required import RequiredFile, required_files

COLUMNS = ["file", "bytes", "cached", "hash", "task", "from", "licence"]
IN_NARROW_TABLE = 4  # of these columns; the others follow below each row


def listing(
    names: Sequence[str] = (),
    cache: Path | None = None,
    include: Sequence[Path] = (),
    *,
    width: int | None = None,
) -> str:
    """Return a table of required files: size, cached or not, hash, tasks, origin, licence.

    If it is wider than `width`, tasks, origin and licence follow each file in lines of their own.
    """
    store = Cache.at(cache)
    rows = [_listing_row(file, store.get(file.source)) for file in required_files(names, include)]
    table = tabulate(rows, COLUMNS, "plain", disable_numparse=True)
    if width and max(map(len, table.splitlines())) > width:
        table = _narrow(rows, width)
    if any("yes!" in row for row in rows):
        table += "\nyes! = not the published file, or no published checksum to compare with"
    return table


def _narrow(rows: Sequence[Sequence[str]], width: int) -> str:
    """Return the first columns of rows as a table; below each row, the others as wrapped text."""
    table = tabulate(
        [row[:IN_NARROW_TABLE] for row in rows],
        COLUMNS[:IN_NARROW_TABLE],
        "plain",
        disable_numparse=True,
    )
    head, *lines = table.splitlines()
    blocks = [head]
    for line, row in zip(lines, rows, strict=True):
        blocks.append(line)
        for name, text in zip(COLUMNS[IN_NARROW_TABLE:], row[IN_NARROW_TABLE:], strict=True):
            label = f"  {name:9}"
            indent = " " * len(label)
            blocks.append(fill(text, width, initial_indent=label, subsequent_indent=indent))
    return "\n".join(blocks)


def _listing_row(required: RequiredFile, cached: CachedFile | None) -> list[str]:
    file = required.source.file
    if cached:
        status = "yes" if is_published(cached.content, file) else "yes!"
        size = cached.provenance.bytes
        digest = cached.provenance.sha256
        origin = cached.provenance.origin
    else:
        status = "no"
        size = file.bytes
        digest = file.hash
        origin = _first_source(required.source)
    return [
        file.name,
        f"{size:,}" if size else "?",
        status,
        digest[:8] or "?",
        required.names,
        origin,
        required.tasks[0].licence,
    ]


def _first_source(source: Source) -> str:
    """Return the first source that a download tries."""
    if source.hub and not (source.hub.part and source.archive):
        return f"hub:{source.hub.id}"
    return source.archive.url if source.archive else "(--data)"
