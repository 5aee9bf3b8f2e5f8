"""One row for a whole batch: runs of tokens laid end to end, each seeing just what its request says.

A request's prefix sees itself, causally; each of its branches sees the prefix and itself, causally. So nothing is
padded and no prefix is computed twice. The attention of a transformers model is replaced by `attend`, through the
library's own registry; the layout travels with the forward call. It does not know windows, texts or tasks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface

from gpt2eval.types import Request

NAME = "gpt2eval-packed"


class Runs(NamedTuple):
    """`repeats` runs of `length` tokens each, one after the other from `start` on; each sees itself, causally."""

    start: int
    repeats: int
    length: int


class Fork(NamedTuple):
    """Branches `row[start:stop]` that see the prefix `row[first:start]` and themselves, by `mask` `[branches, all]`."""

    first: int
    start: int
    stop: int
    mask: Tensor


@dataclass(frozen=True, slots=True)
class Layout:
    """A batch as one row: ids and positions `[tokens]`; `read[i]` is where in the row `targets[i]` is predicted."""

    ids: Tensor
    positions: Tensor
    read: Tensor
    targets: Tensor
    runs: tuple[Runs, ...]
    forks: tuple[Fork, ...]


def lay_out(batch: Sequence[Request], device: torch.device) -> Layout:
    """The row of a batch. A branch's last token is only a target; a request's one branch continues its prefix's run."""
    ids, positions, read, targets = [], [], [], []
    runs: list[Runs] = []
    forks: list[Fork] = []
    at = 0
    for prefix, branches in batch:
        start = at + len(prefix)
        single = len(branches) == 1
        _append(runs, at, len(prefix) + (len(branches[0]) - 1 if single else 0))
        ids.append(prefix)
        positions.append(np.arange(len(prefix)))
        end = start
        for branch in branches:
            ids.append(branch[:-1])
            positions.append(np.arange(len(prefix), len(prefix) + len(branch) - 1))
            read += [[start - 1], np.arange(end, end + len(branch) - 1)]
            targets.append(branch)
            end += len(branch) - 1
        if not single and end > start:
            forks.append(
                Fork(at, start, end, _mask(len(prefix), [len(b) - 1 for b in branches]).to(device))
            )
        at = end
    row, places, reads, to = (
        _to(device, np.concatenate(part)) for part in (ids, positions, read, targets)
    )
    return Layout(row, places, reads, to, tuple(runs), tuple(forks))


def _to(device: torch.device, values: np.ndarray) -> Tensor:
    made = torch.from_numpy(values.astype(np.int64))
    return (
        made.pin_memory().to(device, non_blocking=True)
        if device.type == "cuda"
        else made.to(device)
    )


def _append(runs: list[Runs], start: int, length: int) -> None:
    """Add a run; one that continues a series of its own length joins it."""
    if runs and runs[-1].length == length and runs[-1].start + runs[-1].repeats * length == start:
        runs[-1] = runs[-1]._replace(repeats=runs[-1].repeats + 1)
    else:
        runs.append(Runs(start, 1, length))


def _mask(prefix: int, lengths: Sequence[int]) -> Tensor:
    """Who of the branches (rows) sees whom of prefix and branches (columns)."""
    total = sum(lengths)
    of = np.repeat(np.arange(len(lengths)), lengths)
    own = (of[:, None] == of[None, :]) & np.tri(total, dtype=np.bool_)
    return torch.from_numpy(np.concatenate([np.ones((total, prefix), np.bool_), own], axis=1))


def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    *,
    layout: Layout,
    **rest: Any,
) -> tuple[Tensor, None]:
    """Attention over a layout: query `[1, heads, tokens, size]` to output `[1, tokens, heads, size]`."""
    scale, grouped = rest.get("scaling"), key.shape[1] != query.shape[1]
    out = query.new_empty(1, query.shape[2], query.shape[1], value.shape[3])
    for start, repeats, length in layout.runs:
        own = slice(start, start + repeats * length)
        q, k, v = (
            x[0, :, own].unflatten(1, (repeats, length)).transpose(0, 1)
            for x in (query, key, value)
        )
        seen = scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=scale, enable_gqa=grouped
        )
        out[0, own] = seen.transpose(1, 2).flatten(0, 1)
    for first, start, stop, mask in layout.forks:
        q, k, v = query[:, :, start:stop], key[:, :, first:stop], value[:, :, first:stop]
        seen = scaled_dot_product_attention(
            q, k, v, attn_mask=mask, scale=scale, enable_gqa=grouped
        )
        out[:, start:stop] = seen.transpose(1, 2)
    return out, None


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, lambda *_, **__: None)
