"""What the work of a task costs: time, memory, disk and floating-point operations."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gpt2eval.errors import UsageError
from gpt2eval.identity import Sized, Sizes
from gpt2eval.planning.task_plan import TaskPlan
from gpt2eval.scoring.flops import Counts, counts_of, total
from gpt2eval.scoring.plan import Batch, Chunk, tokens_fed
from gpt2eval.types import Model

BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
# Bytes of a scored token: 14 in its chunk (log-probability, two flags, end and record), and its row
# of the token table.
JOURNAL_ROW = 14 + 33
JOURNAL_FILE = 600  # bytes of a header of a chunk or a token table, about
# Vectors of the model's width per token, in the largest step of a block: the states, their
# residual, and the feed-forward block's four times as wide inputs and outputs.
STATES = 10
HEAD_ROWS = {"cpu": 64, "cuda": 4096}  # rows of logits at once
HEAD_COPIES = 2  # of the logits, in float32
LONG_TRIAL = 5.0  # seconds from which a trial is not repeated


def work_counts(chunks: Sequence[Chunk]) -> Counts:
    """Return what chunks feed to the model, the pairs that it sees, and what they score."""
    requests = (item.request for chunk in chunks for batch in chunk for item in batch)
    return total(counts_of(len(r.prefix), [*map(len, r.branches)]) for r in requests)


def journal_bytes(counts: Counts, chunks: int) -> int:
    """Return about how many bytes the journal of some chunks takes."""
    return JOURNAL_ROW * counts.scored + JOURNAL_FILE * (chunks + (chunks > 0))


class Memory(NamedTuple):
    """Bytes of the weights, of a batch's states in the blocks, and of its logits."""

    weights: int
    states: int
    logits: int


def memory(model: Model, plan: TaskPlan) -> Memory | None:
    """Return about how much memory a model and one batch of a task need; None if unknown."""
    if not isinstance(model, Sized):
        return None
    sizes: Sizes = model.sizes()
    identity = plan.identity
    item = BYTES.get(identity.dtype, 4)
    largest = max((_fed(batch) for chunk in plan.work.chunks for batch in chunk), default=0)
    rows = HEAD_ROWS.get(identity.device, 4096)
    return Memory(
        weights=item * sizes.weights,
        states=item * STATES * sizes.width * largest,
        logits=4 * HEAD_COPIES * min(rows, largest) * sizes.vocabulary,
    )


def _fed(batch: Batch) -> int:
    return sum(tokens_fed(item.request) for item in batch)


class Trial:
    """The speed of one model, from a batch of each kind of task.

    Tasks of one kind cut their texts alike, so they share a trial. `seconds` is what all trials
    took, `problem` why there is no speed.
    """

    def __init__(self, model: Model, clock: Callable[[], float] = time.perf_counter) -> None:
        self._model = model
        self._clock = clock
        self._speeds: dict[tuple[object, ...], float] = {}
        self.seconds = 0.0
        self.problem = ""

    def seconds_for(self, plan: TaskPlan, chunks: Sequence[Chunk]) -> float | None:
        """Return the expected time of some chunks of a task; None if it cannot be measured."""
        batches = [batch for chunk in chunks for batch in chunk]
        if not batches:
            return 0.0
        if plan.identity.device == "api":
            self.problem = "a server is not asked before the run"
        if self.problem:
            return None
        task, window = plan.task, plan.window
        kind = (task.ask, task.format, window.context, window.stride, plan.words is None)
        if kind not in self._speeds:
            try:
                self._speeds[kind] = self._measured(plan, batches[len(batches) // 2])
            except UsageError as error:
                self.problem = str(error)
                return None
        return sum(map(_fed, batches)) / self._speeds[kind]

    def _measured(self, plan: TaskPlan, batch: Batch) -> float:
        """Return tokens per second. The first trial of all is repeated: it also prepares.

        A trial that takes long is not, because preparing is a small part of it.
        """
        elapsed = self._timed(plan, batch)
        is_first = not self._speeds
        if is_first and elapsed < LONG_TRIAL:
            elapsed = self._timed(plan, batch)
        return _fed(batch) / elapsed

    def _timed(self, plan: TaskPlan, batch: Batch) -> float:
        start = self._clock()
        plan.work.trial(self._model, batch, plan.words)
        elapsed = max(self._clock() - start, 1e-9)
        self.seconds += elapsed
        return elapsed
