"""A probe of a model: its first layers of each kind, in float32, on long texts of spread ids.

A small model is probed with all its layers.

Answers what no config states: whether later tokens change earlier predictions, whether rows can
share a padded pass, and how long an input may be.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpt2eval.errors import one_line
from gpt2eval.models.engine import onednn
from gpt2eval.models.engine.context import (
    longest_that_runs,
    stated_context,
    table_context,
    thresholds,
)
from gpt2eval.models.engine.shadow import shadow_copy, shallow_copy, weights
from gpt2eval.models.engine.trace import decoder_of
from gpt2eval.models.load_errors import is_out_of_memory
from gpt2eval.types import Ids

HALF = (torch.bfloat16, torch.float16)
WHOLE = 2048  # tokens of the longest context that is probed as a whole
USUAL = 1024  # tokens of a probe of a longer context, if the config names no threshold
LONGEST = 4608  # tokens of a probe at most
MARGIN = 64  # tokens beyond the highest threshold
FLOPS = 1e11  # of one pass over a probe; a threshold may take twice as many
SHORTEST = 64
MISRUNS = (IndexError, RuntimeError, ValueError)  # what an input that is too long raises


def spread_ids(count: int, vocabulary: int) -> Ids:
    """Return ids that are spread over the vocabulary."""
    return (np.arange(1, count + 1, dtype=np.int64) * 7919 % vocabulary).astype(np.int32)


def tolerance(dtype: torch.dtype) -> float:
    """Return by how many nats two log-probabilities of one token may differ in a dtype."""
    return 0.3 if dtype in HALF else 1e-4


def states_agree(states: Tensor, expected: Tensor) -> bool:
    """Return whether rows of states `[tokens, width]` are equal up to rounding of their dtype.

    Logits may be shifted by a constant, so each row is compared around its mean. Rounding may send
    a token to another expert, so a few rows may differ: 0.5 %, in half precision 10 %.
    """
    half = expected.dtype in HALF
    wide, right = (x.float() - x.float().mean(1, keepdim=True) for x in (states, expected))
    allowed = (0.05 if half else 1e-4) * right.norm(dim=1) + 1e-6
    differing = ~((wide - right).norm(dim=1) <= allowed)
    return int(differing.sum()) <= len(states) * (0.1 if half else 0.005)


@dataclass(frozen=True, slots=True)
class Rows:
    """Whether later tokens leave earlier predictions alone, and padding the other rows."""

    causal: bool
    neutral: bool


class Probe:
    """The first layers of a model in float32, and a text of spread ids that fits its context.

    `model` is the original; `decoder` is the shallow copy. `context` is the usable context.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        config = model.config.get_text_config()
        self._vocabulary: int = config.vocab_size
        self._avoid = getattr(config, "pad_token_id", None)
        self._thresholds = thresholds(model.config)
        self.decoder: Any = self._shallow_decoder()
        self._weights = weights(self.decoder)
        self._use_fast_layers()
        self.context = stated_context(config)
        self.length = 1
        self.failure = ""
        self._find_context()

    @property
    def unreached(self) -> dict[str, int]:
        """The thresholds in the config that lie within the context but beyond the probe."""
        return {
            key: value
            for key, value in self._thresholds.items()
            if self.length <= value < self.context
        }

    @property
    def text(self) -> Ids:
        """The text, `[length]`."""
        return self._allowed(spread_ids(self.length, self._vocabulary))

    @cached_property
    def states(self) -> Tensor:
        """The states after the text alone, `[length, width]`."""
        return self.run([self.text])[0]

    @property
    def part(self) -> int:
        """The length of a shorter text: the first two thirds of the text."""
        return max(1, self.length * 2 // 3)

    @cached_property
    def part_states(self) -> Tensor:
        """The states after the shorter text alone, `[part, width]`."""
        return self.run([self.text[: self.part]])[0]

    @cached_property
    def rows(self) -> Rows:
        """Compare a padded pass over two rows with passes over each row alone.

        One row is shorter; the other continues differently from its middle on.
        """
        middle = self.length // 2
        changed = self.text.copy()
        changed[middle:] = self._allowed((changed[middle:] + 1) % self._vocabulary)
        try:
            shorter, other = self.run([self.text[: self.part], changed])
        except MISRUNS:  # a model of single rows
            shorter = other = self.states[:0]
        neutral = len(shorter) > 0 and states_agree(shorter[: self.part], self.part_states)
        if neutral and states_agree(other[:middle], self.states[:middle]):
            return Rows(causal=True, neutral=True)
        # Rows that affect each other can look like foresight, so look at the other row alone.
        alone = self.run([changed])[0]
        return Rows(
            causal=states_agree(alone[:middle], self.states[:middle]),
            neutral=neutral and states_agree(other, alone),
        )

    def forget(self) -> None:
        """Give up the shallow copy and its states, which take memory; the answers remain."""
        self.decoder = self.model
        for name in ("states", "part_states"):
            vars(self).pop(name, None)

    @torch.inference_mode()
    def run(self, rows: Sequence[Ids]) -> Tensor:
        """Return the states `[rows, longest, width]` of rows that are padded with zeros."""
        ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
        for padded, row in zip(ids, rows, strict=True):
            padded[: len(row)] = row
        inputs = torch.from_numpy(ids).to(self.model.device)
        out = self.decoder(input_ids=inputs, use_cache=False)
        states = getattr(out, "last_hidden_state", None)
        return states if isinstance(states, Tensor) else out.logits

    def _shallow_decoder(self) -> Any:
        """Return a shallow copy of the decoder whose states the output layer reads.

        Without such a decoder, a shallow copy of the complete model; if neither runs, the model.
        """
        if not hasattr(self.model, "base_model"):
            return self.model
        ids = torch.from_numpy(self._allowed(spread_ids(2, self._vocabulary)).astype(np.int64))
        for choose in (
            lambda: decoder_of(self.model, ids[None].to(self.model.device)),
            lambda: self.model,
        ):
            try:
                self.decoder = shallow_copy(choose())
                self._run_length(2)
            except Exception:
                continue
            return self.decoder
        return self.model

    def _use_fast_layers(self) -> None:
        """Compute the shallow copy's linear layers by oneDNN, if it runs so."""
        plain = self.decoder
        if any(module is plain for module in self.model.modules()):
            return  # no copy
        self.decoder = shadow_copy(plain, hooks=True)
        try:
            onednn.replace_layers(self.decoder, release=False)
            self._run_length(2)
        except Exception:
            self.decoder = plain

    def _run_length(self, length: int) -> None:
        # The highest id is the same at every length, so that only positions grow.
        self.run([np.resize(self._allowed(spread_ids(4, self._vocabulary)), length)])

    def _allowed(self, ids: Ids) -> Ids:
        """Replace the padding token, which some models skip; some take 0 for it."""
        for avoided in (0, self._avoid):
            ids = np.where(ids == avoided, (ids + 2) % self._vocabulary, ids)
        return ids

    def _find_context(self) -> None:
        """Find the usable context and the probe's length; both shrink if that length fails."""
        try:
            self.context = min(self.context, table_context(self._run_length))
        except MISRUNS:
            self.context = min(self.context, USUAL)  # a table of a few rows, found below
        self.length = self._length()
        try:
            _ = self.states
        except MISRUNS as error:
            if is_out_of_memory(error):
                raise MemoryError from error
            self.failure = one_line(error)
            self.context = longest_that_runs(self._run_length, self.length)
            self.length = self._length()

    def _length(self) -> int:
        """Return how long the text is: beyond every threshold, as far as that is affordable."""
        within = [
            value + MARGIN for value in self._thresholds.values() if value + MARGIN <= LONGEST
        ]
        wanted = min(max(within, default=0), self._affordable(2 * FLOPS))
        usual = USUAL if self.context > WHOLE else self.context
        return min(self.context, max(wanted, min(usual, self._affordable(FLOPS))))

    def _affordable(self, flops: float) -> int:
        return max(SHORTEST, int(flops / (2 * max(1, self._weights))))
