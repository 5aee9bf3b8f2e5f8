"""The packed engine: one forward pass over one row per batch.

The decoder runs once over the row of `layout.py`. The vocabulary projection is computed only at
scored positions, a few hundred rows at a time. `PackedEngine.if_equivalent` compares it with the
padded engine and refuses an architecture for which they disagree.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gpt2eval.models.engine import onednn
from gpt2eval.models.engine.head import centred_head
from gpt2eval.models.engine.kept import Block, Continuation
from gpt2eval.models.engine.layout import NAME, Layout, attend, lay_out
from gpt2eval.models.engine.padded import PaddedEngine
from gpt2eval.models.engine.prefixes import KeptPrefixes
from gpt2eval.models.engine.probe import HALF, Probe, spread_ids, states_agree, tolerance
from gpt2eval.models.engine.scores import ROWS, Pending, halving, score_positions
from gpt2eval.models.engine.structure import plain_structure
from gpt2eval.models.engine.thread_invariant import make_activations_invariant
from gpt2eval.models.engine.trace import Trace
from gpt2eval.types import Ids, Request, TokenScores

Row = Layout | Continuation  # what passes through the decoder


class PackedEngine:
    """Scores a batch in one row, with the vocabulary projection at scored positions only."""

    name = "packed"

    def __init__(self, model: Any, evidence: Trace) -> None:
        self.model = model
        model.set_attn_implementation(NAME)
        self._decoder = evidence.decoder
        self._last_mlp = LastMlpAtScoredPositions.install(self._decoder, evidence.last_block)
        head = model.get_output_embeddings()
        self._head = centred_head(head) if model.dtype in HALF else head

    @classmethod
    def if_equivalent(
        cls,
        model: Any,
        padded: PaddedEngine,
        *,
        live: bool = False,
        probe: Probe | None = None,
    ) -> "PackedEngine | None":
        """Return the packed engine of a model, or None if nothing proves that it fits.

        A model must show by its structure that `attend` computes its attention (see `trace.py`).
        Then its first layers must compute the same states in float32 from a packed row as from
        each part alone, at lengths beyond every threshold in its config. Finally a short text and
        its beginnings must get the same scores from the complete model. The weights of a `live`
        model, one in training, are not rearranged, because that would copy them.
        """
        probe = probe or Probe(model)
        evidence = plain_structure(model, probe)
        if evidence is None or not _packs(probe):
            return None
        probe.forget()
        original_attention = padded.model.config._attn_implementation
        text = spread_ids(min(18, probe.context + 1), model.config.get_text_config().vocab_size)
        requests = _requests(text)
        whole = padded.score([Request(text[:1], (text[1:],))]).logprobs
        expected = np.concatenate(
            [whole[len(r.prefix) - 1 :][: len(b)] for r in requests for b in r.branches]
        )
        if not live:
            onednn.replace_layers(model)
        make_activations_invariant(model)
        atol = tolerance(model.dtype)
        try:
            engine = cls(model, evidence)
            if np.allclose(engine.score(requests).logprobs, expected, atol=atol, rtol=0):
                return engine
        except (TypeError, ValueError, AttributeError, RuntimeError, KeyError, IndexError):
            pass
        LastMlpAtScoredPositions.remove(model)
        model.set_attn_implementation(original_attention)
        return None

    def score(self, batch: Sequence[Request], starts: Ids | None = None) -> TokenScores:
        """Score a batch; if it does not fit into memory, score its halves.

        With the ids `starts`, also returns the log-probability of all of them as `log_starts`.
        """
        return self.launch(batch, starts)()

    def launch(self, batch: Sequence[Request], starts: Ids | None = None) -> Pending:
        """Start scoring a batch; on a GPU the host does not wait."""
        launch = self._launch if starts is None else partial(self._launch, starts=starts)
        return halving(launch, batch)

    @torch.inference_mode()
    def _launch(self, batch: Sequence[Request], starts: Ids | None = None) -> Pending:
        layout = lay_out(batch, self.model.device)
        return self._scores(self._hidden(layout, layout.distinct), layout, starts)

    def _scores(self, hidden: Tensor, layout: Layout, starts: Ids | None = None) -> Pending:
        return score_positions(
            lambda positions: self._head(hidden[positions]), layout.read, layout.targets, starts
        )

    @torch.inference_mode()
    def score_and_keep(self, batch: Sequence[Request]) -> tuple[TokenScores, Block]:
        """Score requests with one branch each, and keep the keys and values of attention."""
        layout = lay_out(batch, self.model.device)
        block = Block(batch, partial(attend, mask=None, layout=layout))
        hidden = self._hidden(replace(layout, attends=block.attends), layout.distinct)
        block.states = hidden[layout.read]
        return self._scores(hidden, layout)(), block

    def prefixes(self, blocks: Sequence[Block]) -> KeptPrefixes:
        """Return kept prefixes, to open beginnings of words after them."""
        return KeptPrefixes(blocks, self._hidden, self._head, ROWS.get(self.model.device.type, 64))

    def _hidden(self, layout: Row, positions: Tensor) -> Tensor:
        """Return the decoder's last states `[tokens, width]`, valid at distinct positions only."""
        if self._last_mlp is not None:
            self._last_mlp.positions = positions
        return run_decoder(self._decoder, layout)


class LastMlpAtScoredPositions(nn.Module):
    """The last layer's feed-forward block, computed only at the `positions` read afterwards.

    After the last attention, no position affects another, so the others can be skipped.
    """

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block
        self.positions: Tensor = torch.empty(0)

    def forward(self, hidden: Tensor) -> Tensor:
        out = torch.zeros_like(hidden)
        out[:, self.positions] = self.block(hidden[:, self.positions])
        return out

    @classmethod
    def install(cls, decoder: nn.Module, name: str) -> "LastMlpAtScoredPositions | None":
        """Wrap the block of that name. Returns None for no name."""
        if not name:
            return None
        wrapper = cls(decoder.get_submodule(name))
        decoder.set_submodule(name, wrapper)
        return wrapper

    @classmethod
    def remove(cls, model: nn.Module) -> None:
        """Restore the original blocks."""
        for name, module in [*model.named_modules()]:
            if isinstance(module, cls):
                model.set_submodule(name, module.block)


def _packs(probe: Probe) -> bool:
    """Return whether a probe computes the same states from a packed row as from each part alone.

    The row holds two short texts, and a fork whose branches are the rest of the whole text and a
    beginning of it.
    """
    text, part = probe.text, probe.part
    short = -(-part // 8)
    branch = text[part:]
    target = text[:1]
    run = Request(text[:1], (np.append(text[1:short], target),))
    fork = Request(text[:part], (np.append(branch, target), np.append(branch[:9], target)))
    layout = lay_out([run, run, fork], probe.model.device)
    decoder = probe.decoder
    original = decoder.config._attn_implementation
    try:
        decoder.set_attn_implementation(NAME)
        with torch.inference_mode():
            states = run_decoder(decoder, layout)
    except (TypeError, ValueError, AttributeError, RuntimeError, KeyError, IndexError):
        return False
    finally:
        decoder.set_attn_implementation(original)
    start = 2 * short
    whole = start + len(text)
    return (
        states_agree(states[:start], probe.part_states[:short].repeat(2, 1))
        and states_agree(states[start:whole], probe.states)
        and states_agree(states[whole:], probe.states[part : part + 9])
    )


def run_decoder(decoder: Any, layout: Row) -> Tensor:
    """Return a decoder's last states `[tokens, width]` over a layout."""
    return decoder(
        input_ids=layout.ids[None],
        position_ids=layout.positions[None],
        layout=layout,
        use_cache=False,
    ).last_hidden_state[0]


def _requests(text: Ids) -> list[Request]:
    """Return a fork, a single token and two runs, all of them beginnings of a short text."""
    lengths = [(9, (14, 10, 12)), (1, (2,)), (8, (18,)), (2, (18,))]
    return [
        Request(text[:prefix], tuple(text[prefix:stop] for stop in stops))
        for prefix, stops in lengths
        if max(stops) <= len(text)
    ]
