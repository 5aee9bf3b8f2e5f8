"""The token scores of all passages of a task: filled batch by batch, summed per part."""

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt2eval.errors import UsageError
from gpt2eval.scoring.large import BLOCK, blocks, files_of, release, search, zeros
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


class Block(NamedTuple):
    """Successive tokens of a passage: their places among its tokens, and on the sheet."""

    tokens: slice
    place: slice


class Sheet:
    """The token scores of all passages, laid end to end in arrays of shape `[tokens]`.

    `ranges` are the tokens of each passage that have a place: token t of passage i has the place
    `starts[i] + t`. A question's context, which its choices share, needs none. `weights` is how
    often a token counts, 0 if it is not scored; `context` counts the tokens that the model sees
    before it. `log_starts` and `starts_word` are empty unless `with_starts`.
    """

    def __init__(self, ranges: Sequence[range], *, with_starts: bool = False) -> None:
        ends = np.cumsum([len(tokens) for tokens in ranges], dtype=np.int64)
        self.starts = ends - np.array([tokens.stop for tokens in ranges], np.int64)
        count = int(ends[-1]) if len(ends) else 0
        self.logprobs = zeros(count, np.float64)
        self.is_greedy = zeros(count, np.bool_)
        self.is_tied = zeros(count, np.bool_)
        self.scored = zeros(count, np.bool_)
        self.weights = zeros(count, np.float64)
        self.context = zeros(count, np.int32)
        self.log_starts = zeros(count if with_starts else 0, np.float64)
        self.log_starts.fill(np.nan)
        self.starts_word = zeros(count if with_starts else 0, np.bool_)
        self.is_best_word: dict[int, bool] = {}
        self.is_undecided: dict[int, bool] = {}
        self._files = files_of(vars(self).values())
        self._touched = 0

    def release(self) -> None:
        """Give the memory of long arrays back; they are read again where they are needed."""
        release(self._files)

    def blocks(self, number: int, tokens: range) -> Iterator["Block"]:
        """Yield the places of successive tokens of passage `number`, some of them at a time."""
        base = int(self.starts[number])
        for own in blocks(tokens):
            yield Block(own, slice(base + own.start, base + own.stop))
            self._touched += own.stop - own.start
            if self._touched >= BLOCK:  # not after each of many short passages
                self.release()
                self._touched = 0

    def scored_logprobs(self) -> Iterator[NDArray[np.float64]]:
        """Yield the log-probabilities of all scored tokens, some of them at a time."""
        for place in blocks(range(len(self.scored))):
            yield self.logprobs[place][self.scored[place]]
            self.release()

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
                if len(self.log_starts) and len(scores.log_starts):
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
        parts = encoded.passage.parts
        count = len(parts)
        nats = np.zeros(count)
        weighted = np.zeros(count)
        tied = np.zeros(count)
        greedy = np.zeros(count, np.int64)
        unscored = 0
        # Ends never decrease, so each part's tokens are adjacent: split where the part changes. A
        # token that ends exactly at a boundary belongs to the part that ends there.
        splits = search(encoded.ends, [part.end for part in parts[:-1]], "right")
        bounds = [tokens.start, *np.clip(splits, tokens.start, tokens.stop).tolist(), tokens.stop]
        for some in _groups(bounds):
            own = range(bounds[some.start], bounds[some.stop])
            nats[some.start : some.stop] = self._nats(
                number, own, bounds[some.start + 1 : some.stop]
            )
            for block, place in self.blocks(number, own):
                part = _part_of(block, bounds, some)
                weights = self.weights[place]
                # In order, so that sums of fractions do not depend on the blocks.
                np.add.at(weighted, part, weights)
                np.add.at(tied, part, weights * self.is_tied[place])
                greedy += np.bincount(part[self.is_greedy[place]], minlength=count)
                is_unscored = ~self.scored[place]
                if encoded.inserted is not None:
                    is_unscored &= ~encoded.inserted[block]
                unscored += int(is_unscored.sum())
        return Scored(
            passage=encoded.passage,
            nats=nats,
            tokens=_rounded(weighted),
            greedy_tokens=greedy,
            unscored=unscored,
            straddling=_straddling(encoded, tokens),
            is_best_word=self.is_best_word.get(number),
            is_undecided=self.is_undecided.get(number, False),
            tied_tokens=_rounded(tied),
        )

    def _nats(self, number: int, tokens: range, splits: Sequence[int]) -> list[float]:
        """Return the nats of adjacent parts of tokens, which `splits` separate."""
        # fsum rounds once, so a sum does not depend on the order of the additions.
        values = (
            self.weights[place] * self.logprobs[place] for _, place in self.blocks(number, tokens)
        )
        if not splits:
            return [-math.fsum(chain.from_iterable(values))]
        cut = np.split(next(values, np.zeros(0)), np.asarray(splits) - tokens.start)
        return [-math.fsum(own) for own in cut]


def _groups(bounds: Sequence[int]) -> Iterator[range]:
    """Yield adjacent parts, given their bounds: one, or several that fit into a block."""
    first = 0
    for last in range(1, len(bounds)):
        if bounds[last] - bounds[first] > BLOCK and last - first > 1:
            yield range(first, last - 1)
            first = last - 1
    yield range(first, len(bounds) - 1)


def _part_of(tokens: slice, bounds: Sequence[int], parts: range) -> NDArray[np.intp]:
    """Return the part of each token; the tokens are those of several parts, or some of one's."""
    if len(parts) == 1:
        return np.full(tokens.stop - tokens.start, parts.start, np.intp)
    own = bounds[parts.start : parts.stop + 1]
    return np.repeat(np.arange(parts.start, parts.stop), np.diff(own))


def _straddling(encoded: Encoded, tokens: range) -> int:
    """Count the tokens that the start of the first part or the end of the last part cuts."""
    parts = encoded.passage.parts
    bounds = (parts[0].start, parts[-1].end)
    cut = set()
    for bound, token in zip(bounds, search(encoded.ends, bounds, "right").tolist(), strict=True):
        begin = int(encoded.ends[token - 1]) if token else 0
        # Look one token further: a token cut by the last part's end ends outside `tokens`.
        if begin < bound and token in range(tokens.start, min(tokens.stop + 1, len(encoded.ends))):
            cut.add(token)
    return len(cut)


def _rounded(counts: np.ndarray) -> np.ndarray:
    """Round the weighted token counts of adjacent parts.

    The running total is rounded, not each count: with fractional weights the counts then still add
    up to the rounded count of the passage.
    """
    return np.diff(np.rint(np.cumsum(counts)), prepend=0).astype(np.int64)
