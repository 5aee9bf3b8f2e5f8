"""Files that are whole or not there (a temporary name, a sync, a rename), and those of a folder."""

import os
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from gpt2eval.errors import UsageError


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that nobody ever sees half of it; what was there before stays if it fails.

    Raises UsageError where the disk does not take it (full, read-only).
    """
    temporary = path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise UsageError(
            f"{path}: cannot be written: {error.strerror}; the same command goes on once it can"
        ) from None


def files_below(folder: Path) -> list[Path]:
    """The files below a folder that are not hidden, by order of their paths in it; links to folders are not followed.

    Raises UsageError for what cannot be read.
    """

    def refuse(error: OSError) -> NoReturn:
        raise UsageError(f"{error.filename}: {error.strerror}; expected a folder that can be read")

    found: list[Path] = []
    try:
        for at, folders, names in os.walk(folder, onerror=refuse):
            folders[:] = [name for name in folders if not name.startswith(".")]
            found += (
                Path(at, name)
                for name in names
                if not name.startswith(".") and Path(at, name).is_file()
            )
    except OSError as error:
        refuse(error)
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())
