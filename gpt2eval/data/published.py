"""Find the published files of tasks in a folder of the user's: `--data FOLDER`.

Two published files may have the same name, such as `wiki.test.tokens`, so the published hash
decides. Only a file without a published hash is found by its name alone.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from gpt2eval.config.schema import File, Source
from gpt2eval.data.cache import is_published, key_of
from gpt2eval.data.required import required_files
from gpt2eval.errors import UsageError
from gpt2eval.notices import notify

PREFIX = "published:"  # tells the key of a source from the name of a task


def key_for(source: Source) -> str:
    """Return the key under which `find_files` lists the file of a source."""
    return f"{PREFIX}{key_of(source)}"


def find_files(folder: Path, include: Sequence[Path] = ()) -> dict[str, Path]:
    """Return the published files in a folder and its subfolders, by the key of their source.

    A file with a published name but other content is skipped with a notice.

    Args:
        folder: The folder.
        include: Folders with further tasks.

    Raises:
        UsageError: The folder holds no published file, or several that only their name identifies.
    """
    sources_by_name: dict[str, list[Source]] = {}
    for required in required_files((), include):
        sources_by_name.setdefault(required.source.file.name, []).append(required.source)
    found: dict[str, Path] = {}
    for path in sorted(_files_below(folder)):
        sources = sources_by_name.get(path.name, [])
        matching = [source for source in sources if _is_file(path, source.file)]
        if sources and not matching:
            notify(f"{path}: skipped: not the published {path.name}; --data TASK={path} uses it")
        for source in matching:
            first = found.setdefault(key_for(source), path)
            if first.read_bytes() != path.read_bytes():
                raise UsageError(
                    f"--data {folder}: {first} and {path} differ, and no hash is published; "
                    f"expected one {path.name}, or TASK=PATH"
                )
    if not found:
        raise UsageError(
            f"--data {folder}: no published file in this folder; expected for instance "
            "ptb.test.txt as published; TASK=PATH accepts other content"
        )
    return found


def _files_below(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        yield from (Path(place, name) for name in names)


def _is_file(path: Path, file: File) -> bool:
    """Return whether a file with the published name is the published file, as far as is known."""
    if not file.hash:
        return True
    is_other_size = file.bytes is not None and path.stat().st_size != file.bytes
    return not is_other_size and is_published(path.read_bytes(), file)
