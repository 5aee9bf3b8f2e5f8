"""The packed engine: one forward pass over one row per batch.

The decoder runs once over the row of `layout.py`. The vocabulary projection is computed only at
scored positions, a few hundred rows at a time. `PackedEngine.if_equivalent` compares it with the
padded engine and refuses an architecture for which they disagree.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gpt2eval.models.engine import onednn
from gpt2eval.models.engine.layout import NAME, Layout, lay_out
from gpt2eval.models.engine.padded import PaddedEngine
from gpt2eval.models.engine.probe import HALF, Probe, spread_ids, states_agree, tolerance
from gpt2eval.models.engine.scores import (
    ROWS,
    collect,
    halving,
    score_targets,
)
from gpt2eval.models.engine.structure import plain_structure
from gpt2eval.models.engine.thread_invariant import make_activations_invariant
from gpt2eval.models.engine.trace import Trace
from gpt2eval.types import Ids, Request, TokenScores


class PackedEngine:
    """Scores a batch in one row, with the vocabulary projection at scored positions only."""

    name = "packed"

    def __init__(self, model: Any, evidence: Trace) -> None:
        self.model = model
        model.set_attn_implementation(NAME)
        self._decoder = evidence.decoder
        self._last_mlp = LastMlpAtScoredPositions.install(self._decoder, evidence.last_block)
        head = model.get_output_embeddings()
        self._head = _centred_head(head) if model.dtype in HALF else head

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

    def score(self, batch: Sequence[Request]) -> TokenScores:
        """Score a batch; if it does not fit into memory, score its halves."""
        return halving(self._score, batch)

    @torch.inference_mode()
    def _score(self, batch: Sequence[Request]) -> TokenScores:
        layout = lay_out(batch, self.model.device)
        hidden = self._hidden(layout, layout.read)
        rows = ROWS.get(hidden.device.type, 64)
        parts = zip(layout.read.split(rows), layout.targets.split(rows), strict=True)
        return collect(
            [score_targets(self._head(hidden[read]), targets) for read, targets in parts]
        )

    @torch.inference_mode()
    def next_token_logprobs(self, batch: Sequence[Request]) -> Tensor:
        """Return log P(next token | prefix, branch without its last token) for every branch.

        The result has shape `[branches, vocabulary]` and dtype float32.
        """
        layout = lay_out(batch, self.model.device)
        lengths = torch.tensor(
            [len(branch) for _, branches in batch for branch in branches], device=layout.read.device
        )
        read = layout.read[lengths.cumsum(0) - 1]
        return self._head(self._hidden(layout, read)[read]).float().log_softmax(1)

    def _hidden(self, layout: Layout, read: Tensor) -> Tensor:
        """Return the decoder's last states `[tokens, width]`; only those in `read` are valid."""
        if self._last_mlp is not None:
            self._last_mlp.positions = torch.unique(read)
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


def _centred_head(head: Any) -> nn.Module:
    """Return a vocabulary projection in half precision, with its rows' mean subtracted.

    Subtracting the same vector from all rows shifts all logits equally, which softmax ignores.
    GPT-2's logits lie around -30 to -100, where bfloat16 is coarse; centred they lie around 0.
    """
    weight = head.weight
    if weight.dtype not in HALF or type(weight.detach()) is not Tensor:
        return head
    wide = weight.float()
    centred = (wide - wide.mean(0)).to(weight.dtype)
    if onednn.supports(centred):
        return onednn.Linear(centred, head.bias)
    return _linear(centred, head.bias)


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Module:
    # On the meta device torch allocates and initializes nothing; the tensors are assigned below.
    layer = nn.Linear(*weight.shape[::-1], bias=bias is not None, device="meta")
    layer.requires_grad_(requires_grad=False)
    layer.load_state_dict(
        {"weight": weight} | ({} if bias is None else {"bias": bias}), assign=True
    )
    return layer


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


def run_decoder(decoder: Any, layout: Layout) -> Tensor:
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
