"""A model under a name of the user's choice: in folders and tables, not in keys or signatures."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Run

from gpt2eval import UsageError, demo, evaluate
from gpt2eval.analysis.dry_run import plan_run
from gpt2eval.config.loader import load_task
from gpt2eval.data.corpus import load_corpus
from gpt2eval.models import identified, registry
from gpt2eval.planning.task_plan import plan_task
from gpt2eval.report.store import read_results
from gpt2eval.types import Model, ModelIdentity, Progress

DATA = demo.data()
WEIGHTS = "0123abcd" * 8


def pinned(**changes: str) -> Model:
    """A toy model whose identity has a hash of weights."""
    model = registry.load_model("toy:unigram")
    identity = replace(identified.identity_of(model), weights=WEIGHTS, revision=WEIGHTS[:8])
    return identified.Identified(model, replace(identity, **changes))


def computed(model: Model, out: Path, name: str | None = None) -> int:
    """Return how many tokens a run computes that no journal has."""
    last: list[Progress] = []
    evaluate(model, "ptb", data=DATA, out=out, name=name, progress=last.append)
    return last[-1].tokens - last[-1].resumed


def test_a_renamed_model_resumes(tmp_path: Path) -> None:
    assert computed(pinned(), tmp_path) > 0
    for name in ("mine", "a/b: c"):
        assert computed(pinned(), tmp_path, name) == 0
        assert computed(pinned(), tmp_path, name) == 0
    results = {result.model.name: result for result in read_results(tmp_path)}
    assert {*results} == {"toy:unigram", "mine", "a/b: c"}
    assert len({result.signature for result in results.values()}) == 1
    assert "|model:toy:unigram@0123abcd|" in results["mine"].signature
    rows = csv.DictReader((tmp_path / "results.csv").read_text().splitlines())
    assert {row["model"] for row in rows} == {*results}
    journals = [json.loads(path.read_text()) for path in tmp_path.rglob("journal.json")]
    assert len({journal["key"] for journal in journals}) == 1
    assert {journal["model"] for journal in journals} == {*results}


@pytest.mark.parametrize(
    "change",
    [
        {"weights": "f" * 64},
        {"label": "nanogpt:ckpt.pt"},  # another scheme reads the file in another way
        {"tokenizer": "other"},
        {"weights": ""},
        {"weights": "unknown"},
    ],
)
def test_other_weights_or_another_scheme_do_not_resume(
    tmp_path: Path, change: dict[str, str]
) -> None:
    computed(pinned(), tmp_path)
    assert computed(pinned(**change), tmp_path, "mine") > 0


def test_the_name_is_in_the_key_where_nothing_pins_the_weights() -> None:
    def key(model: Model) -> object:
        task = load_task("ptb")
        return plan_task(model, task, load_corpus(task, DATA["ptb"])).decides()

    assert key(pinned(name="a")) == key(pinned(name="b"))
    assert key(pinned(label="a")) == key(pinned(label="b")) == key(pinned(name="c"))
    assert key(pinned(name="a", weights="")) != key(pinned(name="b", weights=""))


@pytest.mark.parametrize(
    ("weights", "is_pinned"),
    [(WEIGHTS, True), ("a" * 40, True), ("", False), ("unknown", False), ("A" * 40, False)],
)
def test_a_hash_pins_the_weights(weights: str, is_pinned: bool) -> None:
    identity = ModelIdentity("m", "1", "2", "float32", "sdpa", "cpu", weights=weights)
    assert identity.is_pinned == is_pinned


def test_a_name_never_covers_the_result_of_other_weights(tmp_path: Path) -> None:
    computed(pinned(), tmp_path, "mine")
    before = read_results(tmp_path)
    other = pinned(weights="f" * 64, revision="f" * 8)
    with pytest.raises(
        UsageError, match=r"--name mine: .*@0123abcd, not .*@ffffffff.*another name"
    ):
        computed(other, tmp_path, "mine")
    assert read_results(tmp_path) == before


@pytest.mark.parametrize(
    ("first", "change"),
    [({}, {"peft": "other@01234567"}), ({"weights": ""}, {"weights": "", "name": "other"})],
)
def test_a_name_is_checked_before_anything_is_scored(
    tmp_path: Path, first: dict[str, str], change: dict[str, str]
) -> None:
    evaluate(pinned(**first), "ptb", data=DATA, out=tmp_path, name="mine")
    for measure in (evaluate, plan_run):
        with pytest.raises(UsageError, match=r"--name mine: .* is of another model"):
            measure(pinned(**change), ["text8", "ptb"], data=DATA, out=tmp_path, name="mine")
    assert [result.task for result in read_results(tmp_path)] == ["ptb"]


def test_a_backend_from_outside_keeps_its_name_in_the_key(tmp_path: Path) -> None:
    """Two versions of its code may score with the same weights."""

    class Outside:
        def __init__(self, name: str) -> None:
            self._model = pinned(name=name)
            self.context, self.start = self._model.context, self._model.start
            self.encode, self.score = self._model.encode, self._model.score
            self.identity = self._model.identity

    assert computed(Outside("first"), tmp_path) > 0
    assert computed(Outside("second"), tmp_path) > 0
    assert computed(Outside("second"), tmp_path, "mine") == 0


@pytest.mark.parametrize("name", ["", " a", "a\nb", "\x1b[31m"])
def test_a_name_is_a_line_of_text(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"--name .*expected a text on one line"):
        evaluate(pinned(), "ptb", data=DATA, out=tmp_path, name=name)


def test_names_on_the_command_line(gpt2eval: Run, tmp_path: Path) -> None:
    models = ("--model", "toy:unigram", "--model", "toy:uniform-bytes")
    run = ("run", *models, "--tasks", "ptb", "--data", "demo", "--out", tmp_path)
    done = gpt2eval(*run, "--name", "ours", "--name", "theirs")
    assert done.code == 0
    assert [line.split("|")[1].strip() for line in done.out.splitlines()[2:4]] == ["ours", "theirs"]
    assert (tmp_path / "ours" / "ptb" / "result.json").is_file()
    assert "missing" not in done.err
    assert gpt2eval(*run, "--name", "new", "--name", " b").code == 2
    assert not (tmp_path / "new").exists(), "all names are checked before the first model"
    for names, message in (
        (("--name", "ours"), "--name: names: 1, models: 2; expected one name for each --model"),
        (("--name", "a", "--name", "a"), "--name a: given twice; expected different names"),
    ):
        ended = gpt2eval(*run, *names)
        assert (ended.code, ended.err.count("\n")) == (2, 1)
        assert message in ended.err
