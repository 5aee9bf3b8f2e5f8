"""Write files atomically, remove what dead writers left, and list the files of a folder."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, NoReturn

from gpt2eval.errors import UsageError

# A temporary file names its writer: .NAME.PID@HOST.tmp
TEMPORARY = re.compile(r"\..+\.(?P<pid>\d{1,10})@(?P<host>[^/]+)\.tmp")
ABANDONED = 24 * 60 * 60  # seconds without a write, after which a file has no living writer


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file atomically: readers see the old content or the new, never a part of it.

    Creates missing folders. If writing fails, the old content remains. The first write to a folder
    removes the temporary files that killed processes left there.

    Raises:
        UsageError: The disk is full or read-only.
    """
    with atomic_file(path) as file:
        file.write(content)


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Yield an open file that replaces `path` at the end, as `write_atomic` does."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary_beside(path) as temporary, temporary.open("w+b") as file:
            yield file
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be written: {error.strerror}; "
            "once that is fixed, the same command resumes"
        ) from None


@contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """Yield the path of a new, empty file, which replaces `path` at the end; removed on errors."""
    remove_leftovers(path.parent)
    # The name is unique per process and machine, for workers that share a folder over a network.
    temporary = path.parent / f".{path.name}.{os.getpid()}@{host()}.tmp"
    try:
        create_new(temporary)
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())  # the content must reach the disk before the new name does
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink()


def create_new(path: Path) -> None:
    """Create an empty file, in the place of what another process left at its path.

    The names of temporary files can be guessed. A link that somebody else put there is removed, and
    never followed.
    """
    path.unlink(missing_ok=True)
    path.touch(exist_ok=False)  # O_EXCL, which follows no link


def open_to_append(path: Path) -> IO[bytes]:
    """Open a file to append to it; OSError if it is a link, which might lead to any file."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    return os.fdopen(os.open(path, flags, 0o666), "ab")


@cache
def host() -> str:
    """Return the name of this machine, with its space of process ids where it has several."""
    name = re.sub(r"[^\w.-]", "_", os.uname().nodename) or "unknown"
    try:  # containers may share a host name, but not their process ids
        space = os.readlink("/proc/self/ns/pid").strip("pid:[]")  # noqa: PTH115
    except OSError:
        return name
    return f"{name}-{space}"


@cache
def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of dead processes from a folder, once per process.

    A process of this machine is dead if its id is free. Of another machine, or of a process whose
    id is taken again, a file counts as abandoned after a day.
    """
    with suppress(OSError):
        for entry in os.scandir(folder):
            match = TEMPORARY.fullmatch(entry.name)
            with suppress(OSError):
                if match and _is_abandoned(match, entry.stat(follow_symlinks=False).st_mtime):
                    os.unlink(entry.path)  # noqa: PTH108


def _is_abandoned(writer: re.Match[str], written: float) -> bool:
    if writer["host"] == host() and not _is_running(int(writer["pid"])):
        return True
    return time.time() - written > ABANDONED


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's process, for instance
        return True
    return True


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
