"""The most likely complete word after a text: a beam search over vocabulary pieces.

A word's first piece begins with a space. Further pieces continue the word, up to a piece
that begins with a space, punctuation or a line end. The score of a word is

    log P(pieces | text) + log P(the word ends | text, pieces)

Of equally likely words, the one with fewer pieces is the best, then the one whose ids come first.

Knows pieces and distributions, not how a model computes them.
"""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gpt2eval.models.engine.scores import in_halves
from gpt2eval.types import Ids, Request

# log P of the token in the place of each branch's last one, `[branches, vocabulary]`.
NextTokenLogprobs = Callable[[Sequence[Request]], Tensor]


class Candidates(NamedTuple):
    """How each branch may go on: log P(the word ends), and the most likely next pieces.

    `end` has shape `[branches]`; `logprobs` and `ids` have shape `[branches, candidates]`.
    """

    end: Tensor
    logprobs: Tensor
    ids: Tensor


class Hypothesis(NamedTuple):
    """The beginning of a word: the sum of its pieces' log-probabilities, and the pieces."""

    logprob: float
    pieces: tuple[int, ...] = ()


class Vocabulary:
    """Masks `[size]` over the vocabulary: the pieces that start, continue and end a word.

    `pieces` maps ids to bytes. `specials` are ids without text, such as end-of-text;
    they end a word.
    """

    def __init__(
        self, pieces: Mapping[int, bytes], specials: Sequence[int], size: int, device: torch.device
    ) -> None:
        self.pieces = pieces
        masks = np.zeros((3, size), np.bool_)
        starts, continues, ends = masks
        for id_, piece in pieces.items():
            if id_ < size and id_ not in specials and piece:
                is_boundary = _begins_with_boundary(piece)
                # A lone space may start a word whose letters follow in the next piece.
                starts[id_] = piece[:1] == b" " and (
                    len(piece) == 1 or not _begins_with_boundary(piece[1:])
                )
                continues[id_] = not is_boundary
                ends[id_] = is_boundary
        ends[[id_ for id_ in specials if id_ < size]] = True
        self.starts, self.continues, self.ends = torch.from_numpy(masks).to(device)

    def word(self, pieces: Sequence[int]) -> str:
        """Return the word that pieces spell, or "" if they spell none."""
        try:
            text = b"".join(self.pieces[id_] for id_ in pieces).decode().strip(" ")
        except UnicodeDecodeError:
            return ""
        return text if any(char.isalnum() for char in text) else ""


def _begins_with_boundary(piece: bytes) -> bool:
    """Return whether a piece begins with a character that cannot be part of a word.

    A piece may lack the last byte of its first character; then every completion must be such a
    character. GPT-2 splits typographic quotation marks like this.
    """
    if first := piece[:4].decode("utf-8", "ignore")[:1]:
        return _is_boundary(first)
    # 0x80 to 0xBF are the bytes that can continue a character in UTF-8.
    completed = {(piece + bytes([last])).decode("utf-8", "ignore") for last in range(0x80, 0xC0)}
    completed.discard("")
    return bool(completed) and all(map(_is_boundary, completed))


def _is_boundary(char: str) -> bool:
    # Unicode categories: P punctuation, S symbol, Z separator, C control.
    return char.isspace() or unicodedata.category(char)[0] in "PSZC"


@dataclass(slots=True)
class WordSearch:
    """The beam search after one prefix: its open hypotheses, and the best word so far."""

    prefix: Ids
    open: list[Hypothesis] = field(default_factory=lambda: [Hypothesis(0.0)])
    word: str = ""
    # The best word's negative score, number of pieces, and pieces: the lowest rank is the best.
    rank: tuple[float, int, tuple[int, ...]] = (np.inf, 0, ())

    def request(self) -> Request:
        """Return the request for the next token of every open hypothesis.

        Each branch ends in a placeholder, because a branch's last token is not an input.
        """
        branches = [np.array([*hypothesis.pieces, 0], np.int32) for hypothesis in self.open]
        return Request(self.prefix, tuple(branches))

    def finish(
        self, end_logprobs: Sequence[float], vocabulary: Vocabulary, banned: frozenset[str]
    ) -> None:
        """End each open hypothesis here; keep the best word that is not banned."""
        for hypothesis, logprob in zip(self.open, end_logprobs, strict=True):
            pieces = hypothesis.pieces
            rank = (-(hypothesis.logprob + logprob), len(pieces), pieces)
            if rank < self.rank:
                word = vocabulary.word(pieces)
                if word and word.lower() not in banned:
                    self.rank = rank
                    self.word = word

    def extend(
        self,
        logprobs: Sequence[Sequence[float]],
        pieces: Sequence[Sequence[int]],
        width: int,
        depth: int,
    ) -> None:
        """Extend each open hypothesis by one piece; keep the `width` most likely.

        Log-probabilities never increase with length, so a hypothesis that is no likelier than the
        best word can never win and is dropped.
        """
        score = -self.rank[0]
        longer = []
        for hypothesis, row, ids in zip(self.open, logprobs, pieces, strict=True):
            if len(hypothesis.pieces) >= depth:
                continue
            for logprob, piece in zip(row, ids, strict=True):
                total = hypothesis.logprob + logprob
                if total > score:
                    longer.append(Hypothesis(total, (*hypothesis.pieces, piece)))
        self.open = sorted(longer, key=lambda h: (-h.logprob, h.pieces))[:width]


def best_words(
    prefixes: Sequence[Ids],
    banned: frozenset[str],
    next_token_logprobs: NextTokenLogprobs,
    vocabulary: Vocabulary,
    width: int,
    depth: int,
) -> list[str]:
    """Return the most likely complete word after each prefix that is not banned.

    `banned` words are lower-cased. The beam holds `width` hypotheses of at most `depth` pieces;
    the search is exact if the beam holds all of them. Returns "" for a prefix that no word can
    follow. Raises MemoryError(request) for a hypothesis that does not fit into memory.
    """
    searches = [WordSearch(prefix) for prefix in prefixes]
    allowed = vocabulary.starts

    def candidates(batch: Sequence[Request]) -> Candidates:
        logprobs = next_token_logprobs(batch)
        # P(the word ends) sums over all pieces that end a word.
        end = logprobs.masked_fill(~vocabulary.ends, -torch.inf).logsumexp(1)
        # No hypothesis needs more than `width` candidates: the beam keeps `width` in total.
        return Candidates(end, *_highest(logprobs.masked_fill(~allowed, -torch.inf), width))

    while active := [search for search in searches if search.open]:
        # One call for all prefixes: row i of the result belongs to the i-th open hypothesis.
        rows = in_halves(candidates, [search.request() for search in active], _join)
        sizes = [len(search.open) for search in active]
        parts = zip(active, *(column.split(sizes) for column in rows), strict=True)
        for search, end_logprobs, values, ids in parts:
            search.finish(end_logprobs.tolist(), vocabulary, banned)
            search.extend(values.tolist(), ids.tolist(), width, depth)
        allowed = vocabulary.continues
    return [search.word for search in searches]


def _highest(rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the `count` highest values of each row, and their ids; of equal values the lowest ids.

    torch.topk chooses arbitrarily among values equal to the last one that it returns.
    """
    size = rows.shape[1]
    if count >= size:
        return rows, torch.arange(size, device=rows.device).expand_as(rows)
    values, ids = rows.topk(count + 1, dim=1)
    is_cut = (values[:, count - 1] == values[:, count]) & values[:, count].isfinite()
    cut = is_cut.nonzero()[:, 0]
    ids[cut, :count] = rows[cut].sort(dim=1, descending=True, stable=True).indices[:, :count]
    return values[:, :count], ids[:, :count]


def _join(parts: Sequence[Candidates]) -> Candidates:
    return Candidates(*(torch.cat(column) for column in zip(*parts, strict=True)))
