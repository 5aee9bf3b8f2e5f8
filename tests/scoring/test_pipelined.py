"""One batch ahead: the same scores in the same order, and errors that name the right record."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from gpt2eval.config.loader import load_task
from gpt2eval.errors import UsageError
from gpt2eval.scoring import plan
from gpt2eval.scoring.execute import TaskWork
from gpt2eval.scoring.journal import Journal
from gpt2eval.scoring.plan import Window
from gpt2eval.scoring.requests import listed_batches
from gpt2eval.settings import Worker
from gpt2eval.types import Encoded, Model, Part, Passage, Request, TokenScores, Units

Pending = Callable[[], TokenScores]


def encoded(record: int) -> Encoded:
    passage = Passage(record, "abc", (Part(1, 3, Units()),))
    return Encoded(passage, np.array([record, 2, 3], np.int32), np.array([1, 2, 3], np.int32))


def work_of(records: int, chunk_batches: int = 1) -> TaskWork:
    """Return work of one request per batch; record i has the prefix `[i]`."""
    work = TaskWork.for_task(
        load_task("lambada"), [encoded(i) for i in range(records)], Window(16, 16, 0), budget=2
    )
    batches = [batch for chunk in work.chunks for batch in chunk]
    assert [len(batch) for batch in batches] == [1] * records
    chunks = plan.chunks(listed_batches(batches), 3 * chunk_batches)
    return TaskWork(work.name, work.encoded, work.ranges, chunks)


class Sequential:
    """A backend that records what it is asked; some records fail."""

    context = 16
    start = 0

    def __init__(self, not_finite: Sequence[int] = (), too_large: Sequence[int] = ()) -> None:
        self.log: list[str] = []
        self.not_finite = not_finite
        self.too_large = too_large

    def score(self, batch: Sequence[Request]) -> TokenScores:
        record = int(batch[0].prefix[-1])
        self.log.append(f"score {record}")
        if record in self.too_large:
            raise MemoryError(batch[0])
        logprob = np.nan if record in self.not_finite else -1.0 - record
        count = sum(len(branch) for request in batch for branch in request.branches)
        return TokenScores(np.full(count, logprob, np.float32), np.zeros(count, np.bool_))


class Ahead(Sequential):
    """The same, one batch ahead. Memory runs out at the launch."""

    def launch(self, batch: Sequence[Request]) -> Pending:
        record = int(batch[0].prefix[-1])
        self.log.append(f"launch {record}")
        if record in self.too_large:
            raise MemoryError(batch[0])

        def wait() -> TokenScores:
            scores = self.score(batch)
            self.log[-1] = f"wait {record}"
            return scores

        return wait


def scored(work: TaskWork, model: Any, folder: Path | None = None, **options: Any) -> Any:
    journal = None
    if folder:
        inputs = {"test": 1}
        journal = Journal.of(folder, inputs, len(work.chunks))
        journal.open("model", inputs)
    return work.score(cast(Model, model), journal, **options)


def logged_writes(model: Sequential, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Journal.write

    def logging(self: Journal, number: int, *arguments: Any) -> None:
        model.log.append(f"write {number}")
        write(self, number, *arguments)

    monkeypatch.setattr(Journal, "write", logging)


def test_the_next_batch_is_launched_before_the_scores_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Ahead()
    logged_writes(model, monkeypatch)
    scored(work_of(4, chunk_batches=2), model, tmp_path)
    assert ", ".join(model.log) == (
        "launch 0, launch 1, wait 0, launch 2, wait 1, write 0, launch 3, wait 2, wait 3, write 1"
    )


def test_a_backend_without_launch_computes_in_order_and_writes_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Sequential()
    logged_writes(model, monkeypatch)
    scored(work_of(4, chunk_batches=2), model, tmp_path)
    assert ", ".join(model.log) == "score 0, score 1, write 0, score 2, score 3, write 1"


@pytest.mark.parametrize("chunk_batches", [1, 2, 5])
def test_both_give_the_same_scores_and_the_same_progress(chunk_batches: int) -> None:
    outcomes = []
    progress: list[list[int]] = []
    for model in (Sequential(), Ahead()):
        seen: list[int] = []
        outcomes.append(
            scored(
                work_of(5, chunk_batches),
                model,
                on_progress=lambda p, seen=seen: seen.append(p.requests),
            )
        )
        progress.append(seen)
    assert outcomes[0].nll_sha256 == outcomes[1].nll_sha256
    assert [float(p.nats.sum()) for p in outcomes[1].passages] == [
        float(p.nats.sum()) for p in outcomes[0].passages
    ]
    assert progress[0] == progress[1] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("kind", [Sequential, Ahead])
@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({"not_finite": [1], "too_large": [2]}, "record 1, .*finite"),
        ({"not_finite": [2], "too_large": [1]}, "record 1: its 3 tokens do not fit"),
        ({"too_large": [0]}, "record 0: its 3 tokens do not fit"),
    ],
)
def test_the_first_record_that_fails_is_named(
    kind: type[Sequential], faults: dict[str, list[int]], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        scored(work_of(4), kind(**faults))


def test_chunks_before_a_failure_are_kept(tmp_path: Path) -> None:
    work = work_of(4)
    with pytest.raises(UsageError, match="record 2"):
        scored(work, Ahead(too_large=[2]), tmp_path)
    again = Ahead()
    assert scored(work, again, tmp_path) is not None
    assert again.log == ["launch 2", "launch 3", "wait 2", "wait 3"]


def test_workers_share_the_chunks(tmp_path: Path) -> None:
    work = work_of(4)
    first = Ahead()
    second = Ahead()
    assert scored(work, first, tmp_path, worker=Worker(0, 2)) is None
    assert scored(work, second, tmp_path, worker=Worker(1, 2)) is not None
    assert [line for line in second.log if "wait" in line] == ["wait 1", "wait 3"]


def planned(device: str, budget: int) -> TaskWork:
    lambada = load_task("lambada")
    texts = [encoded(i) for i in range(10)]
    return TaskWork.for_task(lambada, texts, Window(16, 16, 0), budget, device)


def test_a_chunk_of_a_gpu_has_64_full_batches() -> None:
    assert plan.chunk_tokens(32768, "cuda:1") == 64 * 32768
    assert plan.chunk_tokens(2048, "cpu") == plan.chunk_tokens(16384, "api") == 65536
    assert plan.chunk_tokens(16, "cuda") == 65536


def test_chunks_of_another_size_have_another_journal() -> None:
    assert planned("cuda", 16).digest() == planned("cpu", 16).digest()
    assert planned("cuda", 2048).digest() != planned("cpu", 2048).digest()
