"""Attention on a GPU over a packed row: one or two kernel calls, however many requests there are.

The first call lets every segment of the row attend to itself, causally. The second lets the
branches of all forks attend to their prefixes. Both results are combined by their log-sum-exp, so
no prefix is repeated for its branches:

    out = (out_1 exp(lse_1) + out_2 exp(lse_2)) / (exp(lse_1) + exp(lse_2))

Source: "lse" is the second result of flash attention (Dao et al. 2022, arXiv:2205.14135).
"""

from collections.abc import Callable
from functools import cache
from inspect import signature
from typing import NamedTuple

import torch
from torch import Tensor

from gpt2eval.models.engine.segments import Segments, Spans

HALF = (torch.bfloat16, torch.float16)
WIDEST = 256  # the largest head that flash attention supports
VARLEN_OPTIONS = {"return_aux", "scale", "window_size", "enable_gqa"}
CAUSAL = 2  # torch's number for a causal mask that is aligned at the last query and key


class Attended(NamedTuple):
    """The output `[queries, heads, size]`, and the log-sum-exp `[queries, heads]`.

    The latter is in float32 or better.
    """

    out: Tensor
    lse: Tensor


class Inputs(NamedTuple):
    """What a kernel takes: span i of the queries attends to span i of the keys.

    `query`, `key` and `value` have shape `[tokens, heads, size]`; `key` and `value` may have fewer
    heads. `queries` and `keys` are the spans; `causal` attention is aligned at their ends.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    queries: Spans
    keys: Spans
    causal: bool
    scale: float

    def with_equal_heads(self) -> "Inputs":
        """Return inputs in which every head of the queries has keys and values of its own."""
        groups = self.query.shape[1] // self.key.shape[1]
        if groups == 1:
            return self
        key, value = (x.repeat_interleave(groups, 1) for x in (self.key, self.value))
        return self._replace(key=key, value=value)


Kernel = Callable[[Inputs], Attended]


def attend(
    query: Tensor, key: Tensor, value: Tensor, row: Segments, scaling: float | None = None
) -> Tensor:
    """Compute attention over a row.

    `query`, `key`, `value` and the result have shape `[tokens, heads, size]`; `key` and `value` may
    have fewer heads. The default for `scaling` is 1 / sqrt(size).
    """
    row = row.to(query.device)
    kernel = kernel_for(query, value)
    scale = query.shape[2] ** -0.5 if scaling is None else scaling
    own = kernel(Inputs(query, key, value, row.spans, row.spans, causal=True, scale=scale))
    if row.branches is None:
        return own.out
    queries, keys, query_spans, key_spans = row.branches
    rows = query[queries], key[keys], value[keys]
    prefix = kernel(Inputs(*rows, query_spans, key_spans, causal=False, scale=scale))
    # exp(lse_1) / (exp(lse_1) + exp(lse_2)), which cannot overflow
    share = (own.lse[queries] - prefix.lse).sigmoid()[..., None]
    out = own.out
    out[queries] = torch.lerp(prefix.out.to(share.dtype), out[queries].to(share.dtype), share).to(
        out.dtype
    )
    return out


def kernel_for(query: Tensor, value: Tensor) -> Kernel:
    """Return the fastest kernel for a dtype, a head size and a device."""
    is_cuda = query.device.type == "cuda"
    if not is_cuda or query.dtype == torch.float64 or query.shape[2] % 8 or value.shape[2] % 8:
        return reference
    is_same_size = query.shape[2] == value.shape[2] <= WIDEST
    if query.dtype in HALF and is_same_size and _has_flash(query.device):
        return flash
    return efficient


@cache
def _has_flash(device: torch.device) -> bool:
    """Return whether torch, its build and a GPU have flash attention over spans."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:  # an older torch
        return False
    if not signature(varlen_attn).parameters.keys() >= VARLEN_OPTIONS:
        return False
    is_built = torch.backends.cuda.is_flash_attention_available()
    return is_built and torch.cuda.get_device_capability(device) >= (8, 0)


def flash(inputs: Inputs) -> Attended:
    """Call flash attention, which supports half precision only."""
    from torch.nn.attention.varlen import AuxRequest, varlen_attn

    query, key, value, queries, keys, causal, scale = inputs
    out, lse = varlen_attn(
        query,
        key,
        value,
        queries.bounds,
        keys.bounds,
        queries.longest,
        keys.longest,
        return_aux=AuxRequest(lse=True),
        scale=scale,
        window_size=(-1, 0) if causal else (-1, -1),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    # The kernel returns `[heads, queries]`, although its docstring says otherwise.
    return Attended(out, lse.t())


def efficient(inputs: Inputs) -> Attended:
    """Call memory-efficient attention, which supports float32; torch has no public function."""
    query, key, value, queries, keys, causal, scale = inputs.with_equal_heads()
    out, lse, *_ = torch.ops.aten._efficient_attention_forward(
        query[None],
        key[None],
        value[None],
        None,
        queries.bounds,
        keys.bounds,
        queries.longest,
        keys.longest,
        0.0,
        CAUSAL if causal else 0,
        True,
        scale=scale,
    )
    # `lse` has shape `[spans, heads, longest]`, with padding.
    bounds = queries.bounds.long()
    position = torch.arange(len(query), device=query.device)
    span = torch.searchsorted(bounds[1:], position, right=True)
    return Attended(out[0], lse[span, :, position - bounds[span]])


def reference(inputs: Inputs) -> Attended:
    """Compute spans one by one with plain operations, for dtypes that no kernel supports."""
    query, key, value, queries, keys, causal, scale = inputs.with_equal_heads()
    outs: list[Tensor] = []
    lses: list[Tensor] = []
    lengths = [spans.bounds.diff().tolist() for spans in (queries, keys)]
    parts = [query.split(lengths[0]), key.split(lengths[1]), value.split(lengths[1])]
    for q, k, v in zip(*parts, strict=True):
        weights = torch.einsum("qhd,khd->hqk", q, k) * scale
        if causal:
            visible = torch.ones_like(weights[0], dtype=torch.bool).tril(len(k) - len(q))
            weights = weights.masked_fill(~visible, -torch.inf)
        outs.append(torch.einsum("hqk,khd->qhd", weights.softmax(2), v))
        lses.append(weights.logsumexp(2).t())
    return Attended(torch.cat(outs), torch.cat(lses))
