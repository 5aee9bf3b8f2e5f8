"""Links in the place of files that the program writes are replaced, and never followed."""

import os
from pathlib import Path

import pytest

from gpt2eval.files import host, open_to_append, write_atomic
from gpt2eval.report.store import check_writable


def test_a_temporary_file_follows_no_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for target in (victim, tmp_path / "dangling"):
        (tmp_path / f".result.json.{os.getpid()}@{host()}.tmp").symlink_to(target)
        write_atomic(tmp_path / "result.json", b"new")
        assert (tmp_path / "result.json").read_bytes() == b"new"
    assert victim.read_text() == "mine"
    assert not (tmp_path / "dangling").exists()


def test_a_file_that_is_a_link_is_replaced(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "result.json").symlink_to(victim)
    write_atomic(tmp_path / "result.json", b"new")
    assert not (tmp_path / "result.json").is_symlink()
    assert victim.read_text() == "mine"


def test_the_test_of_a_folder_follows_no_link(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / f".probe.{os.getpid()}@{host()}.tmp").symlink_to(tmp_path / "dangling")
    check_writable(out)
    assert not (tmp_path / "dangling").exists()
    assert list(out.iterdir()) == []


def test_a_link_is_not_appended_to(tmp_path: Path) -> None:
    (tmp_path / "part").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"):
        open_to_append(tmp_path / "part")
