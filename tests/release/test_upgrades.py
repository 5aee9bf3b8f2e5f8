"""Files of earlier versions: every command reads them, or says in one line why it cannot."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from gpt2eval import __version__, demo, evaluate
from gpt2eval.report.migrations import FORMAT

OLDER = Path(__file__).parents[1] / "older_formats"
FORMATS = sorted(OLDER.glob("result.format*.json"))


@pytest.fixture(params=FORMATS, ids=lambda path: path.stem)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return the folder of a model whose one result is of an older format."""
    folder = tmp_path / "old" / "demo"
    (folder / "lambada").mkdir(parents=True)
    shutil.copy(request.param, folder / "lambada" / "result.json")
    return folder


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model that this version measured."""
    out = tmp_path_factory.mktemp("new")
    evaluate("toy:unigram", ["lambada"], data=demo.data(), out=out)
    return out / "toy-unigram"


def signature_of(folder: Path) -> str:
    metrics = json.loads((folder / "lambada" / "result.json").read_text(encoding="utf-8"))[
        "metrics"
    ]
    first = metrics[0] if isinstance(metrics, list) else metrics["ppl"]
    return first["signature"]


def test_every_older_format_has_a_file() -> None:
    assert [path.name for path in FORMATS] == [f"result.format{n}.json" for n in range(FORMAT)]


@pytest.mark.parametrize("form", ["markdown", "latex", "csv", "json"])
def test_a_table_has_an_older_result(form: str, old: Path, gpt2eval: Any) -> None:
    ended = gpt2eval("table", old, "--format", form)
    assert (ended.code, ended.err) == (0, "")
    assert "39957.7" in ended.out


def test_files_made_of_an_older_result(old: Path, new: Path, gpt2eval: Any) -> None:
    scratch = old.parent
    page = scratch / "page.html"
    assert gpt2eval("report", old, new, "--html", page).code == 0
    assert "39957.7" in page.read_text(encoding="utf-8")
    card = scratch / "card.md"
    assert gpt2eval("export", old, "--hub-card", card, "--model-id", "a/b").code == 0
    assert "39957.7" in card.read_text(encoding="utf-8")
    records = scratch / "records"
    options = ("--every-eval-ever", records, "--organization", "us", "--model-id", "a/b")
    assert gpt2eval("export", old, *options).code == 0
    (record,) = records.rglob("*.json")
    assert "39957.7" in record.read_text(encoding="utf-8")
    picture = scratch / "scores.png"
    assert gpt2eval("plot", old, "--out", picture, "--size", "demo=1000").code == 0
    assert picture.stat().st_size


def test_diff_reads_an_older_result(old: Path, new: Path, gpt2eval: Any) -> None:
    assert gpt2eval("diff", old / "lambada", old / "lambada").code == 0
    ended = gpt2eval("diff", old / "lambada", new / "lambada")
    assert (ended.code, ended.err) == (1, "")
    assert f"v: 0.1.0 != {__version__}" in ended.out


def test_what_an_older_result_lacks_is_said_in_one_line(
    old: Path, new: Path, gpt2eval: Any
) -> None:
    """Comparisons and rows take scores of records, which lie in the journal and not in a result."""
    scratch = old.parent
    for command in (
        ("compare", old, new),
        ("gate", old, "--baseline", scratch / "base.json", "--update"),
        ("export", old, "--records", scratch / "records.csv"),
    ):
        ended = gpt2eval(*command)
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
        assert str(old / "lambada" / "result.json") in ended.err
        assert f"{__version__} scores again what 0.1.0 has scored" in ended.err


def test_a_signature_of_an_older_version_runs_again_without_its_version(
    old: Path, gpt2eval: Any
) -> None:
    line = signature_of(old)
    ended = gpt2eval("rerun", line, "--out", old.parent)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert f"v: the signature has 0.1.0, this is {__version__}" in ended.err
    ended = gpt2eval("rerun", line.replace("|v:0.1.0", ""), "--out", old.parent)
    assert "nltk127.w20.d6 is the beam search of an older gpt2eval" in ended.err


def test_a_newer_version_scores_again_and_leaves_older_journals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal's key covers the version, so chunks of two versions never mix."""
    with monkeypatch.context() as patch:
        for module in ("gpt2eval.planning.task_plan", "gpt2eval.measurement"):
            patch.setattr(f"{module}.__version__", "0.1.0")
        (before,) = evaluate("toy:unigram", ["ptb"], data=demo.data(), out=tmp_path)
    folder = tmp_path / "toy-unigram" / "ptb" / "journal"
    chunks = {path: path.read_bytes() for path in folder.iterdir() if path.name != "journal.json"}
    (after,) = evaluate("toy:unigram", ["ptb"], data=demo.data(), out=tmp_path)
    assert chunks
    assert {path: path.read_bytes() for path in chunks} == chunks
    assert len(list(folder.iterdir())) == 2 * len(chunks) + 1
    assert (before.version, after.version) == ("0.1.0", __version__)
    assert before.nll_sha256 == after.nll_sha256
