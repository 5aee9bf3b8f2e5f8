"""Folders of models: one for each name, old ones used again, and no result overwritten."""

import csv
import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval import UsageError, demo, evaluate, read_results
from gpt2eval.models import identified
from gpt2eval.models.toy import ByteModel
from gpt2eval.report import folders, naming, store
from gpt2eval.settings import Settings
from gpt2eval.training import history

LIMIT = Settings(limit=2)


def run(name: str, out: Path, tasks: str = "ptb") -> Path:
    """Measure a byte model of a name; return the folder of its only or last task."""
    weights = np.arange(1, 257) + len(name) + sum(map(ord, name)) % 97
    model = ByteModel(name, weights / weights.sum())
    evaluate(model, tasks, data=demo.data(), out=out, settings=LIMIT)
    return store.result_folder(out, name, tasks)


def names_below(out: Path) -> list[str]:
    return sorted(result.model.name for result in read_results(out))


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "folder"),
    [
        ("demo", "demo"),
        ("toy:unigram", "toy-unigram"),
        ("Qwen/Qwen2-0.5B", "Qwen--Qwen2-0.5B"),
        ("openai-community/gpt2", "openai-community--gpt2"),
        ("nanogpt:run/ckpt.pt@step2000", "nanogpt-run--ckpt.pt@step2000"),
        ("/home/me/x", "--home--me--x"),
        ("模型", "模型"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("", "%"),
        ("a.", "a%2E"),
        ("a ", "a%20"),
        ("CON", "%43ON"),
        ("nul.bin", "%6Eul.bin"),
        ("results.csv", "%72esults.csv"),
        ("a\x1b[31m", "a%1B%5B31m"),
        ("=cmd|' /C calc'!A0", "%3Dcmd%7C%27%20--C%20calc%27%21A0"),
        ("\udcff", "%ED%B3%BF"),
    ],
)
def test_the_folder_of_a_model(model: str, folder: str) -> None:
    assert naming.model_folder_name(model) == folder


@pytest.mark.parametrize(("alphabet", "length"), [("-/a:", 5), ("a-/.%~", 4), ("-:/2D.", 4)])
@pytest.mark.parametrize("prefix", ["", "toy", "toy:", "toy-", "nanogpt", "nanogpt-tanh:"])
def test_no_two_names_share_a_folder(alphabet: str, length: int, prefix: str) -> None:
    names = [
        prefix + "".join(letters)
        for size in range(length + 1)
        for letters in itertools.product(alphabet, repeat=size)
    ]
    assert len({naming.model_folder_name(name) for name in names}) == len(set(names))


@given(st.text(max_size=400))
def test_a_folder_name_is_valid_everywhere(name: str) -> None:
    folder = naming.model_folder_name(name)
    assert 0 < len(folder.encode()) <= naming.MOST_BYTES
    assert not set(folder) & set('<>:"/\\|?*\0\n')
    assert not folder.startswith(".")
    assert not folder.endswith((".", " "))
    assert naming.task_folder_name(name).lower() not in naming.IN_TASK


def test_composed_and_decomposed_letters_differ_where_a_file_system_joins_them() -> None:
    folders_ = [naming.model_folder_name(name) for name in ("é", "e\u0301")]
    assert folders_ == ["é", "e%CC%81"]


def test_long_names_differ_in_their_hash() -> None:
    first, second = (naming.model_folder_name("x" * 300 + end) for end in "ab")
    assert first != second
    assert first[:100] == second[:100]


# -- results ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("q/m", "q-m"), ("q:m", "q%3Am", "q m"), ("toy:m", "toy-m")])
def test_models_whose_names_differ_in_a_separator_are_both_kept(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    for name in names:
        run(name, tmp_path)
    assert names_below(tmp_path) == sorted(names)
    rows = csv.DictReader((tmp_path / "results.csv").read_text().splitlines())
    assert {row["model"] for row in rows} == set(names)


def test_a_run_resumes_in_the_folder_of_an_older_version(tmp_path: Path) -> None:
    folder = run("q/m", tmp_path)
    older = tmp_path / "q-m"
    (tmp_path / "q--m").rename(older)
    content = (older / "ptb" / "result.json").read_bytes()
    assert store.result_folder(tmp_path, "q/m", "ptb") == older / "ptb"
    (older / "ptb" / "result.json").unlink()  # interrupted: only the journal is there
    assert run("q/m", tmp_path) == older / "ptb"
    assert (older / "ptb" / "result.json").read_bytes() == content
    assert run("q/m", tmp_path, "text8") == older / "text8", "other tasks go there too"
    assert not folder.exists()


def test_a_folder_of_an_older_version_that_another_model_owns_is_kept(tmp_path: Path) -> None:
    run("q/m", tmp_path)
    older = tmp_path / "q-m"
    (tmp_path / "q--m").rename(older)
    content = (older / "ptb" / "result.json").read_bytes()
    for task in ("ptb", "text8"):
        other = run("q-m", tmp_path, task)
        assert other.parent.name.startswith("q-m~")
    assert (older / "ptb" / "result.json").read_bytes() == content
    assert names_below(tmp_path) == ["q-m", "q-m", "q/m"]
    assert run("q-m", tmp_path) == other.parent / "ptb", "found again"


def test_a_folder_that_two_models_shared_serves_neither_wrongly(tmp_path: Path) -> None:
    """An older version wrote one model's ptb and the other's text8 into one folder."""
    run("q/m", tmp_path / "first")
    run("q-m", tmp_path / "second", "text8")
    shared = tmp_path / "out" / "q-m"
    shutil.copytree(tmp_path / "first" / "q--m", shared)
    shutil.copytree(tmp_path / "second" / "q-m" / "text8", shared / "text8")
    assert folders.owners(shared) == {"q/m", "q-m"}
    kept = {path: path.read_bytes() for path in shared.rglob("result.json")}
    for name in ("q/m", "q-m"):
        for task in ("ptb", "text8"):
            run(name, tmp_path / "out", task)
    assert {path: path.read_bytes() for path in kept} == kept
    assert len({(r.model.name, r.task) for r in read_results(tmp_path / "out")}) == 4


def test_a_file_system_that_ignores_case(tmp_path: Path) -> None:
    """As if `Q--m` and `q--m` were one folder."""
    run("Q/m", tmp_path)
    (tmp_path / "Q--m").rename(tmp_path / "q--m")
    assert run("q/m", tmp_path).parent.name.startswith("q--m~")
    assert names_below(tmp_path) == ["Q/m", "q/m"]


def test_a_result_of_another_model_is_never_overwritten(tmp_path: Path) -> None:
    folder = run("a", tmp_path)
    content = (folder / "result.json").read_bytes()
    result = read_results(folder)[0]
    other = replace(result, model=replace(result.model, name="b"))
    with pytest.raises(UsageError, match=r"a result of model 'a', which is kept; expected") as said:
        store.write_result(folder, other)
    assert "\n" not in str(said.value)
    assert (folder / "result.json").read_bytes() == content
    store.write_result(folder, result)


def test_a_name_of_a_file_that_the_folder_holds(tmp_path: Path) -> None:
    for name in ("results.csv", "curves.svg", "..", "n" * 300):
        run(name, tmp_path)
    assert names_below(tmp_path) == sorted(["results.csv", "curves.svg", "..", "n" * 300])
    assert (tmp_path / "results.csv").is_file()


@pytest.mark.parametrize("content", ["{", "[]", '{"model": 3}', '{"model": {"name": []}}'])
def test_a_broken_result_has_no_owner(tmp_path: Path, content: str) -> None:
    (tmp_path / "result.json").write_text(content)
    assert folders.owner(tmp_path) is None


def test_a_watch_reads_its_results_in_both_kinds_of_folder(tmp_path: Path) -> None:
    run("RUN/checkpoint-5", tmp_path)
    (tmp_path / "RUN--checkpoint-5").rename(tmp_path / "RUN-checkpoint-5")
    run("RUN-checkpoint-5", tmp_path)
    for name in ("RUN/checkpoint-5", "RUN-checkpoint-5"):
        assert [r.model.name for r in history.read_model_results(tmp_path, name)] == [name]


def test_a_checkpoint_states_its_step(tmp_path: Path) -> None:
    model = history.named(ByteModel("r/ckpt.pt", np.full(256, 1 / 256)), "r/odd7.pt@abc", 7)
    assert identified.identity_of(model).step == "7"
    evaluate(model, "ptb", data=demo.data(), out=tmp_path, settings=LIMIT)
    rows = csv.DictReader((tmp_path / "results.csv").read_text().splitlines())
    assert {row["step"] for row in rows} == {"7"}
    document: Any = json.loads(next(tmp_path.rglob("result.json")).read_text())
    assert document["model"]["step"] == "7"
