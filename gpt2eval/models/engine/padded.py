"""The padded engine: one row per branch, padded on the right.

It calls the model as transformers documents, so it serves any architecture and is the reference
for the packed engine.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from inspect import signature
from itertools import chain
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from gpt2eval.models.engine.prefixes import PrefixesAnew, Row
from gpt2eval.models.engine.scores import (
    Pending,
    depends_on_length,
    halving,
    joined,
    score_positions,
)
from gpt2eval.models.engine.segments import to_device
from gpt2eval.types import Ids, Request, TokenScores

Item = TypeVar("Item")


class Limits(NamedTuple):
    """The most that a forward pass holds: rows, tokens with padding, and rows of logits."""

    rows: int
    tokens: int = sys.maxsize
    logits: int = sys.maxsize


class Extent(NamedTuple):
    """The size of a pass: its rows, the longest of them, and the first position with logits."""

    rows: int = 0
    longest: int = 0
    first: int = sys.maxsize

    def extended(self, length: int, first: int) -> "Extent":
        """Return the extent with one more row."""
        return Extent(self.rows + 1, max(self.longest, length), min(self.first, first))

    def is_within(self, limits: Limits) -> bool:
        """Return whether a pass of this size is allowed."""
        return (
            self.rows <= limits.rows
            and self.rows * self.longest <= limits.tokens
            and self.rows * (self.longest - self.first) <= limits.logits
        )


# A CPU is busy with 8 rows. A GPU needs as many tokens as the packed engine gives it; its logits,
# at 50,257 ids in float32, then take 1.6 GB.
LIMITS = {"cuda": Limits(sys.maxsize, tokens=32768, logits=8192)}
CPU_LIMITS = Limits(rows=8)


class PaddedEngine:
    """Scores one row per branch; a causal model's earlier positions do not see the padding.

    Where rows do affect each other, `alone` scores one at a time, without padding.
    """

    def __init__(self, model: Any, *, alone: bool = False) -> None:
        self.model = model
        alone = alone or depends_on_length(model.config.get_text_config())
        self.name = str(model.config._attn_implementation) + ("+single" if alone else "")
        self._takes_positions = "logits_to_keep" in signature(model.forward).parameters
        self._alone = alone

    def score(self, batch: Sequence[Request], starts: Ids | None = None) -> TokenScores:
        """Score a batch in passes that `LIMITS` bounds, or smaller ones where memory runs out.

        With the ids `starts`, also returns the log-probability of all of them as `log_starts`.
        """
        return self.launch(batch, starts)()

    def launch(self, batch: Sequence[Request], starts: Ids | None = None) -> Pending:
        """Start scoring a batch; on a GPU the host does not wait."""
        rows = [Request(prefix, (branch,)) for prefix, branches in batch for branch in branches]
        launch = self._launch if starts is None else partial(self._launch, starts=starts)
        return joined([halving(launch, part) for part in self._passes(rows, _of_request)])

    def _passes(
        self, rows: Sequence[Item], inputs: Callable[[Item], tuple[int, int]]
    ) -> Iterator[list[Item]]:
        """Group rows, in order, into passes.

        `inputs` returns the length of a row, and its first position whose logits are asked for.
        """
        limits = LIMITS.get(self.model.device.type, CPU_LIMITS)
        if self._alone:
            limits = Limits(rows=1)
        part: list[Item] = []
        extent = Extent()
        for row in rows:
            length, first = inputs(row)
            if not self._takes_positions:
                first = 0
            larger = extent.extended(length, first)
            if part and not larger.is_within(limits):
                yield part
                part = []
                larger = Extent().extended(length, first)
            part.append(row)
            extent = larger
        yield part

    @torch.inference_mode()
    def _launch(self, batch: Sequence[Request], starts: Ids | None = None) -> Pending:
        rows = [(prefix, branch) for prefix, (branch,) in batch]
        inputs = self._inputs([np.concatenate(row)[:-1] for row in rows])
        # The earliest position that predicts a target in any row: earlier logits are not needed.
        first = min(len(prefix) for prefix, _ in rows) - 1
        logits = self._logits(inputs, first)
        kept = logits.shape[1]
        read = [
            i * kept + len(prefix) - 1 - first + np.arange(len(branch))
            for i, (prefix, branch) in enumerate(rows)
        ]
        parts = [np.concatenate(read), np.concatenate([branch for _, branch in rows])]
        positions, targets = to_device(parts, logits.device)
        every = logits.flatten(0, 1)
        return score_positions(lambda some: every[some], positions, targets, starts)

    def score_and_keep(self, batch: Sequence[Request]) -> tuple[TokenScores, list[Ids]]:
        """Score a batch; return its prefixes, too."""
        return self.score(batch), [prefix for prefix, _ in batch]

    def prefixes(self, kept: Sequence[list[Ids]]) -> PrefixesAnew:
        """Return the prefixes of several batches, to open beginnings of words after them."""
        return PrefixesAnew([*chain.from_iterable(kept)], self._last_logits)

    @torch.inference_mode()
    def _last_logits(self, rows: Sequence[Row]) -> Iterator[Tensor]:
        """Yield the logits after the last `asked` tokens of each row, `[asked, vocabulary]`.

        The rows of a pass come together, one after the other.
        """
        for part in self._passes(rows, _of_row):
            first = min(len(ids) - asked for ids, asked in part)
            logits = self._logits(self._inputs([ids for ids, _ in part]), first)
            yield torch.cat(
                [
                    row[len(ids) - asked - first : len(ids) - first]
                    for row, (ids, asked) in zip(logits, part, strict=True)
                ]
            )

    def _logits(self, inputs: Tensor, first: int) -> Tensor:
        """Return the logits of each row from position `first` on."""
        if self._takes_positions:
            keep = torch.arange(first, inputs.shape[1], device=self.model.device)
            return self.model(input_ids=inputs, use_cache=False, logits_to_keep=keep).logits
        return self.model(input_ids=inputs, use_cache=False).logits[:, first:]

    def _inputs(self, rows: Sequence[np.ndarray]) -> Tensor:
        """Return rows of token ids as one tensor `[rows, longest]`, padded with zeros."""
        ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
        for padded, row in zip(ids, rows, strict=True):
            padded[: len(row)] = row
        (flat,) = to_device([ids.reshape(-1)], self.model.device)
        return flat.view(ids.shape)


def _of_request(row: Request) -> tuple[int, int]:
    prefix, (branch,) = row
    return len(prefix) + len(branch) - 1, len(prefix) - 1


def _of_row(row: Row) -> tuple[int, int]:
    return len(row.ids), len(row.ids) - row.asked
