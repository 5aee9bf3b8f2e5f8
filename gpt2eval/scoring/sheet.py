"""The scores of all passages of a task, filled batch by batch and summed per part."""

import math
from collections.abc import Sequence

import numpy as np

from gpt2eval.errors import UsageError
from gpt2eval.scoring.plan import Planned
from gpt2eval.types import Encoded, Scored, TokenScores


def check_finite(batch: Sequence[Planned], scores: TokenScores, records: Sequence[int]) -> None:
    """Raise UsageError, naming record and token, where a log-probability is NaN or infinite."""
    if np.isfinite(scores.logprobs).all():
        return
    at = int(np.argmin(np.isfinite(scores.logprobs)))
    value = scores.logprobs[at]
    for item in batch:
        for branch, target in zip(item.request.branches, item.targets, strict=True):
            if 0 <= at < len(branch):
                raise UsageError(
                    f"record {records[target.passage]}, token {target.first + at}: the model's log-probability is {value}; "
                    "expected a finite number"
                )
            at -= len(branch)


class Sheet:
    """The scores of all passages' tokens, filled batch by batch; beside them, how often each counts (0 if not scored)."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self.starts = np.concatenate([[0], np.cumsum(lengths)])
        self.logprobs = np.zeros(self.starts[-1])
        self.is_greedy = np.zeros(self.starts[-1], np.bool_)
        self.scored = np.zeros(self.starts[-1], np.bool_)
        self.weights = np.zeros(self.starts[-1])
        self.is_best_word: dict[int, bool] = {}

    def fill(self, batch: Sequence[Planned], scores: TokenScores) -> None:
        """Enter the scores of a batch."""
        self.is_best_word |= {
            item.targets[0].passage: bool(f)
            for item, f in zip(batch, scores.is_best_word, strict=False)
        }
        at = 0
        for item in batch:
            for branch, target in zip(item.request.branches, item.targets, strict=True):
                place = slice(self.starts[target.passage] + target.first, None)
                self.logprobs[place][: len(branch)] = scores.logprobs[at : at + len(branch)]
                self.is_greedy[place][: len(branch)] = scores.is_greedy[at : at + len(branch)]
                self.scored[place][: len(branch)] = True
                self.weights[place][: len(branch)] = item.weight
                at += len(branch)

    def fold(self, number: int, encoded: Encoded, tokens: range) -> Scored:
        """Sum a passage's token scores over its parts, exactly, each as often as it counts.

        Tokens before the first part's start that are in `tokens` count to the first part (a question's tokens
        after the common prefix). A token straddles that has one of the two outer bounds of the parts inside it.
        """
        base = int(self.starts[number])
        place = slice(base + tokens.start, base + tokens.stop)
        ends, parts = encoded.ends[tokens.start : tokens.stop], encoded.passage.parts
        part = np.searchsorted([p.end for p in parts[:-1]], ends, "left")
        bounds_of_parts = np.searchsorted(part, range(1, len(parts)))
        scored, weights = self.scored[place], self.weights[place]
        begins = np.concatenate([[0], encoded.ends])[:-1]
        bounds = (parts[0].start, parts[-1].end)
        cut = np.any([(begins < bound) & (bound < encoded.ends) for bound in bounds], axis=0)
        return Scored(
            passage=encoded.passage,
            nats=np.array(
                [
                    -math.fsum(values)
                    for values in np.split(weights * self.logprobs[place], bounds_of_parts)
                ]
            ),
            tokens=np.diff(
                np.rint(np.cumsum(np.bincount(part, weights, len(parts)))), prepend=0
            ).astype(np.int64),
            greedy_tokens=np.bincount(part[self.is_greedy[place]], minlength=len(parts)),
            unscored=int((~scored).sum()),
            straddling=int(cut[tokens.start : tokens.stop + 1].sum()),
            is_best_word=self.is_best_word.get(number),
        )
