"""Encoded passages to requests, requests to batches, batches to chunks.

Decides from the passages and the window alone which tokens are scored given which context.
Does not know task names or how a model works. The docs page "Protocols and windows" explains the
windows.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from gpt2eval.errors import UsageError
from gpt2eval.scoring.windows import Window, spans
from gpt2eval.types import Encoded, Ids, Request

CHUNK_TOKENS = 1 << 16
# On a GPU a chunk is so many full batches: about a second of work for the smallest GPT-2, so that
# writing the journal takes little of it.
CHUNK_BATCHES = 64
Element = TypeVar("Element")


class Target(NamedTuple):
    """Where the scores of a branch belong: tokens `first`, `first + 1`, ... of a passage."""

    passage: int
    first: int


class PlannedRequest(NamedTuple):
    """A request, the target of each of its branches, and how often each scored token counts."""

    request: Request
    targets: tuple[Target, ...]
    weight: float = 1.0


Batch = list[PlannedRequest]
Chunk = list[Batch]


def scored_range(encoded: Encoded) -> range:
    """Return the tokens that end inside the passage's parts.

    Where the parts begin at the start of the text, the range begins with the first token, even
    if that token has no characters of its own.
    """
    parts = encoded.passage.parts
    start = parts[0].start
    first, last = np.searchsorted(encoded.ends, [start, parts[-1].end], "right")
    return range(int(first) if start else 0, int(last))


def windows(number: int, encoded: Encoded, window: Window) -> Iterator[PlannedRequest]:
    """Cut passage `number` into windows, each of its segments by itself."""
    for segment in segments(encoded):
        ids = encoded.ids[segment.start : segment.stop]
        yield from rolling(number, ids, window, segment.start)


def rolling(number: int, ids: Ids, window: Window, before: int = 0) -> Iterator[PlannedRequest]:
    """Cut tokens of passage `number`, of which `before` precede, into the spans of `x`.

    `x = [start] + ids`, or `x = ids` if the window has no start token or only replaces tokens by
    it. Where the window repeats or replaces, and in every window of the kind `second_half`, the
    start token stands in place of the window's first token.
    """
    start = np.array([] if window.start is None else [window.start], np.int32)
    added = start[:0] if window.replaces else start
    x = np.concatenate([added, ids])
    overwrites = window.repeats_start or window.replaces or window.kind == "second_half"
    for left, first, end, weight in spans(len(x), window):
        prefix = x[left:first]
        if overwrites:
            prefix = np.concatenate([start, prefix[len(start) :]])
        request = Request(prefix, (x[first:end],))
        yield PlannedRequest(request, (Target(number, before + first - len(added)),), weight)


def segments(encoded: Encoded) -> Sequence[range]:
    """Return the ranges of tokens that are cut into windows one by one."""
    return encoded.segments or (range(len(encoded.ids)),)


def branching(
    number: int, group: Sequence[Encoded], window: Window, *, last_token: bool = False
) -> tuple[list[range], PlannedRequest]:
    """Turn the passages of one record into one request with a common prefix.

    For several passages, scores the tokens after their longest common prefix, at least the last
    token of each. For a single passage, scores the tokens of its parts (only the last one if
    `last_token`). A prefix that exceeds the context loses tokens on the left; if the window
    repeats the start token, the start token remains as the first token.

    Returns the scored token range of each passage, and the request. `number` is the index of the
    first passage. Raises UsageError if there is nothing to score, nothing to predict it from, or
    more to score than the context holds.
    """
    record = group[0].passage.record
    ranges = [scored_range(encoded) for encoded in group]
    if not all(ranges):
        raise UsageError(
            f"record {record}: no token ends in the scored text; expected at least one"
        )
    if len(group) > 1:
        # Choices may diverge before their parts begin (a token may span the boundary). All
        # branches start at the first difference, so each choice is scored given the same context.
        common = _common_length(encoded.ids for encoded in group)
        first = min(common, *(tokens.stop - 1 for tokens in ranges))
        ranges = [range(first, tokens.stop) for tokens in ranges]
    elif last_token:
        ranges = [tokens[-1:] for tokens in ranges]
    start = np.array([] if window.start is None else [window.start], np.int32)
    prefix = np.concatenate([start, group[0].ids[: ranges[0].start]])
    if not len(prefix):
        raise UsageError(
            f"record {record}: nothing precedes the scored text; expected a start token"
        )
    longest = max(len(tokens) for tokens in ranges)
    # A branch's last token is only a target, never an input: it needs no place in the context.
    available = window.context + 1 - longest
    if available < 1:
        raise UsageError(
            f"record {record}: {longest} tokens to score; "
            f"expected at most the context of {window.context}"
        )
    branches = tuple(
        encoded.ids[tokens.start : tokens.stop]
        for encoded, tokens in zip(group, ranges, strict=True)
    )
    targets = tuple(Target(number + i, tokens.start) for i, tokens in enumerate(ranges))
    prefix = prefix[-available:]
    if window.repeats_start:
        prefix = np.concatenate([start, prefix[1:]])
    return ranges, PlannedRequest(Request(prefix, branches), targets)


def _common_length(sequences: Iterable[Ids]) -> int:
    """Return the length of the longest common prefix."""
    rows = list(sequences)
    shortest = min(len(row) for row in rows)
    differs = np.any(np.stack([row[:shortest] != rows[0][:shortest] for row in rows]), axis=0)
    return int(np.argmax(differs)) if differs.any() else shortest


def tokens_fed(request: Request) -> int:
    """Return the number of input tokens of a request; a branch's last token is only a target."""
    return len(request.prefix) + sum(len(branch) - 1 for branch in request.branches)


def batches(planned: Sequence[PlannedRequest], budget: int) -> list[Batch]:
    """Group requests into canonical batches of at most `budget` input tokens.

    The longest requests come first; requests of equal length keep their order. A request larger
    than the budget forms its own batch.
    """
    # Canonical: floating-point sums may depend on the batch, so batches follow from the requests
    # and the budget alone, never from the worker, the machine or what a run resumes from.
    return _grouped(
        sorted(planned, key=lambda item: -tokens_fed(item.request)),
        budget,
        lambda item: tokens_fed(item.request),
    )


def chunks(all_batches: Sequence[Batch], size: int = CHUNK_TOKENS) -> list[Chunk]:
    """Group batches into chunks of at most `size` input tokens.

    A chunk is the piece of work that is journaled, resumed and distributed among workers.
    """
    return _grouped(
        all_batches, size, lambda batch: sum(tokens_fed(item.request) for item in batch)
    )


def chunk_tokens(budget: int, device: str) -> int:
    """Return how many input tokens a chunk holds, given those of a batch.

    >>> chunk_tokens(1024, "cpu"), chunk_tokens(32768, "cuda")
    (65536, 2097152)
    """
    on_gpu = device.partition(":")[0] == "cuda"
    return max(CHUNK_TOKENS, CHUNK_BATCHES * budget) if on_gpu else CHUNK_TOKENS


def _grouped(
    elements: Iterable[Element], size: int, measure: Callable[[Element], int]
) -> list[list[Element]]:
    """Group elements in order, up to a total of `size` per group; larger elements stand alone."""
    groups: list[list[Element]] = []
    total = size
    for element in elements:
        total += measure(element)
        if total > size:
            groups.append([])
            total = measure(element)
        groups[-1].append(element)
    return groups
