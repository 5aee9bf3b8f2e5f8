"""Steps and order: checkpoints by step, steps only where a name states one."""

import csv
import itertools
import math
from dataclasses import replace
from pathlib import Path

import pytest

from gpt2eval import Result, demo, evaluate, read_results
from gpt2eval.config.loader import load_suite
from gpt2eval.report import store, tidy
from gpt2eval.report.steps import in_order, natural, step_of
from gpt2eval.report.table import render
from gpt2eval.settings import Settings
from gpt2eval.types import ModelIdentity

SUITE = load_suite("gpt2-paper")


def model(name: str, step: str = "") -> ModelIdentity:
    return ModelIdentity(name, "1", "2", "float32", "packed", "cpu", step=step)


@pytest.fixture(scope="module")
def ptb() -> Result:
    (result,) = evaluate("toy:unigram", "ptb", data=demo.data(), settings=Settings(limit=2))
    return result


def named(result: Result, name: str, value: float) -> Result:
    ppl = replace(result.metrics["ppl"], value=value, interval=None)
    return replace(
        result,
        model=replace(result.model, name=name),
        metrics={"ppl": ppl},
        tally=replace(result.tally, nats=math.log(value) * ppl.units),
        nll_sha256=f"{value:064.0f}",
    )


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("RUN/checkpoint-500", 500),
        ("RUN/checkpoint-0", 0),
        ("RUN/checkpoint-500@1a2b3c4d", 500),
        ("nanogpt:RUN/ckpt.pt@step2000", 2000),
        ("nanogpt:RUN/ckpt-00300.pt", 300),
        ("llmc:RUN/model_00000100.bin", 100),
        ("EleutherAI/pythia-70m@step143000", 143000),
        ("allenai/OLMo@step1000-tokens4B", 1000),
        ("m@global_step12", 12),
        ("m/iter_0001000/hf", 1000),
        ("gpt2", None),
        ("org/model-7B", None),
        ("org/step1.5b", None),
        ("stepfun/m3", None),
        ("checkpoint-20240101_1200", None),
        ("checkpoint-" + "9" * 40, None),
        ("RUN/epoch-3", None),
    ],
)
def test_the_step_of_a_name(name: str, step: int | None) -> None:
    assert step_of(model(name)) == step


def test_the_identity_states_the_step_before_the_name() -> None:
    assert step_of(model("nanogpt:RUN/ckpt.pt@1a2b", "70")) == 70
    assert step_of(model("x/checkpoint-5", "odd")) == 5


@pytest.mark.parametrize(
    "names",
    [
        [f"RUN/checkpoint-{step}" for step in (0, 5, 10, 15, 20)],
        ["nanogpt:r/ckpt.pt@step5", "nanogpt:r/ckpt.pt@step20", "nanogpt:r/ckpt.pt@step100"],
        ["r/epoch-1", "r/epoch-2", "r/epoch-10"],
        ["o/m@step1-tokens9B", "o/m@step20-tokens1B", "o/m"],
        ["r/checkpoint-5@aa", "r/checkpoint-10@0b"],
    ],
)
def test_checkpoints_are_in_order_of_steps(names: list[str]) -> None:
    for order in itertools.islice(itertools.permutations(names), 24):
        assert in_order([(name, model(name)) for name in order]) == names


def test_other_models_keep_their_places() -> None:
    names = ["gpt2-xl", "r/checkpoint-10", "gpt2", "s/checkpoint-3", "r/checkpoint-9", "gpt2-large"]
    assert in_order([(name, model(name)) for name in names]) == [
        *("gpt2-xl", "r/checkpoint-9", "r/checkpoint-10", "gpt2", "s/checkpoint-3", "gpt2-large"),
    ]


def test_table_and_csv_are_in_order_of_steps(ptb: Result, tmp_path: Path) -> None:
    steps = (0, 5, 10, 15, 20, 100)
    for step in sorted(steps, key=str):
        result = named(ptb, f"RUN/checkpoint-{step}", step + 1)
        store.write_result(store.result_folder(tmp_path, result.model.name, "ptb"), result)
    results = read_results(tmp_path)
    assert [step_of(result.model) for result in results] == [*steps]
    rows = [line.split("|")[1].strip() for line in render(results, SUITE).splitlines()[2:8]]
    assert rows == [f"checkpoint-{step}" for step in steps]
    by_text = sorted(results, key=lambda result: result.model.name)
    assert (
        render(by_text, SUITE).partition("\n\n")[0] == (render(results, SUITE).partition("\n\n")[0])
    )
    table = tidy.to_csv([row for result in results for row in tidy.tidy_rows(result)]).decode()
    assert [row["step"] for row in csv.DictReader(table.splitlines())] == [*map(str, steps)]


def test_a_model_without_a_step_has_an_empty_cell(ptb: Result) -> None:
    frame = tidy.tidy([ptb, named(ptb, "r/checkpoint-7", 2.0)])
    assert frame["step"].isna().tolist() == [True] * len(ptb.metrics) + [False]
    assert frame.to_csv(index=False).splitlines()[-1].startswith("r/checkpoint-7,7,")


def test_natural_order_of_names() -> None:
    names = ["m-10", "m-2", "n", "m", "m-11", "m-10a"]
    assert sorted(names, key=natural) == ["m", "m-2", "m-10", "m-10a", "m-11", "n"]
