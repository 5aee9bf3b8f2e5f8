"""Files are written atomically, and what killed processes leave is removed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpt2eval import files
from gpt2eval.errors import UsageError

KILLED = """
import os, signal, sys
from pathlib import Path
from gpt2eval import files
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
files.write_atomic(Path(sys.argv[1]), b"half")
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(autouse=True)
def _first_write() -> None:
    """Let this process visit every folder as if it had just started."""
    files.remove_leftovers.cache_clear()


def test_the_next_process_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "result.json"], check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = names(tmp_path)
    assert left.startswith(".result.json.")
    assert left.endswith(f"@{files.host()}.tmp")
    files.write_atomic(tmp_path / "other.json", b"whole")
    assert names(tmp_path) == ["other.json"]


def test_a_living_writer_keeps_its_file(tmp_path: Path) -> None:
    mine = tmp_path / f".a.{os.getpid()}@{files.host()}.tmp"
    parent = tmp_path / f".a.{os.getppid()}@{files.host()}.tmp"
    elsewhere = tmp_path / ".a.1@another-host.tmp"
    for path in (mine, parent, elsewhere):
        path.write_bytes(b"half")
    files.write_atomic(tmp_path / "b", b"whole")
    assert {mine.name, parent.name, elsewhere.name, "b"} == set(names(tmp_path))


def test_a_file_of_another_machine_is_abandoned_after_a_day(tmp_path: Path) -> None:
    old = tmp_path / ".a.1@another-host.tmp"
    taken = tmp_path / f".b.{os.getppid()}@{files.host()}.tmp"
    for path in (old, taken):
        path.write_bytes(b"half")
        os.utime(path, (0, time.time() - 2 * files.ABANDONED))
    files.write_atomic(tmp_path / "c", b"whole")
    assert names(tmp_path) == ["c"]


def test_other_files_are_never_removed(tmp_path: Path) -> None:
    others = [".a.999999999", ".part", "a.999999999@host.tmp", ".hidden.tmp", ".a.x@host.tmp"]
    for name in others:
        (tmp_path / name).write_bytes(b"mine")
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / f".d.999999999@{files.host()}.tmp").mkdir()
    files.write_atomic(tmp_path / "b", b"whole")
    assert set(others) < set(names(tmp_path))


def test_a_failed_write_keeps_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "a"
    files.write_atomic(path, b"old")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="cannot be written"):
        files.write_atomic(tmp_path / "folder", b"new")
    with pytest.raises(TypeError):
        files.write_atomic(path, "no bytes")  # type: ignore[arg-type]
    assert (path.read_bytes(), names(tmp_path)) == (b"old", ["a", "folder"])
