"""Windows over the tokens of texts, as requests that are formed when they are asked for."""

from array import array
from collections.abc import Sequence
from copy import copy
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt2eval.scoring.requests import Lazy, PlannedRequest, Target
from gpt2eval.scoring.windows import Window, spans
from gpt2eval.types import Ids, Request


class Stretch(NamedTuple):
    """Tokens of passage `passage`, of which `before` precede, that are cut into windows."""

    passage: int
    ids: Ids
    before: int = 0


class Rolled(Lazy[PlannedRequest]):
    """The windows of stretches of tokens: of each, the spans of `x`.

    `x = [start] + ids`, or `x = ids` if the window has no start token or only replaces tokens by
    it. Where the window repeats or replaces, and in every window of the kind `second_half`, the
    start token stands in place of the window's first token.

    Attributes:
        scored: How many tokens each window scores.
        weights: How often each of them counts.
    """

    def __init__(self, stretches: Sequence[Stretch], window: Window) -> None:
        self._stretches = stretches
        self._start = np.array([] if window.start is None else [window.start], np.int32)
        self._added = 0 if window.replaces else len(self._start)
        self._overwrites = window.repeats_start or window.replaces or window.kind == "second_half"
        lefts, firsts, ends, counts = array("q"), array("q"), array("q"), array("q")
        weights = array("d")
        for stretch in stretches:
            before = len(ends)
            for left, first, end, weight in spans(self._added + len(stretch.ids), window):
                lefts.append(left)
                firsts.append(first)
                ends.append(end)
                weights.append(weight)
            counts.append(len(ends) - before)
        longest = max((len(stretch.ids) for stretch in stretches), default=0)
        kind = np.int32 if longest < 1 << 30 else np.int64
        self._lefts, self._firsts, self._ends = (np.array(p, kind) for p in (lefts, firsts, ends))
        self._bounds = np.cumsum(np.array(counts, np.int64))
        self.weights: NDArray[np.float64] = np.array(weights)
        self.sizes = self._ends - self._lefts - 1
        self.requests = len(self.sizes)

    @property
    def scored(self) -> NDArray[np.integer]:
        return self._ends - self._firsts

    def weighted(self, weights: NDArray[np.float64]) -> "Rolled":
        """Return the same windows with other weights."""
        changed = copy(self)
        changed.weights = weights
        return changed

    def element(self, number: int) -> PlannedRequest:
        place = 0
        if len(self._stretches) > 1:
            place = int(np.searchsorted(self._bounds, number, "right"))
        stretch = self._stretches[place]
        left = int(self._lefts[number]) - self._added
        first = int(self._firsts[number]) - self._added
        end = int(self._ends[number]) - self._added
        prefix = stretch.ids[max(left, 0) : first]
        if left < 0:
            prefix = np.concatenate([self._start, prefix])
        if self._overwrites:
            prefix = np.concatenate([self._start, prefix[len(self._start) :]])
        request = Request(prefix, (stretch.ids[first:end],))
        target = Target(stretch.passage, stretch.before + first)
        return PlannedRequest(request, (target,), float(self.weights[number]))
