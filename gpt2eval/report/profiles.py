"""Loss by a token's position in the context, and by its frequency in the scored text.

Computed from the token tables of finished runs. Bins grow by powers of two. Questions count with
their right choice only.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt2eval.metrics.clusters import is_stream
from gpt2eval.metrics.resampling import rate_interval
from gpt2eval.metrics.result import Interval
from gpt2eval.report.measured import Measured
from gpt2eval.scoring.token_table import BITS, TokenTable

Ints = NDArray[np.int64]


class Bin(NamedTuple):
    """The tokens whose position, or frequency, lies from `first` to `last`.

    Attributes:
        first: The smallest position or frequency of the bin.
        last: The largest one.
        tokens: How many tokens it has.
        value: Their loss: bits per byte, or nats per token.
        interval: The 95 % interval of the loss; None if none can be trusted.
    """

    first: int
    last: int
    tokens: int
    value: float
    interval: Interval | None

    @property
    def middle(self) -> float:
        """The geometric middle of the bin; 0.5 for the position without context."""
        return (self.first * self.last) ** 0.5 if self.first else 0.5


def by_position(measured: Measured) -> list[Bin]:
    """Return bits per byte by the number of tokens that the model saw before the token.

    The unit is the byte of the published text, so models with different tokenizers can be compared.
    A start token counts as seen. Bins without a byte are left out.
    """
    table = _right(measured)
    units = (table.end - table.begin) * table.weight.astype(np.float64)
    bits = -table.logprob.astype(np.float64) * table.weight * BITS
    return _bins(measured, table, table.context.astype(np.int64), bits, units)


def by_frequency(measured: Measured) -> list[Bin]:
    """Return nats per token by how often the token's id occurs among the scored tokens.

    Tokens are those of the model's tokenizer.
    """
    table = _right(measured)
    _, numbers, counts = np.unique(table.id, return_inverse=True, return_counts=True)
    units = table.weight.astype(np.float64)
    nats = -table.logprob.astype(np.float64) * units
    return _bins(measured, table, counts[numbers].astype(np.int64), nats, units)


def _right(measured: Measured) -> TokenTable:
    table = measured.tokens()
    return table.select(table.is_right)


def _bins(
    measured: Measured,
    table: TokenTable,
    places: Ints,
    losses: NDArray[np.float64],
    units: NDArray[np.float64],
) -> list[Bin]:
    """Return the bins of tokens by their places; each bin's interval resamples the clusters."""
    parts = _part_of_token(measured, table)
    exponents = np.zeros(len(places), np.int64)
    positive = places > 0
    exponents[positive] = np.floor(np.log2(places[positive])).astype(np.int64) + 1
    bins: list[Bin] = []
    for exponent in np.unique(exponents).tolist():
        chosen = exponents == exponent
        total = float(units[chosen].sum())
        if total <= 0:
            continue
        first, last = (0, 0) if exponent == 0 else (2 ** (exponent - 1), 2**exponent - 1)
        last = min(last, int(places.max()))
        interval = _interval(measured, parts, chosen, losses, units)
        value = float(losses[chosen].sum()) / total
        bins.append(Bin(first, last, int(chosen.sum()), value, interval))
    return bins


def _part_of_token(measured: Measured, table: TokenTable) -> Ints | None:
    """Return the index of each token's tally, or None if the tallies do not tell it."""
    if not is_stream(measured.parts):
        return table.record.astype(np.int64)
    tokens = [part.tokens for part in measured.parts]
    if sum(tokens) != len(table):
        return None
    return np.repeat(np.arange(len(tokens)), tokens)


def _interval(
    measured: Measured,
    parts: Ints | None,
    chosen: NDArray[np.bool_],
    losses: NDArray[np.float64],
    units: NDArray[np.float64],
) -> Interval | None:
    """Return the interval of a bin's loss over the clusters that have tokens in it."""
    if parts is None or not np.isfinite(losses[chosen]).all():
        return None
    count = len(measured.parts)
    by_part = [
        np.bincount(parts[chosen], values[chosen], minlength=count).astype(np.float64)
        for values in (losses, units)
    ]
    kept = by_part[1] > 0
    numbers = measured.independent.numbers
    return rate_interval(
        by_part[0][kept],
        by_part[1][kept],
        None if numbers is None else numbers[kept],
        serial=measured.independent.serial,
    ).interval
