"""The segments of a packed row, for attention over many lengths in one kernel call.

A row is a series of segments: runs, the prefixes of forks, and each of their branches. `varlen.py`
computes attention over them. Knows no kernels.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gpt2eval.types import Request


class Spans(NamedTuple):
    """Adjacent spans of a row: span i is `row[bounds[i]:bounds[i + 1]]`.

    `bounds` has shape `[spans + 1]` and dtype int32; `longest` is the length of the longest span.
    """

    bounds: Tensor
    longest: int

    def to(self, device: torch.device) -> "Spans":
        """Return the same spans on a device."""
        return self._replace(bounds=self.bounds.to(device))


class Branches(NamedTuple):
    """What the branches of all forks attend to besides themselves.

    `queries` are the positions of the branches' tokens, `keys` those of the prefixes' tokens. Span
    i of `query_spans` holds the branches of fork i, and span i of `key_spans` its prefix.
    """

    queries: Tensor
    keys: Tensor
    query_spans: Spans
    key_spans: Spans


class Segments(NamedTuple):
    """The segments of a row, and the branches of its forks if it has any."""

    spans: Spans
    branches: Branches | None

    def to(self, device: torch.device) -> "Segments":
        """Return the same segments on a device, for layers that are spread over several."""
        if self.spans.bounds.device == device:
            return self
        branches = self.branches and Branches(
            self.branches.queries.to(device),
            self.branches.keys.to(device),
            self.branches.query_spans.to(device),
            self.branches.key_spans.to(device),
        )
        return Segments(self.spans.to(device), branches)


class Place(NamedTuple):
    """Where a request lies in the row: its prefix `[first:start]`, its branches `[start:stop]`.

    `inputs` are the lengths of its branches, whose last token is only a target, never an input.
    """

    first: int
    start: int
    stop: int
    inputs: list[int]


def request_places(batch: Sequence[Request]) -> Iterator[Place]:
    """Yield the place of each request; they lie end to end."""
    first = 0
    for prefix, branches in batch:
        inputs = [len(branch) - 1 for branch in branches]
        start = first + len(prefix)
        stop = start + sum(inputs)
        yield Place(first, start, stop, inputs)
        first = stop


def segments(batch: Sequence[Request], device: torch.device) -> Segments:
    """Return the segments of a batch, whose row `layout.lay_out` describes.

    A request with one branch is one segment. A request with several branches, a fork, is a segment
    for its prefix and one for the inputs of each branch that has any.
    """
    lengths: list[int] = []
    queries: list[np.ndarray] = []
    keys: list[np.ndarray] = []
    for first, start, stop, inputs in request_places(batch):
        if len(inputs) == 1:
            lengths.append(stop - first)
        else:
            lengths += [start - first, *filter(None, inputs)]
            if stop > start:
                queries.append(np.arange(start, stop))
                keys.append(np.arange(first, start))
    spans = _spans(lengths)
    if not queries:
        (bounds,) = to_device([spans], device)
        return Segments(Spans(bounds.int(), max(lengths)), None)
    sizes = [[len(part) for part in parts] for parts in (queries, keys)]
    arrays = [spans, np.concatenate(queries), np.concatenate(keys), *map(_spans, sizes)]
    bounds, query_index, key_index, query_bounds, key_bounds = to_device(arrays, device)
    branches_of_forks = Branches(
        query_index,
        key_index,
        Spans(query_bounds.int(), max(sizes[0])),
        Spans(key_bounds.int(), max(sizes[1])),
    )
    return Segments(Spans(bounds.int(), max(lengths)), branches_of_forks)


def _spans(lengths: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)])


def to_device(arrays: Sequence[np.ndarray], device: torch.device) -> list[Tensor]:
    """Return arrays of whole numbers as int64 tensors, with one copy for all of them."""
    values = torch.from_numpy(np.concatenate(arrays).astype(np.int64))
    if device.type == "cuda":
        # From pinned memory the copy does not wait for the GPU.
        values = values.pin_memory().to(device, non_blocking=True)
    return [*values.to(device).split([len(array) for array in arrays])]
