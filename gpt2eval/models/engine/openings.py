"""Open beginnings of words: how the model may go on after each of them, in one transfer.

Knows pieces and distributions, not how a model computes them, and not what is searched for.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from gpt2eval.models.engine.vocabulary import Pieces


class Opening(NamedTuple):
    """A beginning of a word after a prefix, and the pieces that go on to spell the answer.

    `most` is how many of the most likely pieces are asked for.
    """

    prefix: int
    pieces: Pieces
    spellings: list[int]
    most: int


class Prefixes(Protocol):
    """Texts after which a model can open beginnings of words."""

    def logits(self, openings: Sequence[Opening]) -> Iterator[Tensor]:
        """Yield the logits of the next piece after each opening, `[some openings, vocabulary]`.

        A beginning is opened after its own beginnings, or in one call with them.
        """
        ...


class Words(Protocol):
    """The words that are searched for: which pieces may spell them, and how they end.

    `allowed` are the pieces that may come next, `[states, vocabulary]`, and `ends` those that end
    the word, `[vocabulary]`. Only the `top` most likely pieces count, if it is a number; their
    probabilities are divided by their sum.
    """

    allowed: Tensor
    ends: Tensor
    top: int | None

    def state(self, pieces: Pieces) -> int:
        """Return the row of `allowed` that applies after a beginning of a word."""
        ...

    def word(self, pieces: Pieces) -> str:
        """Return the word that pieces spell, or "" if they spell none."""
        ...

    def spells(self, pieces: Pieces, word: str) -> bool:
        """Return whether pieces spell a word, each of them allowed in its place."""
        ...

    def spellings(self, word: str, beginning: Pieces) -> list[int]:
        """Return the pieces with which a beginning goes on to spell a word."""
        ...


class Opened(NamedTuple):
    """How openings may go on: log P(the word ends), and log P of next pieces.

    `end` has shape `[openings]`. `logprobs` and `ids` are the most likely pieces in their order,
    `[openings, pieces]`; `spellings` are those that spell the answer, in the order of
    `Opening.spellings`.
    """

    end: np.ndarray
    logprobs: np.ndarray
    ids: np.ndarray
    spellings: np.ndarray


def look_up(prefixes: Prefixes, openings: Sequence[Opening], words: Words) -> Opened:
    """Return how openings may go on, with one transfer from the model's device."""
    most = max(len(opening.spellings) for opening in openings)
    spellings = np.zeros((len(openings), most), np.int64)
    for row, opening in zip(spellings, openings, strict=True):
        row[: len(opening.spellings)] = opening.spellings
    count = max(opening.most for opening in openings)
    device = words.ends.device
    spelled = torch.from_numpy(spellings).to(device)
    states = torch.tensor([words.state(opening.pieces) for opening in openings]).to(device)
    parts = []
    start = 0
    for logits in prefixes.logits(openings):
        rows = slice(start, start + len(logits))
        parts.append(_opened(logits.float(), states[rows], spelled[rows], count, words))
        start += len(logits)
    floats, ids = (torch.cat(column) for column in zip(*parts, strict=True))
    # Equal bits in one tensor of integers: one transfer instead of two.
    table = torch.cat([floats.view(torch.int32), ids.int()], 1).cpu().numpy()
    values = table[:, : floats.shape[1]].view(np.float32)
    end, spelled_values, logprobs = np.split(values, [1, 1 + most], 1)
    return Opened(end[:, 0], *_sorted(logprobs, table[:, floats.shape[1] :]), spelled_values)


def _opened(
    logits: Tensor, states: Tensor, spelled: Tensor, count: int, words: Words
) -> tuple[Tensor, Tensor]:
    """Return `[end, spellings, logprobs]` as float32, and the ids of the last.

    P(the word ends) sums over all pieces that end a word.
    """
    if words.top is not None:
        logits = _only_highest(logits, words.top)
    logprobs = logits.log_softmax(1)
    end = logprobs.masked_fill(~words.ends, -torch.inf).logsumexp(1, keepdim=True)
    highest, ids = _highest(logprobs.masked_fill(~words.allowed[states], -torch.inf), count)
    # Rounding must not lift a sum of probabilities above 1.
    return torch.cat([end.clamp(max=0.0), logprobs.gather(1, spelled), highest], 1), ids


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


def _only_highest(rows: Tensor, count: int) -> Tensor:
    """Return rows with the `count` highest values of each, and minus infinity elsewhere."""
    values, ids = _highest(rows, count)
    return torch.full_like(rows, -torch.inf).scatter(1, ids, values)


def _sorted(logprobs: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort each row by falling log-probability, then by ids."""
    order = np.lexsort((ids, -logprobs))
    return np.take_along_axis(logprobs, order, 1), np.take_along_axis(ids, order, 1)
