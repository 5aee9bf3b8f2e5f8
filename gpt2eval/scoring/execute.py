"""Score one task: cut its requests into chunks, score or resume each chunk, fold the scores.

The chunks follow from the task, the model's tokens, the token budget and the kind of device alone,
so any worker may score any chunk.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from mmap import mmap
from typing import NamedTuple

import numpy as np

from gpt2eval.config.schema import Filter, Task
from gpt2eval.scoring import ask, averaging, plan, word_ends
from gpt2eval.scoring.journal import Journal
from gpt2eval.scoring.large import files_of, release
from gpt2eval.scoring.pipelined import Started, completed
from gpt2eval.scoring.plan import Batch, Chunk, PlannedRequest, Window
from gpt2eval.scoring.requests import Lazy, flat, listed, listed_batches, token_places
from gpt2eval.scoring.sheet import Sheet
from gpt2eval.settings import Worker
from gpt2eval.types import Encoded, Model, Progress, Scored, TokenScores

# The words after several batches of prefixes are searched for together, because a call of few rows
# takes as long as one of many. The keys and values of so many tokens are kept meanwhile.
SEARCHED_TOKENS = 4096


class Outcome(NamedTuple):
    """Scored passages, and a SHA-256 over the log-probabilities of all scored tokens.

    The hash covers them as little-endian float32, in the order of the passages, and after them the
    corrections of words, if any. `sheet` has the score of every token.
    """

    passages: list[Scored]
    nll_sha256: str
    sheet: Sheet


@dataclass(frozen=True, slots=True)
class TaskWork:
    """The work of a task: its chunks, and the scored token range of each passage.

    `starts`: the mass of the tokens that begin a word is scored, too. `closed`: each passage ends
    with a token that is not scored; its place serves to correct the last word. `is_whole`: windows
    over whole texts are scored, and not only the ranges.
    """

    name: str
    encoded: Sequence[Encoded]
    ranges: Sequence[range]
    chunks: Lazy[Chunk]
    chunk_tokens: int = plan.CHUNK_TOKENS
    starts: bool = False
    closed: bool = False
    is_whole: bool = True
    _digests: list[str] = field(default_factory=list, compare=False, repr=False)

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
        is_whole = task.ask == "everything"
        closed = task.word_ends == "corrected"
        if is_whole:
            ranges = [plan.scored_range(e) for e in encoded]
            windows = plan.windows(encoded, window)
            planned = averaging.weighted(windows, task.mean, task.batch or 1)
        else:
            is_last = task.ask == "last_token"
            ranges, requests = plan.records(encoded, window, last_token=is_last, closed=closed)
            planned = listed(requests)
        size = plan.chunk_tokens(budget, device)
        chunks = plan.chunks(plan.batches(planned, budget), size)
        return cls(task.full_name, encoded, ranges, chunks, size, closed, closed, is_whole)

    def digest(self) -> str:
        """Hash every token id that the model is asked about, and how requests are batched."""
        if not self._digests:
            self._digests.append(self._digest())
        return self._digests[0]

    def _digest(self) -> str:
        digest = sha256()
        if self.chunk_tokens != plan.CHUNK_TOKENS:
            digest.update(f"chunks of {self.chunk_tokens}".encode())
        files = self._files()
        for chunk in self.chunks:
            for batch in chunk:
                for item in batch:
                    prefix, branches = item.request
                    shape = [len(batch), len(prefix), *map(len, branches)]
                    digest.update(np.array(shape, "<i8").tobytes())
                    for ids in (prefix, *branches):
                        digest.update(np.ascontiguousarray(ids, "<i4").data)
            release(files)
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

        Returns None if chunks of other workers are still missing. With a rule for answers `words`,
        also decides whether each answer is the best word by this rule.
        Raises UsageError if a record does not fit into memory or a score is not finite.
        """
        sheet = Sheet(self._places(), with_starts=self.starts)
        files = self._files()
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
                journal.write(last.chunk, scores, *token_places(chunk, self.encoded))
            sheet.fill(flat(chunk), scores)
            sheet.release()
            release(files)
            missing.remove(last.chunk)
        # Other workers may have finished meanwhile: the last worker sees every chunk.
        for number in sorted(missing):
            scores = journal.read(number) if journal else None
            if scores is None:
                return None
            sheet.fill(flat(self.chunks[number]), scores)
            sheet.release()
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
        if search := ask.search(model, words):
            for batches in plan.chunks(listed_batches(chunk), SEARCHED_TOKENS):
                score = partial(ask.word_scores, search, batches, self.name, self.encoded)
                yield Started(number, batches, score)
        else:
            for batch in chunk:
                yield Started(number, [batch], self._start(model, batch))

    def _start(self, model: Model, batch: Batch) -> Callable[[], Sequence[TokenScores]]:
        wait = ask.scores(model, batch, self.name, self.encoded, starts=self.starts)
        return lambda: [wait()]

    def _no_progress(self) -> Progress:
        return Progress(self.name, 0, self.chunks.requests, 0, int(self.chunks.sizes.sum()))

    def _places(self) -> list[range]:
        """Return the tokens of each passage that a request scores, or whose place is read."""
        if self.is_whole:
            return [range(len(one.ids)) for one in self.encoded]
        return [range(tokens.start, tokens.stop + self.closed) for tokens in self.ranges]

    def _files(self) -> list[mmap]:
        """Return the files in which the tokens of long or many texts lie."""
        return files_of(column for one in self.encoded for column in (one.ids, one.ends))

    def _fold(self, sheet: Sheet) -> Outcome:
        passages = [
            sheet.fold(i, encoded, tokens)
            for i, (encoded, tokens) in enumerate(zip(self.encoded, self.ranges, strict=True))
        ]
        hashed: Iterable[np.ndarray] = sheet.scored_logprobs()
        if self.closed:
            passages, corrected = word_ends.corrected(passages, sheet, self.ranges)
            hashed = [corrected]
        digest = sha256()
        for values in hashed:
            digest.update(values.astype("<f4").data)
        return Outcome(passages, digest.hexdigest(), sheet)
