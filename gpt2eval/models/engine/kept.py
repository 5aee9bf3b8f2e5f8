"""Keys and values that a scoring pass leaves behind, and the attention of new tokens over them.

A scoring pass computes every prefix once. A `Block` keeps the keys and values of its attention, and
the states at scored positions. A piece that continues a prefix then passes through the model alone.
It attends to the prefix and to the pieces before it, which passed earlier.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from gpt2eval.models.engine.vocabulary import Pieces
from gpt2eval.types import Request

ROOM = 8  # places for opened pieces at first

# Computes attention in the place of `layout.attend`: module, query, key, value and its options.
Attend = Callable[..., tuple[Tensor, None]]


class Continuation(NamedTuple):
    """The new pieces of one call as a row of tokens; takes the place of a layout.

    `ids` and `positions` have shape `[tokens]`.
    """

    ids: Tensor
    positions: Tensor
    attends: Attend


class Block:
    """The prefixes of one batch of requests, each with one branch: keys, values and states.

    `keys` and `values` have an entry `[requests, heads, places, size]` for each call of attention.
    The first places of a request are the inputs of its scoring pass, the later ones are pieces
    opened since.
    """

    def __init__(self, batch: Sequence[Request], attend: Attend) -> None:
        self._attend = attend
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self.states = torch.empty(0)  # at scored positions, `[scored tokens, width]`
        self.prefix_lengths = [len(prefix) for prefix, _ in batch]
        self.branches = [tuple(branch.tolist()) for _, (branch,) in batch]
        # The places in use. A branch's last token is only a target, never an input.
        self.used = [
            prefix + len(branch) - 1
            for prefix, branch in zip(self.prefix_lengths, self.branches, strict=True)
        ]
        self._starts = np.cumsum([0, *self.used])
        self._scored = np.cumsum([0, *map(len, self.branches)])
        # The place of each piece that has passed through the model, by the beginning that it ends.
        self.places: list[dict[Pieces, int]] = [
            {branch[:n]: prefix + n - 1 for n in range(1, len(branch))}
            for prefix, branch in zip(self.prefix_lengths, self.branches, strict=True)
        ]

    def attends(
        self, module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, **options: Any
    ) -> tuple[Tensor, None]:
        """Keep the keys and values of a packed row, and attend as usual."""
        self.keys.append(self._padded(key))
        self.values.append(self._padded(value))
        return self._attend(module, query, key, value, **options)

    def _padded(self, row: Tensor) -> Tensor:
        """Return the tokens of a row, `[1, heads, tokens, size]`, as one row per request."""
        longest = max(self.used)
        places = self._starts[:-1, None] + np.arange(longest)
        # What lies behind the end of a request is never attended to.
        places = torch.from_numpy(places.clip(max=self._starts[-1] - 1).ravel()).to(row.device)
        _, heads, _, size = row.shape
        kept = row.new_zeros(len(self.used), heads, longest + ROOM, size)
        tokens = row[0].index_select(1, places).unflatten(1, (len(self.used), longest))
        kept[:, :, :longest] = tokens.transpose(0, 1)
        return kept

    def state(self, number: int, pieces: Pieces) -> int | None:
        """Return the row of `states` after a request's prefix and pieces, or None without one."""
        branch = self.branches[number]
        if len(pieces) < len(branch) and pieces == branch[: len(pieces)]:
            return int(self._scored[number]) + len(pieces)
        return None

    def grow(self) -> None:
        """Make room for the places in use, and more, so that the copies stay few."""
        if max(self.used) > self.keys[0].shape[2]:
            wider = (0, 0, 0, max(self.used) * 5 // 4 + ROOM - self.keys[0].shape[2])
            for kept in (self.keys, self.values):
                for call, tensor in enumerate(kept):
                    kept[call] = pad(tensor, wider)  # one after the other, to save memory


class NewPieces:
    """The pieces of one call that belong to one block, and what each of them attends to.

    Piece i belongs to request `requests[i]`, is the `order[i]`-th of that request's pieces in this
    call, and gets place `places[i]`. `visible[i]` are the places of the pieces that it attends to:
    those of its word up to itself.
    """

    def __init__(self, block: Block) -> None:
        self.block = block
        self.requests: list[int] = []
        self.order: list[int] = []
        self.places: list[int] = []
        self.visible: list[list[int]] = []
        self.ids: list[int] = []
        self.positions: list[int] = []
        self._counts: Counter[int] = Counter()

    def add(self, number: int, pieces: Pieces) -> int:
        """Add the last of some pieces after a request's prefix; return its number here."""
        block = self.block
        known = block.places[number]
        known[pieces] = block.used[number]
        block.used[number] += 1
        self.requests.append(number)
        self.order.append(self._counts[number])
        self._counts[number] += 1
        self.places.append(known[pieces])
        self.visible.append([known[pieces[:n]] for n in range(1, len(pieces) + 1)])
        self.ids.append(pieces[-1])
        self.positions.append(block.prefix_lengths[number] + len(pieces) - 1)
        return len(self.ids) - 1

    def attention(self, device: torch.device) -> "BlockAttention":
        """Return the attention of these pieces, once all are added."""
        self.block.grow()
        shape = (len(self.block.used), max(self.order) + 1, self.block.keys[0].shape[2])
        mask = np.zeros(shape, np.bool_)
        mask[:, :, 0] = True  # a row without a piece must not divide by zero
        for request, order, visible in zip(self.requests, self.order, self.visible, strict=True):
            mask[request, order, : self.block.prefix_lengths[request]] = True
            mask[request, order, visible] = True
        at = torch.tensor([self.requests, self.order, self.places]).to(device)
        return BlockAttention(self.block, at, torch.from_numpy(mask[:, None]).to(device))


class BlockAttention(NamedTuple):
    """Attention of new pieces over a block: one call of the kernel for all of them.

    `at` holds the request, the order and the place of each piece, `[3, pieces]`; `mask` has shape
    `[requests, 1, pieces per request, places]`.
    """

    block: Block
    at: Tensor
    mask: Tensor

    def __call__(
        self, call: int, query: Tensor, key: Tensor, value: Tensor, scale: float | None
    ) -> Tensor:
        """Return `[pieces, heads, size]`; the arguments have shape `[heads, pieces, size]`."""
        requests, order, places = self.at
        keys = self.block.keys[call]
        values = self.block.values[call]
        keys[requests, :, places] = key.transpose(0, 1)
        values[requests, :, places] = value.transpose(0, 1)
        count, _, longest, _ = self.mask.shape
        padded = query.new_zeros(count, query.shape[0], longest, query.shape[2])
        padded[requests, :, order] = query.transpose(0, 1)
        # Heads that share keys become further queries, so that no kernel copies the keys for them.
        sharing = query.shape[0] // keys.shape[1]
        attended = scaled_dot_product_attention(
            padded.unflatten(1, (-1, sharing)).flatten(2, 3),
            keys,
            values,
            attn_mask=self.mask.repeat(1, 1, sharing, 1),
            scale=scale,
        )
        return attended.unflatten(2, (sharing, longest)).flatten(1, 2)[requests, :, order]


class Continued:
    """Attention of one row of new pieces: first those of one block, then those of the next."""

    def __init__(self, parts: Sequence[BlockAttention]) -> None:
        self._parts = parts
        self._sizes = [part.at.shape[1] for part in parts]
        self._calls = 0

    def attends(
        self, module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, **options: Any
    ) -> tuple[Tensor, None]:
        """Attend; the n-th call of a forward pass uses the n-th keys and values of each block."""
        call = self._calls
        self._calls += 1
        scale = options.get("scaling")
        split = (x[0].split(self._sizes, 1) for x in (query, key, value))
        rows = zip(self._parts, *split, strict=True)
        return torch.cat([part(call, q, k, v, scale) for part, q, k, v in rows])[None], None
