"""`plot`, `export` in other projects' formats, and the bare numbers of `table`."""

import re
import shutil
from pathlib import Path

import pytest
import yaml
from conftest import Run

from gpt2eval.metrics.signature import short
from gpt2eval.report.store import read_result

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "results" / "smollm2-135m-instruct-q4_1"
PTB = read_result(REFERENCE / "ptb" / "result.json")


def test_export_into_a_model_card(gpt2eval: Run, tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_text("---\nlicense: mit\n---\n# Mine\n")
    ended = gpt2eval(
        "export",
        str(REFERENCE),
        *("--hub-card", str(card), "--hub-results", str(tmp_path)),
        *("--every-eval-ever", str(tmp_path), "--model-id", "org/mine"),
    )
    assert ended.code == 0, ended.err
    printed = [Path(line) for line in ended.out.splitlines()]
    assert printed[:2] == [card, tmp_path / ".eval_results" / "gpt2eval.yaml"]
    assert all(path.is_file() for path in printed)
    assert printed[2].parent == tmp_path / "data" / "gpt2eval" / "org" / "mine"
    assert "- name: org/mine" in card.read_text()
    notes = [entry["notes"] for entry in yaml.safe_load(printed[1].read_text())]
    assert any(PTB.signature in note for note in notes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to write; expected --records"),
        (["--hub-card", "README.md"], "a model card describes one model"),
        (["--every-eval-ever", "out"], "not the id of a model such as org/name"),
    ],
)
def test_errors_of_export_are_one_line(
    gpt2eval: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = gpt2eval("export", str(ROOT / "results"), *arguments)
    assert ended.code == 2
    assert message in ended.err
    assert len(ended.err.splitlines()) == 1
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("kind", ["size", "curve"])
def test_plot_writes_a_picture(gpt2eval: Run, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "results" / "run" / "checkpoint-100"
    shutil.copytree(REFERENCE / "ptb", folder)
    path = folder / "result.json"
    path.write_text(
        path.read_text().replace('"smollm2-135m-instruct-q4_1"', '"run/checkpoint-100"')
    )
    out = tmp_path / "pictures" / f"{kind}.svg"
    name = "run/checkpoint-100"
    ended = gpt2eval(
        "plot", str(folder), "--kind", kind, "--size", f"{name}=135M", "--out", str(out)
    )
    assert (ended.code, ended.out) == (0, f"{out}\n"), ended.err
    assert "perplexity per word+eol" in out.read_text()


def test_plot_needs_a_known_suffix_and_something_to_draw(gpt2eval: Run, tmp_path: Path) -> None:
    ended = gpt2eval("plot", str(REFERENCE), "--out", str(tmp_path / "a.gif"))
    assert ended.code == 2
    assert "unknown suffix of a.gif '.gif'" in ended.err
    ended = gpt2eval("plot", str(REFERENCE), "--kind", "curve", "--out", str(tmp_path / "a.svg"))
    assert ended.code == 2
    assert "no result states a training step" in ended.err
    ended = gpt2eval("plot", str(REFERENCE), "--kind", "position", "--out", str(tmp_path / "a.svg"))
    assert ended.code == 2
    assert "journal" in ended.err
    assert [*tmp_path.iterdir()] == []


def test_table_prints_the_bare_number(gpt2eval: Run) -> None:
    assert gpt2eval("table", str(REFERENCE / "ptb" / "result.json"), "-b").out == "101.29\n"
    assert (
        gpt2eval("table", str(REFERENCE), "--columns", "PTB", "-b", "-w", "4").out == "101.2931\n"
    )
    several = gpt2eval("table", str(REFERENCE), "--score-only")
    assert (several.code, several.out) == (2, "")
    assert re.search(r"\d+ numbers: .* of smollm2.*; expected one", several.err)
    wrong = gpt2eval("table", str(REFERENCE), "-w", "16")
    assert "--width 16: expected 0 to 15 decimals" in wrong.err
    mixed = gpt2eval("table", str(REFERENCE / "ptb"), "-b", "--format", "csv")
    assert "--format csv: expected no format with --score-only" in mixed.err


def test_table_prints_short_signatures(gpt2eval: Run) -> None:
    assert short(PTB.signature) in gpt2eval("table", str(REFERENCE), "--short").out


def test_run_prints_the_bare_number(gpt2eval: Run, tmp_path: Path) -> None:
    common = ("run", "--model", "toy:uniform-bytes", "--data", "demo", "--out", str(tmp_path))
    ended = gpt2eval(*common, "--tasks", "text8", "--limit", "2", "-b", "-w", "1")
    assert ended.out == "8.0\n"
    refused = gpt2eval(*common, "--tasks", "text8,enwik8", "-b")
    assert refused.code == 2
    assert "--score-only: 2 results; expected one model and one task" in refused.err
    assert not (tmp_path / "toy-uniform-bytes" / "enwik8").exists(), "before anything is scored"
