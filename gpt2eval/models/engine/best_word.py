"""Whether an answer is the most likely complete word after a text: an exact best-first search.

The score of a word is

    log P(pieces | text) + log P(the word ends | text, pieces)

Of equally likely words, the one with fewer pieces is the best, then the one whose ids come first.
The most likely beginnings of words are opened first: the model tells how each may go on. A
beginning that is no likelier than the best word so far is never opened, because log-probabilities
never increase with length. What remains unopened cannot change the decision, so it equals that of
an exhaustive search.

Knows pieces and distributions, not how a model computes them.
"""

from collections.abc import Sequence
from heapq import heappop, heappush
from math import inf
from typing import NamedTuple

import numpy as np

from gpt2eval.models.engine.openings import Opened, Opening, Prefixes, Words, look_up
from gpt2eval.models.engine.vocabulary import Pieces
from gpt2eval.types import Ids

MOST = 1000  # beginnings that are opened after one text at most, so more pieces never matter
FEW = 64  # next pieces that are asked for at first; after most beginnings they are enough
TOGETHER = 16  # beginnings that one call opens at least, if there are so many

# A negative score, the number of pieces, and the pieces: the lowest rank is the best. A beginning
# ranks by its log-probability, so no word ranks before its own beginnings.
Rank = tuple[float, int, Pieces]


class _Row(NamedTuple):
    """The next pieces after an opened beginning, the most likely first."""

    logprob: float
    pieces: Pieces
    logprobs: np.ndarray
    ids: np.ndarray

    def rank(self, number: int) -> Rank:
        """Return the rank of this beginning followed by its `number`-th next piece."""
        longer = (*self.pieces, int(self.ids[number]))
        return -(self.logprob + float(self.logprobs[number])), len(longer), longer


# A beginning that is not opened yet, by its rank. If a row lists it: the number of the row's next
# beginning, and the row.
_Waiting = tuple[Rank, int, _Row | None]


class Search:
    """The search after prefix `number`: the best word so far, and the beginnings to be opened.

    `own` are the answer's pieces in the text, which are opened first. A word has at most `longest`
    pieces. `banned` words are lower-cased and cannot be the best.
    """

    def __init__(
        self,
        number: int,
        answer: str,
        own: Ids,
        words: Words,
        banned: frozenset[str],
        longest: int,
    ) -> None:
        self.is_undecided = False
        self._number = number
        self._answer = answer
        self._own = tuple(own.tolist())
        self._words = words
        self._banned = banned
        self._longest = longest
        self._best: Rank = (inf, 0, ())
        self._is_rivalled = False  # the best word so far is not the answer
        self._logprobs: dict[Pieces, float] = {(): 0.0}
        self._opened: set[Pieces] = set()
        # The pieces that were listed after a beginning before it was opened again.
        self._listed: dict[Pieces, np.ndarray] = {}
        self._waiting: list[_Waiting] = []
        self._spellings: list[_Waiting] = []

    @property
    def is_right(self) -> bool:
        """Whether the best word so far is the answer."""
        return self._best[1] > 0 and not self._is_rivalled

    def first(self) -> list[Opening]:
        """Return the first openings: the empty beginning, and those of the answer's own pieces.

        Returns none if the answer is banned: then it is not the best word.
        """
        if self._answer.lower() in self._banned:
            return []
        is_spelled = self._words.spells(self._own, self._answer)
        lengths = range(min(len(self._own), self._longest) + 1 if is_spelled else 1)
        return [self._opening(self._own[:length]) for length in lengths]

    def next(self, count: int) -> list[Opening]:
        """Return the most likely beginnings that can change the decision, at most `count`.

        While the best word is not the answer, only other spellings of the answer can.
        """
        waiting = self._spellings if self._is_rivalled else self._waiting
        found: list[Opening] = []
        while waiting and waiting[0][0] < self._best and len(found) < count:
            (negative, _, pieces), number, row = heappop(waiting)
            if row is not None and number < len(row.ids):
                heappush(waiting, (row.rank(number), number + 1, row))
            elif row is not None and number == FEW and row.pieces not in self._listed:
                found.append(self._reopened(row))
            if pieces in self._opened:
                continue
            if len(self._opened) >= MOST:
                self.is_undecided = True
                return []
            self._logprobs[pieces] = -negative
            found.append(self._opening(pieces))
        return found

    def _opening(self, pieces: Pieces) -> Opening:
        self._opened.add(pieces)
        return Opening(self._number, pieces, self._words.spellings(self._answer, pieces), FEW)

    def _reopened(self, row: _Row) -> Opening:
        """Open a beginning again for all its pieces that a search can need."""
        self._logprobs[row.pieces] = row.logprob
        self._listed[row.pieces] = row.ids
        return Opening(self._number, row.pieces, [], MOST)

    def record(self, opening: Opening, opened: Opened, row: int) -> None:
        """Enter how an opening may end and go on: row `row` of `opened`."""
        pieces = opening.pieces
        logprob = self._logprobs.pop(pieces)
        self._end((-(logprob + float(opened.end[row])), len(pieces), pieces))
        if len(pieces) == self._longest:
            return
        following = _Row(logprob, pieces, opened.logprobs[row], opened.ids[row])
        if opening.most > FEW:
            # By their ids: rounding may differ between two openings, and with it the order.
            is_new = ~np.isin(following.ids, self._listed[pieces])
            following = _Row(logprob, pieces, following.logprobs[is_new], following.ids[is_new])
        if len(following.ids):
            heappush(self._waiting, (following.rank(0), 1, following))
        for id_, spelled in zip(opening.spellings, opened.spellings[row], strict=False):
            longer = (*pieces, id_)
            self._logprobs[longer] = logprob + float(spelled)
            heappush(self._spellings, ((-self._logprobs[longer], len(longer), longer), 0, None))

    def _end(self, rank: Rank) -> None:
        """End a word here; keep it if it is the best one and not banned."""
        if rank < self._best:
            word = self._words.word(rank[2])
            if word and word.lower() not in self._banned:
                self._best = rank
                self._is_rivalled = word != self._answer


def decide(prefixes: Prefixes, searches: Sequence[Search], words: Words) -> None:
    """Run searches to their end, all of them in each call of the model.

    Search i concerns prefix i.
    """
    openings = [opening for search in searches for opening in search.first()]
    while openings:
        opened = look_up(prefixes, openings, words)
        for row, opening in enumerate(openings):
            searches[opening.prefix].record(opening, opened, row)
        active = dict.fromkeys(opening.prefix for opening in openings)
        # A call of few rows takes as long as one of many, so the last searches open more at once.
        count = max(1, TOGETHER // len(active))
        openings = [opening for number in active for opening in searches[number].next(count)]
