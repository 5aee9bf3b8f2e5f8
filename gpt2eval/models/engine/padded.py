"""The padded engine: one row per branch, padded on the right.

It calls the model as transformers documents, so it serves any architecture and is the reference
for the packed engine.
"""

from collections.abc import Sequence
from inspect import signature
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpt2eval.models.engine.prefixes import PrefixesAnew, Row
from gpt2eval.models.engine.scores import (
    collect,
    concatenate,
    depends_on_length,
    halving,
    score_targets,
)
from gpt2eval.types import Ids, Request, TokenScores

SEQUENCES = 8  # rows per forward pass


class PaddedEngine:
    """Scores one row per branch; a causal model's earlier positions do not see the padding.

    Where rows do affect each other, `alone` scores one at a time, without padding.
    """

    def __init__(self, model: Any, *, alone: bool = False) -> None:
        self.model = model
        alone = alone or depends_on_length(model.config.get_text_config())
        self.name = str(model.config._attn_implementation) + ("+single" if alone else "")
        self._takes_positions = "logits_to_keep" in signature(model.forward).parameters
        self._at_once = 1 if alone else SEQUENCES

    def score(self, batch: Sequence[Request]) -> TokenScores:
        """Score a batch, `SEQUENCES` rows per forward pass, or fewer where memory runs out."""
        rows = [Request(prefix, (branch,)) for prefix, branches in batch for branch in branches]
        parts = [rows[i : i + self._at_once] for i in range(0, len(rows), self._at_once)]
        return concatenate([halving(self._score, part) for part in parts])

    @torch.inference_mode()
    def _score(self, batch: Sequence[Request]) -> TokenScores:
        rows = [(prefix, branch) for prefix, (branch,) in batch]
        inputs = self._inputs([np.concatenate(row)[:-1] for row in rows])
        # The earliest position that predicts a target in any row: earlier logits are not needed.
        first = min(len(prefix) for prefix, _ in rows) - 1
        logits = self._logits(inputs, first)
        scores = []
        for row, (prefix, branch) in zip(logits, rows, strict=True):
            predicting = row[len(prefix) - 1 - first :][: len(branch)]
            scores.append(score_targets(predicting, torch.from_numpy(branch.astype(np.int64))))
        return collect(scores)

    def score_and_keep(self, batch: Sequence[Request]) -> tuple[TokenScores, list[Ids]]:
        """Score a batch; return its prefixes, too."""
        return self.score(batch), [prefix for prefix, _ in batch]

    def prefixes(self, kept: Sequence[list[Ids]]) -> PrefixesAnew:
        """Return the prefixes of several batches, to open beginnings of words after them."""
        return PrefixesAnew([*chain.from_iterable(kept)], self._last_logits, self._at_once)

    @torch.inference_mode()
    def _last_logits(self, rows: Sequence[Row]) -> list[Tensor]:
        """Return the logits after the last `asked` tokens of each row, `[asked, vocabulary]`."""
        first = min(len(ids) - asked for ids, asked in rows)
        logits = self._logits(self._inputs([ids for ids, _ in rows]), first)
        return [
            row[len(ids) - asked - first : len(ids) - first]
            for row, (ids, asked) in zip(logits, rows, strict=True)
        ]

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
        return torch.from_numpy(ids).to(self.model.device)
