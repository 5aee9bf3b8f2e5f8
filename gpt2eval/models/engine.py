"""How a causal LM computes a batch of requests: packed where its architecture allows, padded where not.

Both give the same scores. `Packed` runs the decoder once over one row of tokens (see `packed.py`) and projects onto
the vocabulary only where something is scored, a few hundred rows at a time; `Padded` calls the model as anybody
would. `Packed.of` compares the two on a short text and says whether the fast one may be used.
"""

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gpt2eval.models import onednn, packed
from gpt2eval.models.even import even_out
from gpt2eval.types import Request, TokenScores

ROWS = {
    "cpu": 64,
    "cuda": 4096,
}  # rows of the vocabulary projection computed at once; more than the heap keeps cost page faults
SEQUENCES = 8  # padded sequences computed at once


def halving(
    score: Callable[[Sequence[Request]], TokenScores], batch: Sequence[Request]
) -> TokenScores:
    """Score a batch, or if memory runs out its halves. Raises MemoryError with the request where one alone is too much."""
    try:
        return score(batch)
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
    if len(batch) == 1:
        raise MemoryError(batch[0])
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    middle = len(batch) // 2
    return _gathered([halving(score, batch[:middle]), halving(score, batch[middle:])])


class Padded:
    """Sequences padded on the right, which a causal model's earlier positions do not see; a row per branch."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.name = str(model.config._attn_implementation)
        self._takes_positions = "logits_to_keep" in signature(model.forward).parameters
        self._at_once = 1 if _depends_on_length(model.config.get_text_config()) else SEQUENCES

    def score(self, batch: Sequence[Request]) -> TokenScores:
        """The scores of a batch, `SEQUENCES` branches at a time; where these do not fit into memory, halves of them."""
        rows = [Request(prefix, (branch,)) for prefix, branches in batch for branch in branches]
        some = [rows[i : i + self._at_once] for i in range(0, len(rows), self._at_once)]
        return _gathered([halving(self._score, part) for part in some])

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
            _scores(
                logits[i, len(prefix) - 1 - first :][: len(branch)],
                torch.from_numpy(branch.astype(np.int64)),
            )
            for i, (prefix, branch) in enumerate(rows)
        ]
        return _collected(scores)

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


class Packed:
    """One row for the whole batch, and the vocabulary projection at scored positions only."""

    name = "packed"

    def __init__(self, model: Any) -> None:
        self.model = model
        model.set_attn_implementation(packed.NAME)
        self._decoder = model.base_model
        self._last = Narrowed.in_place_of_last_mlp(self._decoder)
        self._head = _centred(model.get_output_embeddings())

    @classmethod
    def of(cls, model: Any, padded: Padded, *, live: bool = False) -> "Packed | None":
        """The packed engine of a model, or None where its scores are not those of the padded one.

        A window of attention shorter than the context, caps on logits, positions that are not passed as ids,
        states instead of attention: each shows in the comparison, but for the first, which the config tells.
        """
        config = model.config.get_text_config()
        if (
            getattr(config, "sliding_window", None)
            or _depends_on_length(config)
            or model.get_output_embeddings() is None
        ):
            return None
        plain = padded.model.config._attn_implementation
        probe = _probe(config.vocab_size)
        expected = _gathered([padded.score([request]) for request in probe])
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
        layout = packed.lay_out(batch, self.model.device)
        hidden = self._hidden(layout, layout.read)
        rows = ROWS.get(hidden.device.type, 64)
        chunks = zip(layout.read.split(rows), layout.targets.split(rows), strict=True)
        return _collected([_scores(self._head(hidden[read]), to) for read, to in chunks])

    @torch.inference_mode()
    def following(self, batch: Sequence[Request]) -> Tensor:
        """log P of whatever follows each branch, its last token set aside: `[branches, vocabulary]`, float32."""
        layout = packed.lay_out(batch, self.model.device)
        lengths = torch.tensor(
            [len(branch) for _, branches in batch for branch in branches], device=layout.read.device
        )
        read = layout.read[lengths.cumsum(0) - 1]
        return self._head(self._hidden(layout, read)[read]).float().log_softmax(1)

    def _hidden(self, layout: packed.Layout, read: Tensor) -> Tensor:
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


def _depends_on_length(config: Any) -> bool:
    """Whether positions are turned otherwise in a longer input, so that no two may be computed together."""
    rope = getattr(config, "rope_parameters", None) or {}
    return any(kind in str(rope) for kind in ("'longrope'", "'dynamic'"))


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Module:
    """A linear layer with that weight."""
    made = nn.Linear(*weight.shape[::-1], bias=bias is not None, device="meta").requires_grad_(
        requires_grad=False
    )
    made.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias}), assign=True)
    return made


def _scores(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Log-softmax in float32 (or better) of `[tokens, vocabulary]` at the targets `[tokens]`, and whether they are highest.

    The logits are used up. A lone row is taken twice, for torch shares its sum out to threads.
    """
    if len(logits) == 1:
        logprobs, hits = _scores(logits.repeat(2, 1), targets.repeat(2))
        return logprobs[:1], hits[:1]
    wide = logits.float() if logits.dtype != torch.float64 else logits
    index = targets.to(logits.device)
    chosen, highest = wide.gather(1, index[:, None])[:, 0], wide.amax(1)
    logprobs = chosen - highest - wide.sub_(highest[:, None]).exp_().sum(1).log()
    return logprobs, chosen >= highest


def _collected(scores: Sequence[tuple[Tensor, Tensor]]) -> TokenScores:
    """The scores of a batch's parts, brought over from their device at once."""
    logprobs, hits = zip(*scores, strict=True)
    return TokenScores(torch.cat(logprobs).cpu().numpy(), torch.cat(hits).cpu().numpy())


def _gathered(scores: Sequence[TokenScores]) -> TokenScores:
    return TokenScores(
        np.concatenate([s.logprobs for s in scores]), np.concatenate([s.hits for s in scores])
    )


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
