"""`--batch-size auto`: the fastest pass, one number for all workers, kept by the output folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import Run

from gpt2eval import Settings, UsageError, demo, evaluate
from gpt2eval.models import identified, registry
from gpt2eval.planning.batch import LENGTH, BatchChoice, fastest
from gpt2eval.settings import Worker
from gpt2eval.types import Request, TokenScores

DATA = demo.data()


class Timed:
    """A toy model that takes the time of a test's own clock; `room` is the largest pass."""

    def __init__(
        self, seconds: dict[int, float], device: str = "cpu", room: int | None = None
    ) -> None:
        model = registry.load_model("toy:unigram")
        self.context, self.start = 1024, model.start
        self.encode, self._model = model.encode, model
        self._seconds = seconds
        self._device = device
        self._room = room
        self.now = 0.0
        self.sizes_tried: list[int] = []

    def identity(self) -> Any:  # a mapping is accepted, too
        return {**identified.identity_of(self._model).stated(), "device": self._device}

    def fits(self, batch: Sequence[Request]) -> bool:
        return self._room is None or len(batch) * LENGTH <= self._room

    def score(self, batch: Sequence[Request]) -> TokenScores:
        size = len(batch) * LENGTH
        self.sizes_tried.append(size)
        self.now += self._seconds.get(size, 1.0)
        return self._model.score(batch)


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({512: 1.0, 1024: 1.5, 2048: 2.9, 4096: 5.8}, 2048),
        ({512: 1.0, 1024: 2.0}, 512),  # as fast: the smaller one needs less memory
        ({512: 1.0, 1024: 1.9, 2048: 3.75, 4096: 7.4, 8192: 10.0}, 1024),  # stops at no gain
        ({512: 5.0, 1024: 5.0, 2048: 5.0, 4096: 5.0, 8192: 5.0}, 8192),
    ],
)
def test_a_cpu_takes_the_smallest_of_the_fastest(seconds: dict[int, float], chosen: int) -> None:
    model = Timed(seconds)
    size, speeds = fastest(model, clock=lambda: model.now)
    assert size == chosen
    assert speeds[size] == pytest.approx(size / seconds[size])


def test_a_gpu_grows_until_memory_ends() -> None:
    model = Timed({1 << power: 1.0 for power in range(12, 21)}, "cuda", room=40_000)
    size, _ = fastest(model, clock=lambda: model.now)
    assert size == 32_768
    assert max(model.sizes_tried) == 32_768


def test_a_run_states_its_choice_and_a_later_one_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    speeds = {512: 1.0}
    monkeypatch.setattr("gpt2eval.planning.batch.fastest", lambda model, clock: (512, speeds))
    auto: Any = {"data": DATA, "out": tmp_path, "batch_size": "auto"}
    (first,) = evaluate("toy:unigram", "ptb", **auto)
    assert "|batch:512|" in first.signature
    assert "batch size auto: 512 tokens a pass" in caplog.text
    monkeypatch.setattr("gpt2eval.planning.batch.fastest", lambda model, clock: (2048, speeds))
    resumed, new = evaluate("toy:unigram", ["ptb", "text8"], **auto)
    assert "|batch:512|" in resumed.signature
    assert "|batch:512|" in new.signature, "one number for the folder"
    assert "as in the journal" in caplog.text
    (other,) = evaluate("toy:uniform-bytes", "ptb", **auto)
    assert "|batch:2048|" in other.signature, "another model"


def test_each_task_keeps_the_number_of_its_own_journal(tmp_path: Path) -> None:
    for task, size in (("ptb", 1), ("text8", 2)):
        settings = Settings(batch_size=size, context=256)
        evaluate("toy:unigram", task, data=DATA, out=tmp_path, settings=settings)
    results = evaluate(
        "toy:unigram", ["ptb", "text8"], data=DATA, out=tmp_path, batch_size="auto", context=256
    )
    assert [result.model.batch for result in results] == ["256", "512"]


def test_a_number_is_not_tried() -> None:
    model = Timed({})
    assert BatchChoice(model, Settings(batch_size=3)).settings() == Settings(batch_size=3)
    assert model.sizes_tried == []


def test_workers_and_wrong_values_are_one_line(gpt2eval: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--batch-size auto: 2 workers must use the same number"):
        Settings(batch_size="auto", worker=Worker(0, 2)).check()
    for value in ("0", "-1", "many", "1.5"):
        ended = gpt2eval("run", "--batch-size", value, "--out", tmp_path)
        assert (ended.code, ended.err.count("\n")) == (2, 1)
        assert f"--batch-size {value}: expected a whole number of 1 or more" in ended.err
