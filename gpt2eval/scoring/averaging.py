"""Means in which every window, or every batch of windows, has the same weight.

Some tools average the mean loss of each forward pass, or of each batch of them, so that a token of
a short window counts more than another.
"""

from collections.abc import Sequence
from typing import Literal

from gpt2eval.scoring.plan import PlannedRequest


def weighted(
    windows: Sequence[PlannedRequest], mean: Literal["tokens", "windows", "batches"], batch: int
) -> list[PlannedRequest]:
    """Return windows whose tokens have the weight that a mean gives them.

    With T scored tokens in W groups, of which one has t, each of its tokens has the weight
    `T / (W t)`. The weighted mean over all tokens is then the mean of the groups' means. A group is
    a window, or `batch` successive windows. The weights add up to T, so units stay what they are.
    Groups of equal size have the weight 1.
    """
    if mean == "tokens" or not windows:
        return [*windows]
    size = 1 if mean == "windows" else batch
    groups = [windows[first : first + size] for first in range(0, len(windows), size)]
    total = sum(map(_scored, groups))
    return [
        window._replace(weight=window.weight * total / (len(groups) * _scored(group)))
        for group in groups
        for window in group
    ]


def _scored(group: Sequence[PlannedRequest]) -> int:
    """Return how many tokens windows score."""
    return sum(len(branch) for window in group for branch in window.request.branches)
