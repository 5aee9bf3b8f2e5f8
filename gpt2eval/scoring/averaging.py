"""Means in which every window, or every batch of windows, has the same weight.

Some tools average the mean loss of each forward pass, or of each batch of them, so that a token of
a short window counts more than another.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gpt2eval.scoring.rolled import Rolled


def weighted(windows: Rolled, mean: Literal["tokens", "windows", "batches"], batch: int) -> Rolled:
    """Return windows whose tokens have the weight that a mean gives them.

    With T scored tokens in W groups, of which one has t, each of its tokens has the weight
    `T / (W t)`. The weighted mean over all tokens is then the mean of the groups' means. A group is
    a window, or `batch` successive windows. The weights add up to T, so units stay what they are.
    Groups of equal size have the weight 1.
    """
    if mean == "tokens" or not len(windows):
        return windows
    size = 1 if mean == "windows" else batch
    return windows.weighted(weights_of(windows.scored, windows.weights, size))


def weights_of(
    scored: NDArray[np.integer], weights: NDArray[np.float64], size: int
) -> NDArray[np.float64]:
    """Return the weights of windows in groups of `size`.

    >>> weights_of(np.array([3, 1]), np.ones(2), 1)
    array([0.66666667, 2.        ])
    """
    starts = np.arange(0, len(scored), size)
    counts = np.add.reduceat(scored, starts, dtype=np.int64)
    own = counts[np.arange(len(scored)) // size]
    return weights * int(scored.sum(dtype=np.int64)) / (len(starts) * own)
