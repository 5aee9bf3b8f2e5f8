"""Encoded passages to requests, requests to batches, and scores back to passages.

Which tokens are scored given which context is decided here, from the passages and the window alone. It does not
know tasks by name, nor how a model works. Source of the window: issue 2 and the README's section on windows.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from gpt2eval.errors import UsageError
from gpt2eval.types import Encoded, Ids, Request, Scored, TokenScores
from gpt2eval.windows import SPANS, Window

UNIT_TOKENS = 1 << 16
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


def units(cut: Sequence[list[Planned]], size: int = UNIT_TOKENS) -> list[list[list[Planned]]]:
    """Batches in units of work of at most `size` tokens: what is journaled, resumed and shared out."""
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


def check_finite(batch: Sequence[Planned], scores: TokenScores, records: Sequence[int]) -> None:
    """Raise UsageError, naming record and token, where a log-probability is NaN or infinite."""
    if np.isfinite(scores.logprobs).all():
        return
    at = int(np.argmin(np.isfinite(scores.logprobs)))
    value = scores.logprobs[at]
    for item in batch:
        for branch, target in zip(item.request.branches, item.targets, strict=True):
            if 0 <= at < len(branch):
                raise UsageError(
                    f"record {records[target.passage]}, token {target.first + at}: the model's log-probability is {value}; "
                    "expected a finite number"
                )
            at -= len(branch)


class Sheet:
    """The scores of all passages' tokens, filled batch by batch; beside them, how often each counts (0 if not scored)."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self.starts = np.concatenate([[0], np.cumsum(lengths)])
        self.logprobs = np.zeros(self.starts[-1])
        self.hits = np.zeros(self.starts[-1], np.bool_)
        self.scored = np.zeros(self.starts[-1], np.bool_)
        self.weights = np.zeros(self.starts[-1])
        self.found: dict[int, bool] = {}

    def fill(self, batch: Sequence[Planned], scores: TokenScores) -> None:
        """Enter the scores of a batch."""
        self.found |= {
            item.targets[0].passage: bool(f) for item, f in zip(batch, scores.found, strict=False)
        }
        at = 0
        for item in batch:
            for branch, target in zip(item.request.branches, item.targets, strict=True):
                place = slice(self.starts[target.passage] + target.first, None)
                self.logprobs[place][: len(branch)] = scores.logprobs[at : at + len(branch)]
                self.hits[place][: len(branch)] = scores.hits[at : at + len(branch)]
                self.scored[place][: len(branch)] = True
                self.weights[place][: len(branch)] = item.weight
                at += len(branch)

    def fold(self, number: int, encoded: Encoded, tokens: range) -> Scored:
        """Sum a passage's token scores over its parts, exactly, each as often as it counts.

        Tokens before the first part's start that are in `tokens` count to the first part (a question's tokens
        after the common prefix). A token straddles that has one of the two outer bounds of the parts inside it.
        """
        base = int(self.starts[number])
        place = slice(base + tokens.start, base + tokens.stop)
        ends, parts = encoded.ends[tokens.start : tokens.stop], encoded.passage.parts
        part = np.searchsorted([p.end for p in parts[:-1]], ends, "left")
        bounds_of_parts = np.searchsorted(part, range(1, len(parts)))
        scored, weights = self.scored[place], self.weights[place]
        begins = np.concatenate([[0], encoded.ends])[:-1]
        bounds = (parts[0].start, parts[-1].end)
        cut = np.any([(begins < bound) & (bound < encoded.ends) for bound in bounds], axis=0)
        return Scored(
            passage=encoded.passage,
            nats=np.array(
                [
                    -math.fsum(values)
                    for values in np.split(weights * self.logprobs[place], bounds_of_parts)
                ]
            ),
            tokens=np.diff(
                np.rint(np.cumsum(np.bincount(part, weights, len(parts)))), prepend=0
            ).astype(np.int64),
            hits=np.bincount(part[self.hits[place]], minlength=len(parts)),
            unscored=int((~scored).sum()),
            straddling=int(cut[tokens.start : tokens.stop + 1].sum()),
            found=self.found.get(number),
        )
