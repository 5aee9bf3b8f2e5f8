"""Write files atomically, and list the files of a folder."""

import os
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from gpt2eval.errors import UsageError


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file atomically: readers see the old content or the new, never a part of it.

    Creates missing folders. If writing fails, the old content remains.

    Raises:
        UsageError: The disk is full or read-only.
    """
    # The name is unique per process and machine, for workers that share a folder over a network.
    temporary = path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # the content must reach the disk before the new name does
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise UsageError(
            f"{path}: cannot be written: {error.strerror}; "
            "once that is fixed, the same command resumes"
        ) from None


def files_below(folder: Path) -> list[Path]:
    """List the files below a folder, sorted by their path relative to it.

    Skips hidden files and folders, and does not follow links to folders.

    Raises:
        UsageError: The folder or a folder inside cannot be read.
    """

    def refuse(error: OSError) -> NoReturn:
        raise UsageError(f"{error.filename}: {error.strerror}; expected a readable folder")

    paths: list[Path] = []
    try:
        for parent, subfolders, names in os.walk(folder, onerror=refuse):
            # os.walk descends into whatever remains in this list.
            subfolders[:] = [name for name in subfolders if not name.startswith(".")]
            visible = [Path(parent, name) for name in names if not name.startswith(".")]
            paths += [path for path in visible if path.is_file()]
    except OSError as error:
        refuse(error)
    return sorted(paths, key=lambda path: path.relative_to(folder).as_posix())
