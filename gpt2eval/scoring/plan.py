"""Encoded passages to requests, requests to batches, batches to chunks.

Decides from the passages and the window alone which tokens are scored given which context.
Does not know task names or how a model works. The docs page "Protocols and windows" explains the
windows.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np

from gpt2eval.errors import UsageError
from gpt2eval.scoring.large import files_of, release, search
from gpt2eval.scoring.requests import Batch as Batch
from gpt2eval.scoring.requests import Chunk as Chunk
from gpt2eval.scoring.requests import Grouped, Lazy
from gpt2eval.scoring.requests import PlannedRequest as PlannedRequest
from gpt2eval.scoring.requests import Target as Target
from gpt2eval.scoring.requests import tokens_fed as tokens_fed
from gpt2eval.scoring.rolled import Rolled, Stretch
from gpt2eval.scoring.windows import Window
from gpt2eval.types import Encoded, Ids, Request

CHUNK_TOKENS = 1 << 16
# On a GPU a chunk is so many full batches: about a second of work for the smallest GPT-2, so that
# writing the journal takes little of it.
CHUNK_BATCHES = 64
AT_ONCE = 1 << 12  # records that are planned before the memory of files is given back


def scored_range(encoded: Encoded) -> range:
    """Return the tokens that end inside the passage's parts.

    Where the parts begin at the start of the text, the range begins with the first token, even
    if that token has no characters of its own.
    """
    parts = encoded.passage.parts
    start = parts[0].start
    first, last = search(encoded.ends, [start, parts[-1].end], "right")
    return range(int(first) if start else 0, int(last))


def windows(encoded: Sequence[Encoded], window: Window) -> Rolled:
    """Cut texts into windows, each of their segments by itself."""
    stretches = [
        Stretch(number, one.ids[segment.start : segment.stop], segment.start)
        for number, one in enumerate(encoded)
        for segment in segments(one)
    ]
    return Rolled(stretches, window)


def segments(encoded: Encoded) -> Sequence[range]:
    """Return the ranges of tokens that are cut into windows one by one."""
    return encoded.segments or (range(len(encoded.ids)),)


def records(
    encoded: Sequence[Encoded], window: Window, *, last_token: bool, closed: bool
) -> tuple[list[range], list[PlannedRequest]]:
    """Plan one request per record, whose passages are adjacent, as `branching` does."""
    files = files_of(column for one in encoded for column in (one.ids, one.ends))
    ranges: list[range] = []
    planned: list[PlannedRequest] = []
    for _, passages in groupby(encoded, key=lambda e: e.passage.record):
        # One range per passage so far, so len(ranges) is the index of the group's first passage.
        group_ranges, item = branching(
            len(ranges), [*passages], window, last_token=last_token, closed=closed
        )
        ranges += group_ranges
        planned.append(item)
        if len(planned) % AT_ONCE == 0:
            release(files)
    return ranges, planned


def branching(
    number: int,
    group: Sequence[Encoded],
    window: Window,
    *,
    last_token: bool = False,
    closed: bool = False,
) -> tuple[list[range], PlannedRequest]:
    """Turn the passages of one record into one request with a common prefix.

    For several passages, scores the tokens after their longest common prefix, at least the last
    token of each. For a single passage, scores the tokens of its parts (only the last one if
    `last_token`). A prefix that exceeds the context loses tokens on the left; if the window
    repeats the start token, the start token remains as the first token. Passages that are `closed`
    end with a token that is not scored, whose place is read.

    Returns the scored token range of each passage, and the request. `number` is the index of the
    first passage. Raises UsageError if there is nothing to score, nothing to predict it from, or
    more to score than the context holds.
    """
    record = group[0].passage.record
    ranges = [scored_range(encoded) for encoded in group]
    if closed:
        ranges = [tokens[:-1] for tokens in ranges]
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
    longest = max(len(tokens) for tokens in ranges) + closed
    # A branch's last token is only a target, never an input: it needs no place in the context.
    available = window.context + 1 - longest
    if available < 1:
        raise UsageError(
            f"record {record}: {longest} tokens to score; "
            f"expected at most the context of {window.context}"
        )
    branches = tuple(
        encoded.ids[tokens.start : tokens.stop + closed]
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


def batches(planned: Lazy[PlannedRequest], budget: int) -> Grouped[PlannedRequest]:
    """Group requests into canonical batches of at most `budget` input tokens.

    The longest requests come first; requests of equal length keep their order. A request larger
    than the budget forms its own batch.
    """
    # Canonical: floating-point sums may depend on the batch, so batches follow from the requests
    # and the budget alone, never from the worker, the machine or what a run resumes from.
    return Grouped(planned, budget, np.argsort(-planned.sizes, kind="stable"))


def chunks(all_batches: Lazy[Batch], size: int = CHUNK_TOKENS) -> Grouped[Batch]:
    """Group batches into chunks of at most `size` input tokens.

    A chunk is the piece of work that is journaled, resumed and distributed among workers.
    """
    return Grouped(all_batches, size)


def chunk_tokens(budget: int, device: str) -> int:
    """Return how many input tokens a chunk holds, given those of a batch.

    >>> chunk_tokens(1024, "cpu"), chunk_tokens(32768, "cuda")
    (65536, 2097152)
    """
    on_gpu = device.partition(":")[0] == "cuda"
    return max(CHUNK_TOKENS, CHUNK_BATCHES * budget) if on_gpu else CHUNK_TOKENS
