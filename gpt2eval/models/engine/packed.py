"""How a causal LM computes a batch of requests: packed where its architecture allows, padded where not.

Both give the same scores. `PackedEngine` runs the decoder once over one row of tokens (see `packed.py`) and projects onto
the vocabulary only where something is scored, a few hundred rows at a time; `PaddedEngine` calls the model as anybody
would. `PackedEngine.of` compares the two on a short text and says whether the fast one may be used.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gpt2eval.models.engine import onednn
from gpt2eval.models.engine.layout import NAME, Layout, lay_out
from gpt2eval.models.engine.padded import PaddedEngine
from gpt2eval.models.engine.scores import (
    ROWS,
    collect,
    concatenate,
    depends_on_length,
    halving,
    score_targets,
)
from gpt2eval.models.engine.thread_invariant import even_out
from gpt2eval.types import Request, TokenScores


class PackedEngine:
    """One row for the whole batch, and the vocabulary projection at scored positions only."""

    name = "packed"

    def __init__(self, model: Any) -> None:
        self.model = model
        model.set_attn_implementation(NAME)
        self._decoder = model.base_model
        self._last = Narrowed.in_place_of_last_mlp(self._decoder)
        self._head = _centred(model.get_output_embeddings())

    @classmethod
    def of(cls, model: Any, padded: PaddedEngine, *, live: bool = False) -> "PackedEngine | None":
        """The packed engine of a model, or None where its scores are not those of the padded one.

        A window of attention shorter than the context, caps on logits, positions that are not passed as ids,
        states instead of attention: each shows in the comparison, but for the first, which the config tells.
        """
        config = model.config.get_text_config()
        if (
            getattr(config, "sliding_window", None)
            or depends_on_length(config)
            or model.get_output_embeddings() is None
        ):
            return None
        plain = padded.model.config._attn_implementation
        probe = _probe(config.vocab_size)
        expected = concatenate([padded.score([request]) for request in probe])
        if not live:
            onednn.take_over(model)
        even_out(model)
        tolerance = 0.3 if model.dtype in (torch.bfloat16, torch.float16) else 1e-4
        try:
            engine = cls(model)
            if np.allclose(engine.score(probe).logprobs, expected.logprobs, atol=tolerance, rtol=0):
                return engine
        except (TypeError, ValueError, AttributeError, RuntimeError, KeyError, IndexError):
            pass
        Narrowed.undo(model)
        model.set_attn_implementation(plain)
        return None

    def score(self, batch: Sequence[Request]) -> TokenScores:
        """The scores of a batch; where it does not fit into memory, those of its halves."""
        return halving(self._score, batch)

    @torch.inference_mode()
    def _score(self, batch: Sequence[Request]) -> TokenScores:
        layout = lay_out(batch, self.model.device)
        hidden = self._hidden(layout, layout.read)
        rows = ROWS.get(hidden.device.type, 64)
        chunks = zip(layout.read.split(rows), layout.targets.split(rows), strict=True)
        return collect([score_targets(self._head(hidden[read]), to) for read, to in chunks])

    @torch.inference_mode()
    def following(self, batch: Sequence[Request]) -> Tensor:
        """log P of whatever follows each branch, its last token set aside: `[branches, vocabulary]`, float32."""
        layout = lay_out(batch, self.model.device)
        lengths = torch.tensor(
            [len(branch) for _, branches in batch for branch in branches], device=layout.read.device
        )
        read = layout.read[lengths.cumsum(0) - 1]
        return self._head(self._hidden(layout, read)[read]).float().log_softmax(1)

    def _hidden(self, layout: Layout, read: Tensor) -> Tensor:
        """The decoder's last states, `[tokens, width]`; right at least where they are read."""
        if self._last is not None:
            self._last.rows = torch.unique(read)
        return self._decoder(
            input_ids=layout.ids[None],
            position_ids=layout.positions[None],
            layout=layout,
            use_cache=False,
        ).last_hidden_state[0]


class Narrowed(nn.Module):
    """The last layer's feed-forward block, computed only at the positions that are read afterwards."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block
        self.rows: Tensor = torch.empty(0)

    def forward(self, hidden: Tensor) -> Tensor:
        out = torch.zeros_like(hidden)
        out[:, self.rows] = self.block(hidden[:, self.rows])
        return out

    @classmethod
    def in_place_of_last_mlp(cls, decoder: nn.Module) -> "Narrowed | None":
        """Put itself in the place of the last module called `mlp`, if there is one."""
        names = [name for name, _ in decoder.named_modules() if name.endswith(".mlp")]
        if not names:
            return None
        narrowed = cls(decoder.get_submodule(names[-1]))
        decoder.set_submodule(names[-1], narrowed)
        return narrowed

    @classmethod
    def undo(cls, model: nn.Module) -> None:
        """Put the blocks back."""
        for name, module in [*model.named_modules()]:
            if isinstance(module, cls):
                model.set_submodule(name, module.block)


def _centred(head: Any) -> nn.Module:
    """The vocabulary projection; in half precision with its rows' common mean taken out, which softmax does not notice.

    GPT-2's logits lie around -30 to -100, where bfloat16 is coarse; centred they lie around 0.
    """
    weight = head.weight
    if weight.dtype not in (torch.bfloat16, torch.float16) or type(weight.detach()) is not Tensor:
        return head
    wide = weight.float()
    centred = (wide - wide.mean(0)).to(weight.dtype)
    return (
        onednn.Linear(centred, head.bias)
        if onednn.applies(centred)
        else _linear(centred, head.bias)
    )


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Module:
    """A linear layer with that weight."""
    made = nn.Linear(*weight.shape[::-1], bias=bias is not None, device="meta").requires_grad_(
        requires_grad=False
    )
    made.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias}), assign=True)
    return made


def _probe(vocabulary: int) -> list[Request]:
    """A fork, a lone token and two runs, of ids spread over the vocabulary."""
    ids = (np.arange(1, 64, dtype=np.int64) * 7919 % vocabulary).astype(np.int32)
    fork = Request(ids[:9], (ids[9:14], ids[14:15], ids[15:18]))
    return [
        fork,
        Request(ids[20:21], (ids[21:22],)),
        Request(ids[22:30], (ids[30:40],)),
        Request(ids[40:42], (ids[42:58],)),
    ]
