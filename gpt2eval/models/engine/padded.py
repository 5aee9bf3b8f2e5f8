"""The padded engine: sequences padded on the right, one row per branch."""

from collections.abc import Sequence
from inspect import signature
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpt2eval.models.engine.scores import (
    collect,
    concatenate,
    depends_on_length,
    halving,
    score_targets,
)
from gpt2eval.types import Request, TokenScores

SEQUENCES = 8  # padded sequences computed at once


class PaddedEngine:
    """Sequences padded on the right, which a causal model's earlier positions do not see; a row per branch."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.name = str(model.config._attn_implementation)
        self._takes_positions = "logits_to_keep" in signature(model.forward).parameters
        self._at_once = 1 if depends_on_length(model.config.get_text_config()) else SEQUENCES

    def score(self, batch: Sequence[Request]) -> TokenScores:
        """The scores of a batch, `SEQUENCES` branches at a time; where these do not fit into memory, halves of them."""
        rows = [Request(prefix, (branch,)) for prefix, branches in batch for branch in branches]
        some = [rows[i : i + self._at_once] for i in range(0, len(rows), self._at_once)]
        return concatenate([halving(self._score, part) for part in some])

    @torch.inference_mode()
    def _score(self, batch: Sequence[Request]) -> TokenScores:
        rows = [(prefix, branch) for prefix, (branch,) in batch]
        width = max(len(prefix) + len(branch) - 1 for prefix, branch in rows)
        ids = np.zeros((len(rows), width), np.int64)
        for row, (prefix, branch) in zip(ids, rows, strict=True):
            row[: len(prefix) + len(branch) - 1] = np.concatenate([prefix, branch])[:-1]
        first = min(len(prefix) for prefix, _ in rows) - 1
        inputs = torch.from_numpy(ids).to(self.model.device)
        if self._takes_positions:
            keep = torch.arange(first, width, device=self.model.device)
            logits = self.model(input_ids=inputs, use_cache=False, logits_to_keep=keep).logits
        else:
            logits = self.model(input_ids=inputs, use_cache=False).logits[:, first:]
        scores = [
            score_targets(
                logits[i, len(prefix) - 1 - first :][: len(branch)],
                torch.from_numpy(branch.astype(np.int64)),
            )
            for i, (prefix, branch) in enumerate(rows)
        ]
        return collect(scores)

    @torch.inference_mode()
    def following(self, batch: Sequence[Request]) -> Tensor:
        """log P of whatever follows each branch, its last token set aside: `[branches, vocabulary]`, float32."""
        rows = [
            np.concatenate([prefix, branch])[:-1]
            for prefix, branches in batch
            for branch in branches
        ]
        made = []
        for at in range(0, len(rows), self._at_once):
            some = rows[at : at + self._at_once]
            ids = np.zeros((len(some), max(map(len, some))), np.int64)
            for line, row in zip(ids, some, strict=True):
                line[: len(row)] = row
            logits = self.model(
                input_ids=torch.from_numpy(ids).to(self.model.device), use_cache=False
            ).logits
            ends = torch.tensor([len(row) - 1 for row in some], device=logits.device)
            made.append(
                logits[torch.arange(len(some), device=logits.device), ends].float().log_softmax(1)
            )
        return torch.cat(made)
