"""Score one task: cut its requests into chunks, score or resume each chunk, fold the scores.

The chunks follow from the task, the model's tokens, the token budget and the kind of device alone,
so any worker may score any chunk.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import groupby
from typing import NamedTuple

import numpy as np

from gpt2eval.config.schema import Filter, Task
from gpt2eval.scoring import ask, averaging, plan
from gpt2eval.scoring.journal import Journal
from gpt2eval.scoring.pipelined import Started, completed
from gpt2eval.scoring.plan import Batch, Chunk, PlannedRequest, Window
from gpt2eval.scoring.sheet import Sheet
from gpt2eval.settings import Worker
from gpt2eval.types import (
    Encoded,
    FindsBestWords,
    Model,
    Progress,
    Scored,
    TokenScores,
)

# The words after several batches of prefixes are searched for together, because a call of few rows
# takes as long as one of many. The keys and values of so many tokens are kept meanwhile.
SEARCHED_TOKENS = 4096


class Outcome(NamedTuple):
    """Scored passages, and a SHA-256 over the log-probabilities of all scored tokens.

    The hash covers them as little-endian float32, in the order of the passages. `sheet` has the
    score of every token.
    """

    passages: list[Scored]
    nll_sha256: str
    sheet: Sheet


@dataclass(frozen=True, slots=True)
class TaskWork:
    """The work of a task: its chunks, and the scored token range of each passage.

    `starts` says that the mass of the tokens that begin a word is scored, too.
    """

    name: str
    encoded: Sequence[Encoded]
    ranges: Sequence[range]
    chunks: Sequence[Chunk]
    chunk_tokens: int = plan.CHUNK_TOKENS
    starts: bool = False

    @classmethod
    def for_task(
        cls,
        task: Task,
        encoded: Sequence[Encoded],
        window: Window,
        budget: int,
        device: str = "cpu",
    ) -> "TaskWork":
        """Plan a task: windows over each text, or one request per record.

        Batches hold at most `budget` input tokens; chunks as many as suit the device. Raises
        UsageError for a record that cannot be scored, see `plan.branching`.
        """
        if task.ask == "everything":
            ranges = [plan.scored_range(e) for e in encoded]
            windows = [item for i, e in enumerate(encoded) for item in plan.windows(i, e, window)]
            planned = averaging.weighted(windows, task.mean, task.batch or 1)
        else:
            ranges, planned = _plan_records(encoded, window, last_token=task.ask == "last_token")
        size = plan.chunk_tokens(budget, device)
        chunks = plan.chunks(plan.batches(planned, budget), size)
        return cls(task.full_name, encoded, ranges, chunks, size)

    def digest(self) -> str:
        """Hash every token id that the model is asked about, and how requests are batched."""
        digest = sha256()
        if self.chunk_tokens != plan.CHUNK_TOKENS:
            digest.update(f"chunks of {self.chunk_tokens}".encode())
        for chunk in self.chunks:
            for batch in chunk:
                for item in batch:
                    prefix, branches = item.request
                    shape = [len(batch), len(prefix), *map(len, branches)]
                    digest.update(np.array(shape, "<i8").tobytes())
                    for ids in (prefix, *branches):
                        digest.update(np.asarray(ids, "<i4").tobytes())
        return digest.hexdigest()

    def score(
        self,
        model: Model,
        journal: Journal | None = None,
        worker: Worker = Worker(),
        on_progress: Callable[[Progress], None] = lambda progress: None,
        words: Filter | None = None,
    ) -> Outcome | None:
        """Score this worker's chunks that the journal lacks, then fold the scores of all chunks.

        Returns None if chunks of other workers are still missing. With a stop-word filter `words`,
        also decides whether each answer is the best word outside the list; the model needs
        `score_words`.
        Raises UsageError if a record does not fit into memory or a score is not finite.
        """
        sheet = Sheet([len(e.ids) for e in self.encoded])
        progress = self._no_progress()
        on_progress(progress)

        def advance(items: Sequence[PlannedRequest]) -> None:
            nonlocal progress
            fed = sum(plan.tokens_fed(item.request) for item in items)
            progress = progress._replace(
                requests=progress.requests + len(items), tokens=progress.tokens + fed
            )
            on_progress(progress)

        missing = {*range(len(self.chunks))}
        for last, scores in completed(self._started(model, journal, worker, words), advance):
            chunk = self.chunks[last.chunk]
            if journal and not last.is_resumed:
                journal.write(last.chunk, scores, *self._token_places(chunk))
            sheet.fill(_flat(chunk), scores)
            missing.remove(last.chunk)
        # Other workers may have finished meanwhile: the last worker sees every chunk.
        for number in sorted(missing):
            scores = journal.read(number) if journal else None
            if scores is None:
                return None
            sheet.fill(_flat(self.chunks[number]), scores)
        return self._fold(sheet)

    def trial(self, model: Model, batch: Batch, words: Filter | None) -> None:
        """Score one batch as `score` does, and keep nothing."""
        for started in self._started_chunk(model, 0, [batch], words):
            started.wait()

    def _started(
        self, model: Model, journal: Journal | None, worker: Worker, words: Filter | None
    ) -> Iterator[Started]:
        """Resume or start the batches of chunks, each when it is asked for."""
        for number, chunk in enumerate(self.chunks):
            scores = journal.read(number) if journal else None
            if scores is not None:
                yield Started.resumed(number, chunk, scores)
            elif number % worker.world == worker.rank:
                yield from self._started_chunk(model, number, chunk, words)

    def _started_chunk(
        self, model: Model, number: int, chunk: Chunk, words: Filter | None
    ) -> Iterator[Started]:
        """Start the batches of a chunk, each when it is asked for.

        The search for the best word concerns several batches at once, and is not started ahead.
        """
        if words and isinstance(model, FindsBestWords):
            for batches in plan.chunks(chunk, SEARCHED_TOKENS):
                score = partial(ask.word_scores, model, batches, self.name, self.encoded, words)
                yield Started(number, batches, score)
        else:
            for batch in chunk:
                yield Started(number, [batch], self._start(model, batch))

    def _start(self, model: Model, batch: Batch) -> Callable[[], Sequence[TokenScores]]:
        wait = ask.scores(model, batch, self.name, self.encoded, starts=self.starts)
        return lambda: [wait()]

    def _token_places(self, chunk: Chunk) -> tuple[np.ndarray, np.ndarray]:
        """Return the end in its text, and the record, of each token that a chunk scores."""
        ends = []
        records = []
        for item in _flat(chunk):
            for branch, target in zip(item.request.branches, item.targets, strict=True):
                encoded = self.encoded[target.passage]
                ends.append(encoded.ends[target.first : target.first + len(branch)])
                records.append(np.full(len(branch), encoded.passage.record, np.int32))
        return np.concatenate(ends), np.concatenate(records)

    def _no_progress(self) -> Progress:
        items = [item for chunk in self.chunks for item in _flat(chunk)]
        fed = sum(plan.tokens_fed(item.request) for item in items)
        return Progress(self.name, 0, len(items), 0, fed)

    def _fold(self, sheet: Sheet) -> Outcome:
        passages = [
            sheet.fold(i, encoded, tokens)
            for i, (encoded, tokens) in enumerate(zip(self.encoded, self.ranges, strict=True))
        ]
        scored = sheet.logprobs[sheet.scored].astype("<f4")
        return Outcome(passages, sha256(scored.tobytes()).hexdigest(), sheet)


def _flat(chunk: Iterable[Sequence[PlannedRequest]]) -> list[PlannedRequest]:
    return [item for batch in chunk for item in batch]


def _plan_records(
    encoded: Sequence[Encoded], window: Window, *, last_token: bool
) -> tuple[list[range], list[PlannedRequest]]:
    """Plan one request per record; the passages of a record are adjacent."""
    ranges: list[range] = []
    planned: list[PlannedRequest] = []
    for _, passages in groupby(encoded, key=lambda e: e.passage.record):
        group = list(passages)
        # One range per passage so far, so len(ranges) is the index of the group's first passage.
        group_ranges, item = plan.branching(len(ranges), group, window, last_token=last_token)
        ranges += group_ranges
        planned.append(item)
    return ranges, planned
