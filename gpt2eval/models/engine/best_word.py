"""The best whole word after a text: a beam search over a vocabulary's pieces, several texts at a time.

A word's first piece begins with a blank; the next ones go on; it ends where the next piece begins with a blank,
punctuation or a line end. Its score is log P(pieces | text) + log P(it ends | pieces, text). It knows pieces and
distributions, not how a model makes them.
"""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gpt2eval.types import Ids, Request

Next = Callable[
    [Sequence[Request]], Tensor
]  # what follows each branch, its last token set aside: logs, [branches, vocabulary]


class Hypothesis(NamedTuple):
    """The beginning of a word: log P of its pieces, and the pieces."""

    logprob: float
    pieces: tuple[int, ...] = ()


class Vocabulary:
    """Which pieces begin a word, go on with it, or end it: masks `[size]`; `others` (an end of text) end it too."""

    def __init__(
        self, pieces: Mapping[int, bytes], others: Sequence[int], size: int, device: torch.device
    ) -> None:
        self.pieces = pieces
        masks = np.zeros((3, size), np.bool_)
        for id_, piece in pieces.items():
            if id_ < size and id_ not in others and piece:
                masks[0, id_] = piece[:1] == b" " and (len(piece) == 1 or not _ends(piece[1:]))
                masks[1 + _ends(piece), id_] = True
        masks[2, [id_ for id_ in others if id_ < size]] = True
        self.begins, self.goes_on, self.ends = torch.from_numpy(masks).to(device)

    def word(self, pieces: Sequence[int]) -> str:
        """The word that pieces spell; nothing where they spell none."""
        try:
            text = b"".join(self.pieces[id_] for id_ in pieces).decode().strip(" ")
        except UnicodeDecodeError:
            return ""
        return text if any(c.isalnum() for c in text) else ""


def _ends(piece: bytes) -> bool:
    """Whether a piece begins with white space, punctuation or another sign; or with all but a last byte that makes it one."""
    if first := piece[:4].decode("utf-8", "ignore")[:1]:
        return _is_sign(first)
    begun = {(piece + bytes([last])).decode("utf-8", "ignore") for last in range(0x80, 0xC0)} - {""}
    return bool(begun) and all(map(_is_sign, begun))


def _is_sign(char: str) -> bool:
    return char.isspace() or unicodedata.category(char)[0] in "PSZC"


@dataclass(slots=True)
class Search:
    """One text's search: hypotheses that may still win, and the best word so far with its score."""

    prefix: Ids
    open: list[Hypothesis] = field(default_factory=lambda: [Hypothesis(0.0)])
    score: float = -np.inf
    word: str = ""

    def request(self) -> Request:
        """What is to be known next: what follows each open hypothesis (each ends in a token that stands for it)."""
        return Request(
            self.prefix,
            tuple(np.array([*hypothesis.pieces, 0], np.int32) for hypothesis in self.open),
        )

    def end(self, ending: Sequence[float], vocabulary: Vocabulary, banned: frozenset[str]) -> None:
        """End each open hypothesis here, with log P of that; keep the best word that is not in the list."""
        for hypothesis, logprob in zip(self.open, ending, strict=True):
            if hypothesis.logprob + logprob > self.score:
                word = vocabulary.word(hypothesis.pieces)
                if word and word.lower() not in banned:
                    self.score, self.word = hypothesis.logprob + logprob, word

    def go_on(
        self,
        logprobs: Sequence[Sequence[float]],
        pieces: Sequence[Sequence[int]],
        width: int,
        depth: int,
    ) -> None:
        """Take each open hypothesis one piece further; those stay open that could still win, the `width` likeliest."""
        longer = [
            Hypothesis(hypothesis.logprob + logprob, (*hypothesis.pieces, piece))
            for hypothesis, row, ids in zip(self.open, logprobs, pieces, strict=True)
            for logprob, piece in zip(row, ids, strict=True)
            if len(hypothesis.pieces) < depth and hypothesis.logprob + logprob > self.score
        ]
        self.open = sorted(longer, key=lambda hypothesis: -hypothesis.logprob)[:width]


def best_words(
    prefixes: Sequence[Ids],
    banned: frozenset[str],
    follows: Next,
    vocabulary: Vocabulary,
    width: int,
    depth: int,
) -> list[str]:
    """For each prefix the likeliest whole word that is not in the list (lower-cased), of at most `depth` pieces.

    At most `width` beginnings are followed at a time; those whose log P is below the best word's score cannot win.
    With a width beyond all beginnings the search is exact. Nothing is found where no word has any probability.
    """
    searches = [Search(prefix) for prefix in prefixes]
    first = True
    while active := [search for search in searches if search.open]:
        logprobs = follows([search.request() for search in active])
        sizes = [len(search.open) for search in active]
        allowed = vocabulary.begins if first else vocabulary.goes_on
        top = logprobs.masked_fill(~allowed, -torch.inf).topk(min(width, logprobs.shape[1]), dim=1)
        ending = logprobs.masked_fill(~vocabulary.ends, -torch.inf).logsumexp(1)
        rows = zip(*(part.split(sizes) for part in (ending, top.values, top.indices)), strict=True)
        for search, (ends, values, ids) in zip(active, rows, strict=True):
            if not first:
                search.end(ends.tolist(), vocabulary, banned)
            search.go_on(values.tolist(), ids.tolist(), width, depth)
        first = False
    return [search.word for search in searches]
