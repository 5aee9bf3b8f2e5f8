"""The packed layout: a batch of requests as one row of tokens without padding.

Prefixes and branches lie end to end. A prefix attends to itself, causally; a branch attends to
its prefix and to itself, causally. Each prefix is computed once, however many branches share
it. `attend` replaces the model's attention through transformers' registry; the layout is passed
to it with the forward call. On a GPU `varlen.py` computes the attention of the complete row; on
other devices equal runs share a call, and each fork has its own. Knows no windows, texts or tasks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from gpt2eval.models.engine import varlen
from gpt2eval.models.engine.segments import Segments, request_places, segments, to_device
from gpt2eval.types import Request

NAME = "gpt2eval-packed"
SEGMENTED = {"cuda"}  # devices on which `varlen.py` computes attention


class Runs(NamedTuple):
    """`repeats` adjacent runs of `length` tokens each; each run attends to itself, causally.

    Equal runs are grouped, so that one call to the attention kernel computes all of them.
    """

    start: int
    repeats: int
    length: int


class Fork(NamedTuple):
    """The branches `row[start:stop]` of a request with several branches.

    They attend to the prefix `row[first:start]` and to themselves as `mask` says, a boolean tensor
    `[stop - start, stop - first]`.
    """

    first: int
    start: int
    stop: int
    mask: Tensor


@dataclass(frozen=True, slots=True)
class Layout:
    """A batch as one row.

    `ids` and `positions` have shape `[tokens]`; `read` and `targets` have shape `[scored tokens]`,
    and position `read[i]` of the row predicts `targets[i]`. `distinct` are the positions in `read`
    in ascending order, each once. Either `segments` or `runs` and `forks` describe the attention.
    `attends` computes attention in the place of `attend`; see `kept.py`.
    """

    ids: Tensor
    positions: Tensor
    read: Tensor
    targets: Tensor
    distinct: Tensor
    runs: tuple[Runs, ...] = ()
    forks: tuple[Fork, ...] = ()
    segments: Segments | None = None
    attends: Callable[..., tuple[Tensor, None]] | None = None


def lay_out(batch: Sequence[Request], device: torch.device) -> Layout:
    """Return the layout of a batch.

    Example: the prefix `a b` with the branches `c d` and `e f g` becomes the row `a b c e f` with
    the positions `0 1 2 2 3`. `read` is `1 2 1 3 4` and `targets` is `c d e f g`.
    """
    ids: list[np.ndarray] = []
    positions: list[np.ndarray] = []
    read: list[np.ndarray] = []
    targets: list[np.ndarray] = []
    stop = 0
    for prefix, branches in batch:
        start = stop + len(prefix)
        stop = start
        ids.append(prefix)
        positions.append(np.arange(len(prefix)))
        for branch in branches:
            # A branch's last token is only a target, never an input.
            inputs = len(branch) - 1
            ids.append(branch[:-1])
            positions.append(np.arange(len(prefix), len(prefix) + inputs))
            # The prefix's last token predicts the branch's first; each input predicts the next.
            read += [np.array([start - 1]), np.arange(stop, stop + inputs)]
            targets.append(branch)
            stop += inputs
    reads = np.concatenate(read)
    columns = [*map(np.concatenate, (ids, positions)), reads, np.concatenate(targets)]
    tokens, places, all_read, all_targets, distinct = to_device(
        [*columns, np.unique(reads)], device
    )
    row = Layout(tokens, places, all_read, all_targets, distinct)
    if device.type in SEGMENTED:
        return replace(row, segments=segments(batch, device))
    runs, forks = _runs_and_forks(batch, device)
    return replace(row, runs=runs, forks=forks)


def _runs_and_forks(
    batch: Sequence[Request], device: torch.device
) -> tuple[tuple[Runs, ...], tuple[Fork, ...]]:
    runs: list[Runs] = []
    forks: list[Fork] = []
    for first, start, stop, inputs in request_places(batch):
        if len(inputs) == 1:
            # A single branch needs no fork: with its prefix it is one causal run.
            _append(runs, first, stop - first)
        else:
            _append(runs, first, start - first)
            if stop > start:
                forks.append(Fork(first, start, stop, _mask(start - first, inputs).to(device)))
    return tuple(runs), tuple(forks)


def _append(runs: list[Runs], start: int, length: int) -> None:
    """Add a run, or join it to the preceding runs if it is adjacent and equally long."""
    if runs and runs[-1].length == length and runs[-1].start + runs[-1].repeats * length == start:
        runs[-1] = runs[-1]._replace(repeats=runs[-1].repeats + 1)
    else:
        runs.append(Runs(start, 1, length))


def _mask(prefix: int, lengths: Sequence[int]) -> Tensor:
    """Return which positions (columns: prefix, branches) each branch token (row) attends to."""
    total = sum(lengths)
    branch = np.repeat(np.arange(len(lengths)), lengths)
    # A token sees its own branch only, and there only itself and what precedes it.
    own = (branch[:, None] == branch[None, :]) & np.tri(total, dtype=np.bool_)
    return torch.from_numpy(np.concatenate([np.ones((total, prefix), np.bool_), own], axis=1))


def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    *,
    layout: Layout,
    **options: Any,
) -> tuple[Tensor, None]:
    """Compute attention over a layout, with the signature of transformers' attention functions.

    `query` has shape `[1, heads, tokens, size]`; `key` and `value` may have fewer heads. The
    result has shape `[1, tokens, heads, size]`.
    """
    if layout.attends is not None:
        return layout.attends(module, query, key, value, **options)
    scale = options.get("scaling")
    if layout.segments is not None:
        q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
        return varlen.attend(q, k, v, layout.segments, scale)[None], None
    grouped = key.shape[1] != query.shape[1]
    out = query.new_empty(1, query.shape[2], query.shape[1], value.shape[3])
    for start, repeats, length in layout.runs:
        own = slice(start, start + repeats * length)
        # Equal runs become a batch dimension, `[runs, heads, length, size]`: the kernel then
        # never computes scores across runs, and its causal path needs no mask in memory.
        q, k, v = (
            x[0, :, own].unflatten(1, (repeats, length)).transpose(0, 1)
            for x in (query, key, value)
        )
        attended = scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=scale, enable_gqa=grouped
        )
        out[0, own] = attended.transpose(1, 2).flatten(0, 1)
    for first, start, stop, fork_mask in layout.forks:
        # Only the branches are queries here: the runs above cover the prefix.
        q = query[:, :, start:stop]
        k = key[:, :, first:stop]
        v = value[:, :, first:stop]
        attended = scaled_dot_product_attention(
            q, k, v, attn_mask=fork_mask, scale=scale, enable_gqa=grouped
        )
        out[:, start:stop] = attended.transpose(1, 2)
    return out, None


# No mask function is registered under this name, so transformers builds no mask. It would look at
# the positions first, and a GPU would have to finish its work before it could answer.
AttentionInterface.register(NAME, attend)
