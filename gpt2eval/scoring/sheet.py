"""The token scores of all passages of a task: filled batch by batch, summed per part."""

import math
from collections.abc import Sequence

import numpy as np

from gpt2eval.errors import UsageError
from gpt2eval.scoring.plan import PlannedRequest
from gpt2eval.types import Encoded, Scored, TokenScores


def check_finite(
    batch: Sequence[PlannedRequest], scores: TokenScores, encoded: Sequence[Encoded]
) -> None:
    """Raise UsageError, naming record and token, if a log-probability is NaN or infinite.

    It may be that of the token, or that of all tokens that begin a word.
    """
    is_finite = np.isfinite(scores.logprobs)
    if len(scores.log_starts):
        is_finite = is_finite & np.isfinite(scores.log_starts)
    if is_finite.all():
        return
    position = int(np.argmin(is_finite))
    value = scores.logprobs[position]
    if np.isfinite(value):
        value = scores.log_starts[position]
    for item in batch:
        for branch, target in zip(item.request.branches, item.targets, strict=True):
            if 0 <= position < len(branch):
                record = encoded[target.passage].passage.record
                raise UsageError(
                    f"record {record}, token {target.first + position}: "
                    f"the model's log-probability is {value}; expected a finite number"
                )
            position -= len(branch)


class Sheet:
    """The token scores of all passages, laid end to end in arrays of shape `[tokens]`.

    Passage i occupies `starts[i]:starts[i + 1]`. `weights` is how often a token counts, 0 if it is
    not scored; `context` counts the tokens that the model sees before it. `log_starts` is not a
    number where it was not asked for.
    """

    def __init__(self, lengths: Sequence[int]) -> None:
        self.starts = np.concatenate([[0], np.cumsum(lengths)])
        self.logprobs = np.zeros(self.starts[-1])
        self.is_greedy = np.zeros(self.starts[-1], np.bool_)
        self.is_tied = np.zeros(self.starts[-1], np.bool_)
        self.scored = np.zeros(self.starts[-1], np.bool_)
        self.weights = np.zeros(self.starts[-1])
        self.context = np.zeros(self.starts[-1], np.int32)
        self.log_starts = np.full(self.starts[-1], np.nan)
        self.starts_word = np.zeros(self.starts[-1], np.bool_)
        self.is_best_word: dict[int, bool] = {}
        self.is_undecided: dict[int, bool] = {}

    def fill(self, batch: Sequence[PlannedRequest], scores: TokenScores) -> None:
        """Enter the scores of a batch."""
        # Not strict: without a stop-word filter both columns are empty.
        for item, is_best in zip(batch, scores.is_best_word, strict=False):
            self.is_best_word[item.targets[0].passage] = bool(is_best)
        for item, is_undecided in zip(batch, scores.is_undecided, strict=False):
            self.is_undecided[item.targets[0].passage] = bool(is_undecided)
        position = 0
        for item in batch:
            for branch, target in zip(item.request.branches, item.targets, strict=True):
                first = self.starts[target.passage] + target.first
                place = slice(first, first + len(branch))
                source = slice(position, position + len(branch))
                self.logprobs[place] = scores.logprobs[source]
                self.is_greedy[place] = scores.is_greedy[source]
                if len(scores.is_tied):
                    self.is_tied[place] = scores.is_tied[source]
                if len(scores.log_starts):
                    self.log_starts[place] = scores.log_starts[source]
                    self.starts_word[place] = scores.starts_word[source]
                self.scored[place] = True
                self.weights[place] = item.weight
                seen = len(item.request.prefix)
                self.context[place] = np.arange(seen, seen + len(branch))
                position += len(branch)

    def fold(self, number: int, encoded: Encoded, tokens: range) -> Scored:
        """Sum the scores of passage `number` over each of its parts.

        A part's nats are -sum(weight * logprob) over the tokens in `tokens` that end in it. Tokens
        that end before the first part (a question's tokens after the common prefix) count toward
        the first part. A token straddles if the start of the first part or the end of the last
        part lies strictly inside it.
        """
        base = int(self.starts[number])
        place = slice(base + tokens.start, base + tokens.stop)
        parts = encoded.passage.parts
        ends = encoded.ends[tokens.start : tokens.stop]
        # The part of each token; "left" keeps a token that ends exactly at a boundary in the part
        # that ends there.
        part = np.searchsorted([p.end for p in parts[:-1]], ends, "left")
        # Ends never decrease, so each part's tokens are adjacent: split where the part changes.
        splits = np.searchsorted(part, range(1, len(parts)))
        scored = self.scored[place]
        unscored = ~scored
        if encoded.inserted is not None:
            unscored &= ~encoded.inserted[tokens.start : tokens.stop]
        weights = self.weights[place]
        weighted = np.split(weights * self.logprobs[place], splits)
        begins = np.concatenate([[0], encoded.ends])[:-1]
        bounds = (parts[0].start, parts[-1].end)
        cut = np.any([(begins < bound) & (bound < encoded.ends) for bound in bounds], axis=0)
        return Scored(
            passage=encoded.passage,
            # fsum rounds once, so the sum does not depend on the order of the additions.
            nats=np.array([-math.fsum(values) for values in weighted]),
            tokens=_rounded(np.bincount(part, weights, len(parts))),
            greedy_tokens=np.bincount(part[self.is_greedy[place]], minlength=len(parts)),
            unscored=int(unscored.sum()),
            # Look one token further: a token cut by the last part's end ends outside `tokens`.
            straddling=int(cut[tokens.start : tokens.stop + 1].sum()),
            is_best_word=self.is_best_word.get(number),
            is_undecided=self.is_undecided.get(number, False),
            tied_tokens=_rounded(np.bincount(part, weights * self.is_tied[place], len(parts))),
        )


def _rounded(counts: np.ndarray) -> np.ndarray:
    """Round the weighted token counts of adjacent parts.

    The running total is rounded, not each count: with fractional weights the counts then still add
    up to the rounded count of the passage.
    """
    return np.diff(np.rint(np.cumsum(counts)), prepend=0).astype(np.int64)
