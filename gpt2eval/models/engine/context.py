"""The usable context of a model: what its config allows and its position tables contain.

RoBERTa's table of 514 rows serves 512 tokens, because its first positions are reserved; OPT's of
2,050 rows serves 2,048. A short input shows which rows each position reads.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding
from torch.overrides import TorchFunctionMode

UNBOUNDED = 1 << 20  # the context of a model whose config sets no limit
LIMITS = ("max_position_embeddings", "n_positions", "max_target_positions", "max_seq_len")
SHORT = 8  # tokens of the shorter of two inputs
STEP = 4  # by how many tokens the other is longer
# What a config calls a length at which attention may change.
THRESHOLD = re.compile(r"window|chunk|block|top_?k|local|floor|segment|stride|sparse")
COUNTS = re.compile(r"expert|group|layer|head|dim|num_|_prob|routed|moe|vision|conv|mamba|stage")


def stated_context(config: Any) -> int:
    """Return the context that a config states, or UNBOUNDED."""
    for key in LIMITS:
        value = getattr(config, key, None)
        if isinstance(value, int) and value > 0:
            return value
    return UNBOUNDED


def thresholds(config: Any) -> dict[str, int]:
    """Return the lengths that a config names, at which attention may change."""
    return {
        key: value
        for key, value in entries(config.to_dict())
        if isinstance(value, int)
        and not isinstance(value, bool)
        and value > 1
        and THRESHOLD.search(key)
        and not COUNTS.search(key)
    }


def entries(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the keys and values of a config and of the configs in it, those of other senses out."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            if "vision" not in str(key) and "audio" not in str(key):
                yield from entries(value)
        else:
            yield str(key), value


class TableReads(TorchFunctionMode):
    """Records the rows and the highest index of each table that a forward pass reads by index."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[tuple[int, int]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if func is embedding:
            self._record(args[1], args[0])
        elif name == "__getitem__":
            index = args[1][0] if isinstance(args[1], tuple) and args[1] else args[1]
            self._record(args[0], index)
        elif name == "index_select" and len(args) > 2 and args[1] == 0:
            self._record(args[0], args[2])
        return func(*args, **(kwargs or {}))

    def _record(self, table: Any, index: Any) -> None:
        if isinstance(index, Tensor) and index.dtype == torch.int64 and index.numel():
            self.reads.append((table.shape[0], int(index.max())))


def table_context(run: Callable[[int], Any]) -> int:
    """Return how many tokens a model's position tables serve, or UNBOUNDED without a table.

    `run(n)` runs the model on n tokens with the same highest token id for every n. The index of a
    position table grows with the input, one row per token.
    """
    reads: list[list[tuple[int, int]]] = []
    for length in (SHORT, SHORT + STEP):
        with TableReads() as mode:
            run(length)
        reads.append(mode.reads)
    if len(reads[0]) != len(reads[1]):
        return UNBOUNDED
    served = [
        SHORT + rows - 1 - highest
        for (rows, highest), (same_rows, later) in zip(*reads, strict=True)
        if rows == same_rows and later - highest == STEP
    ]
    return min(served, default=UNBOUNDED)


def longest_that_runs(run: Callable[[int], Any], longest: int) -> int:
    """Return the greatest length up to `longest` at which `run` raises no error.

    Assumes that a length that runs implies that shorter ones do.
    """
    low, high = 0, longest
    while low < high:
        middle = (low + high + 1) // 2
        try:
            run(middle)
        except (IndexError, RuntimeError, ValueError):
            high = middle - 1
        else:
            low = middle
    return low
