"""Find the published files of tasks in a folder of the user's: `--data FOLDER`.

Two published files may have the same name, such as `wiki.test.tokens`, so the published hash
decides. Only a file without a published hash is found by its name alone.
"""

import errno
import os
from collections.abc import Container, Iterator, Sequence
from pathlib import Path

from gpt2eval.config.source_schema import File, Source
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

    A file with a published name but other content, and one that cannot be read, are skipped with a
    notice. Links to folders are not followed.

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
    for path in sorted(_files_below(folder, sources_by_name)):
        try:
            matching = [s for s in sources_by_name[path.name] if _is_file(path, s.file)]
        except OSError as error:
            notify(f"{path}: skipped: {error.strerror}; expected a file that can be read")
            continue
        if not matching:
            notify(f"{path}: skipped: not the published {path.name}; --data TASK={path} uses it")
        for source in matching:
            first = found.setdefault(key_for(source), path)
            if first != path and first.read_bytes() != path.read_bytes():
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


def _files_below(folder: Path, names: Container[str]) -> Iterator[Path]:
    """Yield the files with one of the names; a link to a folder is not followed."""
    for place, _, files in os.walk(folder, onerror=_skip_folder):
        yield from (Path(place, name) for name in files if name in names)


def _skip_folder(error: OSError) -> None:
    notify(f"{error.filename}: skipped: {error.strerror}; expected a folder that can be read")


def _is_file(path: Path, file: File) -> bool:
    """Return whether a file with the published name is the published file, as far as is known.

    Raises OSError for a file that cannot be read.
    """
    size = path.stat().st_size
    if not path.is_file():  # reading a pipe may never end
        raise OSError(errno.EINVAL, "not a regular file")
    if not file.hash:
        path.open("rb").close()
        return True
    is_other_size = file.bytes is not None and size != file.bytes
    return not is_other_size and is_published(path.read_bytes(), file)
