"""The work of one task: cut into units, done or found in the journal, and folded back into scored passages.

Which worker does a unit changes nothing: units follow from the task, the model's tokens and the token budget alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from typing import NamedTuple

import numpy as np

from gpt2eval.config.schema import Task
from gpt2eval.errors import UsageError
from gpt2eval.scoring import plan
from gpt2eval.scoring.journal import Journal
from gpt2eval.scoring.plan import Planned, Window
from gpt2eval.scoring.sheet import Sheet, check_finite
from gpt2eval.types import (
    Encoded,
    Filter,
    FindsBestWords,
    Model,
    Progress,
    Scored,
    TokenScores,
    Worker,
)

Chunk = list[list[Planned]]


class Outcome(NamedTuple):
    """Scored passages, and the sha256 over all scored tokens' log-probabilities (float32, in the order of the text)."""

    passages: list[Scored]
    nll_sha256: str


@dataclass(frozen=True, slots=True)
class Work:
    """All that is to be scored for a task, and the token range of each passage that counts."""

    name: str
    encoded: Sequence[Encoded]
    ranges: Sequence[range]
    chunks: Sequence[Chunk]

    @classmethod
    def of(cls, task: Task, encoded: Sequence[Encoded], window: Window, budget: int) -> "Work":
        """Windows over whole texts, or one request per record; batches of `budget` tokens."""
        if task.ask == "everything":
            ranges = [plan.wanted(e) for e in encoded]
            planned = [
                item for i, e in enumerate(encoded) for item in plan.rolling(i, e.ids, window)
            ]
        else:
            ranges, planned = _branching(encoded, window, last_token=task.ask == "last_token")
        return cls(task.full_name, encoded, ranges, plan.chunks(plan.batches(planned, budget)))

    def digest(self) -> str:
        """A hash of everything that is asked of the model, in which batches."""
        digest = sha256()
        for batch in (batch for unit in self.chunks for batch in unit):
            for prefix, branches in (item.request for item in batch):
                digest.update(
                    np.array([len(batch), len(prefix), *map(len, branches)], "<i8").tobytes()
                )
                digest.update(
                    b"".join(np.asarray(ids, "<i4").tobytes() for ids in (prefix, *branches))
                )
        return digest.hexdigest()

    def score(
        self,
        model: Model,
        journal: Journal | None = None,
        worker: Worker = Worker(),
        watch: Callable[[Progress], None] = lambda progress: None,
        words: Filter | None = None,
    ) -> Outcome | None:
        """Do the units that are this worker's and not in the journal; None if some of the others are missing after that.

        With `words`, an answer is also looked for with these left out; the model must have `best_words` then.
        """
        sheet = Sheet([len(e.ids) for e in self.encoded])
        records = [e.passage.record for e in self.encoded]
        done, missing = self._nothing_done(), list[int]()
        watch(done)
        for number, unit in enumerate(self.chunks):
            items = [item for batch in unit for item in batch]
            scores = journal.read(number) if journal else None
            if scores is not None:
                done = _further(done, items)
                watch(done)
            elif number % worker.world == worker.rank:
                parts = []
                for batch in unit:
                    scores = self._scored(model, batch, records)
                    parts.append(
                        scores._replace(
                            is_best_word=self._is_best_word(model, batch, scores, words)
                        )
                        if words
                        else scores
                    )
                    done = _further(done, batch)
                    watch(done)
                scores = TokenScores(
                    *(np.concatenate(column) for column in zip(*parts, strict=True))
                )
                if journal:
                    journal.write(number, scores, *self._places(unit))
            if scores is None:
                missing.append(number)
            else:
                sheet.fill(items, scores)
        for (
            number
        ) in missing:  # which others may have done meanwhile; the last one to end finds all
            if journal is None or (scores := journal.read(number)) is None:
                return None
            sheet.fill([item for batch in self.chunks[number] for item in batch], scores)
        return self._folded(sheet)

    def _scored(
        self, model: Model, batch: Sequence[Planned], records: Sequence[int]
    ) -> TokenScores:
        requests = [item.request for item in batch]
        try:
            scores = model.score(requests)
        except MemoryError as error:
            item = next(
                (i for i in batch if error.args and i.request.prefix is error.args[0].prefix),
                batch[0],
            )
            raise UsageError(
                f"task {self.name}, record {records[item.targets[0].passage]}: its {plan.tokens_fed(item.request)} tokens do "
                "not fit into memory; expected a smaller --context"
            ) from None
        check_finite(batch, scores, records)
        return scores

    def _is_best_word(
        self, model: Model, batch: Sequence[Planned], scores: TokenScores, words: Filter
    ) -> np.ndarray:
        """For each request, whether the answer is right with some words left out.

        It is, if it is none of these words and either every token of it is the argmax, which is the plain prediction
        and needs no filter, or it is the best whole word outside the list. So the accuracy is never below the plain
        one by more than the answers that are in the list. Only where it is neither is the model asked again.
        """
        passages = [self.encoded[item.targets[0].passage].passage for item in batch]
        answers = [p.text[p.parts[0].start : p.parts[-1].end].strip() for p in passages]
        bounds = np.cumsum([len(item.request.branches[0]) for item in batch])[:-1]
        plain = [bool(greedy.all()) for greedy in np.split(scores.is_greedy, bounds)]
        listed = [answer.lower() in words.banned for answer in answers]
        open_ = [i for i in range(len(batch)) if not plain[i] and not listed[i]]
        found = np.array([p and not out for p, out in zip(plain, listed, strict=True)])
        prefixes = [batch[i].request.prefix for i in open_]
        best: list[str] = []
        if prefixes and isinstance(model, FindsBestWords):
            best = model.best_words(prefixes, words.banned, words.width, words.depth)
        found[open_] = [word == answers[i] for word, i in zip(best, open_, strict=True)]
        return found

    def _places(self, unit: Chunk) -> tuple[np.ndarray, np.ndarray]:
        """For each token scored in a unit: its end in its text, and its record."""
        branches = [
            (self.encoded[target.passage], target.first, len(branch))
            for batch in unit
            for item in batch
            for branch, target in zip(item.request.branches, item.targets, strict=True)
        ]
        ends = np.concatenate([encoded.ends[first : first + n] for encoded, first, n in branches])
        return ends, np.concatenate(
            [np.full(n, encoded.passage.record, np.int32) for encoded, _, n in branches]
        )

    def _nothing_done(self) -> Progress:
        items = [item for unit in self.chunks for batch in unit for item in batch]
        return Progress(
            self.name, 0, len(items), 0, sum(plan.tokens_fed(item.request) for item in items)
        )

    def _folded(self, sheet: Sheet) -> Outcome:
        passages = [
            sheet.fold(i, e, r)
            for i, (e, r) in enumerate(zip(self.encoded, self.ranges, strict=True))
        ]
        return Outcome(
            passages, sha256(sheet.logprobs[sheet.scored].astype("<f4").tobytes()).hexdigest()
        )


def _further(done: Progress, batch: Sequence[Planned]) -> Progress:
    fed = sum(plan.tokens_fed(item.request) for item in batch)
    return done._replace(requests=done.requests + len(batch), tokens=done.tokens + fed)


def _branching(
    encoded: Sequence[Encoded], window: Window, *, last_token: bool
) -> tuple[list[range], list[Planned]]:
    ranges, planned, at = [], [], 0
    for _, passages in groupby(encoded, key=lambda e: e.passage.record):
        group = list(passages)
        of_group, item = plan.branching(at, group, window, last_token=last_token)
        ranges += of_group
        planned.append(item)
        at += len(group)
    return ranges, planned
