"""Encoded passages to requests, requests to batches, and scores back to passages.

Which tokens are scored given which context is decided here, from the passages and the window alone. It does not
know tasks by name, nor how a model works. Source of the window: issue 2 and the README's section on windows.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from gpt2eval.errors import UsageError
from gpt2eval.scoring.windows import SPANS, Window
from gpt2eval.types import Encoded, Ids, Request

CHUNK_TOKENS = 1 << 16
Item = TypeVar("Item")


class Target(NamedTuple):
    """Where a branch's scores belong: tokens `first`, `first + 1`, ... of a passage."""

    passage: int
    first: int


class Planned(NamedTuple):
    """A request, the target of each of its branches, and how often its tokens count."""

    request: Request
    targets: tuple[Target, ...]
    weight: float = 1.0


def wanted(encoded: Encoded) -> range:
    """The tokens that end inside the passage's parts; where these begin with the text, all from the first token on."""
    start, end = encoded.passage.parts[0].start, encoded.passage.parts[-1].end
    first, last = np.searchsorted(encoded.ends, [start, end], "right")
    return range(int(first) if start else 0, int(last))


def rolling(number: int, ids: Ids, window: Window) -> Iterator[Planned]:
    """A stream in windows: the spans of `x = [start] + ids`, or of `x = ids` without a start token.

    Each window of the kind `second_half` has the start token in the place of its own first.
    """
    shift = 0 if window.start is None else 1
    start = np.array([] if window.start is None else [window.start], np.int32)
    x = np.concatenate([start, ids])
    for left, first, end, weight in SPANS[window.kind](len(x), window.context, window.stride):
        prefix = x[left:first]
        if window.kind == "second_half":
            prefix = np.concatenate([start, prefix[shift:]])
        yield Planned(Request(prefix, (x[first:end],)), (Target(number, first - shift),), weight)


def branching(
    number: int, group: Sequence[Encoded], window: Window, *, last_token: bool = False
) -> tuple[list[range], Planned]:
    """The passages of one record as one request: their common prefix, and what is scored of each.

    Of several passages the tokens after their longest common prefix are scored, at least the last of each; of one, those
    of its parts (the last only, if `last_token`). The prefix loses tokens on the left where it does not fit into the context.
    """
    ranges = [wanted(e) for e in group]
    if not all(ranges):
        raise UsageError(
            f"record {group[0].passage.record}: no token ends in what is scored; expected one or more"
        )
    if len(group) > 1:
        first = min(_common(e.ids for e in group), *(r.stop - 1 for r in ranges))
        ranges = [range(first, r.stop) for r in ranges]
    elif last_token:
        ranges = [r[-1:] for r in ranges]
    start = [] if window.start is None else [window.start]
    shared = np.concatenate([np.array(start, np.int32), group[0].ids[: ranges[0].start]])
    if not len(shared):
        raise UsageError(
            f"record {group[0].passage.record}: nothing precedes what is scored; expected a start token"
        )
    room = window.context + 1 - max(len(r) for r in ranges)
    if room < 1:
        raise UsageError(
            f"record {group[0].passage.record}: {max(len(r) for r in ranges)} tokens to score; "
            f"expected at most the context of {window.context}"
        )
    branches = tuple(e.ids[r.start : r.stop] for e, r in zip(group, ranges, strict=True))
    targets = tuple(Target(number + i, r.start) for i, r in enumerate(ranges))
    return ranges, Planned(Request(shared[-room:], branches), targets)


def _common(sequences: Iterable[Ids]) -> int:
    """Length of the longest common prefix."""
    rows = list(sequences)
    shortest = min(len(row) for row in rows)
    differs = np.any(np.stack([row[:shortest] != rows[0][:shortest] for row in rows]), axis=0)
    return int(np.argmax(differs)) if differs.any() else shortest


def tokens_fed(request: Request) -> int:
    """Tokens that one forward pass over a request takes in: a branch's last token is only a target."""
    return len(request.prefix) + sum(len(branch) - 1 for branch in request.branches)


def batches(planned: Sequence[Planned], budget: int) -> list[list[Planned]]:
    """Requests in canonical batches: the longest first, equals in order, at most `budget` tokens in each.

    The batches follow from the requests and the budget alone, never from who computes them. A request larger than
    the budget stands alone.
    """
    return _filled(
        sorted(planned, key=lambda p: -tokens_fed(p.request)),
        budget,
        lambda p: tokens_fed(p.request),
    )


def chunks(cut: Sequence[list[Planned]], size: int = CHUNK_TOKENS) -> list[list[list[Planned]]]:
    """Batches in chunks of work of at most `size` tokens: what is journaled, resumed and shared out."""
    return _filled(cut, size, lambda batch: sum(tokens_fed(p.request) for p in batch))


def _filled(items: Iterable[Item], size: int, measure: Callable[[Item], int]) -> list[list[Item]]:
    """Items in order, in groups whose measures add up to at most `size` (a larger item stands alone)."""
    groups: list[list[Item]] = []
    filled = size
    for item in items:
        filled += measure(item)
        if filled > size:
            groups.append([])
            filled = measure(item)
        groups[-1].append(item)
    return groups
