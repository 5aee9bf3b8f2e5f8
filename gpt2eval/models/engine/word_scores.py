"""Score batches of requests, and decide for each whether its answer is the best word.

The decision uses the keys and values that scoring leaves behind. A prefix is run again where the
context lacks room for a word, or where the search did not fit into memory.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch

from gpt2eval.models.engine.best_word import Search, decide
from gpt2eval.models.engine.openings import Prefixes, Words
from gpt2eval.models.engine.packed import PackedEngine
from gpt2eval.models.engine.padded import PaddedEngine
from gpt2eval.models.engine.scores import free_memory, in_halves
from gpt2eval.models.load_errors import is_out_of_memory
from gpt2eval.types import Request, TokenScores, WordRequest

ROOM = 16  # tokens of the context that are left to a word at least


class Decision(NamedTuple):
    """Whether the answer is the best word, and whether the search stopped at its limit."""

    is_best_word: bool
    is_undecided: bool


class WordScorer:
    """Scores requests with an engine, and searches for the best word after each prefix.

    `context` is the longest input in tokens. A prefix that begins with the token `added` keeps it
    where it is shortened. `banned` words are lower-cased and cannot be the best.
    """

    def __init__(
        self,
        engine: PackedEngine | PaddedEngine,
        words: Words,
        context: int,
        added: int | None,
        banned: frozenset[str],
    ) -> None:
        self._engine: Any = engine
        self._words = words
        self._context = context
        self._added = added
        self._banned = banned

    @torch.inference_mode()
    def score(self, batches: Sequence[Sequence[WordRequest]]) -> list[TokenScores]:
        """Return the scores of each batch, with the decisions of its requests.

        Raises MemoryError(request) for a request that does not fit into memory.
        """
        scored = self._score(batches)
        if scored is None:
            free_memory()
            scores = [self._engine.score(_requests(batch)) for batch in batches]
            decisions = in_halves(self._search, [*chain(*batches)], _joined, _halves)
            scored = scores, decisions
        scores, decisions = scored
        rest = iter(decisions)
        return [
            _with_decisions(score, [next(rest) for _ in batch])
            for score, batch in zip(scores, batches, strict=True)
        ]

    def _score(
        self, batches: Sequence[Sequence[WordRequest]]
    ) -> tuple[list[TokenScores], list[Decision]] | None:
        """Return the scores of batches and their decisions, or None if memory runs out."""
        try:
            scores, prefixes = self._keep(batches)
            return scores, self._decide(prefixes, [*chain(*batches)])
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _search(self, items: Sequence[WordRequest]) -> list[Decision]:
        """Decide about some requests; their prefixes are run again."""
        return self._decide(self._keep([items])[1], items)

    def _keep(self, batches: Sequence[Sequence[WordRequest]]) -> tuple[list[TokenScores], Prefixes]:
        """Score batches, and keep their prefixes with room for a word after each."""
        scores = []
        kept = []
        for batch in batches:
            requests = _requests(batch)
            cut = [self._cut(request) for request in requests]
            score, block = self._engine.score_and_keep(cut)
            is_cut = any(map(_differ, cut, requests))
            scores.append(self._engine.score(requests) if is_cut else score)
            kept.append(block)
        return scores, self._engine.prefixes(kept)

    def _cut(self, request: Request) -> Request:
        """Return a request whose prefix leaves room for a word.

        It loses tokens on the left, but not the start token that the tokenizer adds.
        """
        prefix, branches = request
        room = min(max(ROOM, len(branches[0])), self._context - 1)
        last = prefix[-(self._context - room) :]
        if self._added is not None and prefix[0] == self._added:
            last = np.concatenate([prefix[:1], last[1:]])
        return Request(last, branches)

    def _decide(self, prefixes: Prefixes, items: Sequence[WordRequest]) -> list[Decision]:
        searches = []
        for number, (request, answer) in enumerate(items):
            (own,) = request.branches
            longest = self._context - len(self._cut(request).prefix)
            searches.append(Search(number, answer, own, self._words, self._banned, longest))
        decide(prefixes, searches, self._words)
        return [Decision(search.is_right, search.is_undecided) for search in searches]


def _requests(batch: Sequence[WordRequest]) -> list[Request]:
    return [item.request for item in batch]


def _differ(cut: Request, request: Request) -> bool:
    return len(cut.prefix) < len(request.prefix)


def _halves(
    items: Sequence[WordRequest],
) -> tuple[Sequence[WordRequest], Sequence[WordRequest]]:
    """Split requests; raise MemoryError for a single one."""
    if len(items) == 1:
        raise MemoryError(items[0].request)
    middle = len(items) // 2
    return items[:middle], items[middle:]


def _joined(parts: Sequence[list[Decision]]) -> list[Decision]:
    return [*chain(*parts)]


def _with_decisions(scores: TokenScores, decisions: Sequence[Decision]) -> TokenScores:
    is_best_word, is_undecided = np.array(decisions, np.bool_).reshape(-1, 2).T
    return scores._replace(is_best_word=is_best_word, is_undecided=is_undecided)
