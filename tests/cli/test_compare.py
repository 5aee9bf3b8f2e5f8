"""`gpt2eval compare` as a user meets it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Run
from planted import plant, worse

from gpt2eval import demo, evaluate
from gpt2eval.report import store


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    evaluate("toy:unigram", ["lm1b", "text8"], data=demo.data(), out=folder / "first")
    for name in ("second", "third"):
        plant(folder / "first", folder, name, worse(0.05, 0.01))
    return folder


def test_folders_and_files_are_operands(out: Path, gpt2eval: Run) -> None:
    file = out / "second" / "lm1b" / "result.json"
    for second in (file, file.parent, out / "second"):
        ended = gpt2eval("compare", out / "first", second)
        assert (ended.code, ended.err) == (0, "")
        assert ended.out.startswith("second against the baseline toy:unigram:\n\n| task ")
    assert "| worse |" in " ".join(ended.out.split())


def test_a_task_of_one_side_is_named(out: Path, gpt2eval: Run) -> None:
    ended = gpt2eval("compare", out / "first", out / "second" / "lm1b")
    assert ended.code == 0
    assert "left out: text8: only on toy:unigram\n" in ended.out


def test_three_models_are_ranked(out: Path, gpt2eval: Run) -> None:
    names = ("first", "second", "third")
    ended = gpt2eval("compare", *(out / name for name in names), "--format", "json")
    document = json.loads(ended.out)
    assert document["models"] == ["toy:unigram", "second", "third"]
    assert [ranking["ranks"]["toy:unigram"] for ranking in document["rankings"]] == [[1, 1]] * 2
    printed = gpt2eval("compare", *(out / name for name in names)).out
    assert "Ranks that each model may have" in printed


@pytest.mark.parametrize("form", ["terminal", "markdown", "csv", "json", "latex"])
def test_every_format_is_printed(out: Path, gpt2eval: Run, form: str) -> None:
    ended = gpt2eval("compare", out / "first", out / "second", "--format", form)
    assert ended.code == 0
    assert "text8" in ended.out


def test_options_choose_tasks_metrics_and_margin(out: Path, gpt2eval: Run) -> None:
    options = ("--tasks", "lm1b", "--metrics", "ppl, nats_per_token", "--margin", "10%")
    ended = gpt2eval("compare", out / "first", out / "second", *options, "--format", "json")
    assert [(duel["metric"], duel["verdict"]) for duel in json.loads(ended.out)["duels"]] == [
        ("ppl", "equal"),
        ("nats_per_token", "equal"),
    ]


def test_user_errors_are_one_line(out: Path, tmp_path: Path, gpt2eval: Run) -> None:
    for arguments, expected in (
        ((out / "first",), "models to compare: 1; expected two or more"),
        ((out / "first", tmp_path), "no result.json; expected a file or folder"),
        ((out / "first", out), "results of 3 models (toy:unigram, second, third); expected those"),
        ((out / "first", out / "second", "--format", "pdf"), "unknown format 'pdf'"),
        ((out / "first", out / "second", "--format", "csv-tidy"), "unknown format 'csv-tidy'"),
        ((out / "first", out / "second", "--tasks", "ptb"), "unknown task 'ptb'"),
        ((out / "first", out / "second", "--top", 5), "--top: expected only with --gap"),
        (
            (out / "first", out / "second", "--data", "demo", "--text", "x"),
            "--data, --text: expected only with --gap",
        ),
        (
            (out / "first", out / "second", "--gap", "--margin", "1%", "--signatures"),
            "--margin, --signatures: expected only without --gap",
        ),
        ((out / "first", out / "second", "--metrics", "ppl,acc"), "unknown metric 'acc'; expected"),
    ):
        ended = gpt2eval("compare", *arguments)
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
        assert expected in ended.err


def test_text_from_files_is_harmless(out: Path, tmp_path: Path, gpt2eval: Run) -> None:
    plant(out / "first" / "toy-unigram" / "lm1b", tmp_path, "\x1b[31m=1|<b>", worse(0.05, 0.01))
    tasks: list[Path] = []
    for place in (out / "first", out / "second"):
        (source,) = place.rglob("lm1b/result.json")
        result = replace(store.read_result(source), variant="\x1b[31m")
        folder = tmp_path / f"task{len(tasks)}"
        shutil.copytree(source.parent, folder)
        store.write_result(folder, result)
        tasks.append(folder)
    for form in ("terminal", "markdown", "csv", "json", "latex"):
        ended = gpt2eval("compare", out / "first", tmp_path / "\x1b[31m=1|<b>", "--format", form)
        assert ended.code == 0
        assert "\x1b[31m" not in ended.out
        ended = gpt2eval("compare", *tasks, "--format", form)
        assert ended.code == 0
        assert "\x1b[31m" not in ended.out
    for form in ("terminal", "markdown", "csv", "json"):
        options = ("--gap", "--data", "demo", "--format", form, "--tasks", "lm1b")
        ended = gpt2eval("compare", out / "first", tmp_path / "\x1b[31m=1|<b>", *options)
        assert ended.code == 0
        assert "\x1b[31m" not in ended.out + ended.err
    ended = gpt2eval("compare", out / "first", tmp_path / "\x1b[31m=1|<b>")
    assert "=1|<b>" not in ended.out.partition("| task")[0]


def test_a_gap_report_is_of_two_models_and_their_common_tasks(
    out: Path, tmp_path: Path, gpt2eval: Run
) -> None:
    """A result without a journal does not matter where it is not asked for."""
    first, second = tmp_path / "first", tmp_path / "second"
    shutil.copytree(out / "first" / "toy-unigram", first)
    shutil.copytree(out / "second", second)
    shutil.rmtree(first / "text8" / "journal")
    shared = ("--gap", "--format", "json", "--data", "demo")
    ended = gpt2eval("compare", first, second, "--tasks", "lm1b", *shared)
    assert (ended.code, ended.err) == (0, "")
    assert [report["task"] for report in json.loads(ended.out)] == ["lm1b"]
    ended = gpt2eval("compare", first, second / "lm1b", *shared)
    assert ended.code == 0
    assert "left out: text8: only on toy:unigram" in ended.err
    for arguments, expected in (
        ((first, out), "results of 3 models (toy:unigram, second, third); expected those"),
        ((first, second, "--tasks", "ptb"), "unknown task 'ptb'"),
        ((first, second), "no scores of its records"),
        ((first, second, out / "third"), "--gap: 3 models; expected two"),
    ):
        ended = gpt2eval("compare", *arguments, *shared)
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
        assert expected in ended.err
