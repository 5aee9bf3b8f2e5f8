"""Measure how long a sequence of residuals remembers, and cut it into independent blocks.

Does not know what the residuals are.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FINEST = 200  # blocks into which a sequence is cut before its autocorrelation is measured
ORDER = 10  # highest order of the autoregressive model
FEWEST = 30  # independent units below which no interval is given
BIAS = 0.08  # share of the long-run variance that a block length may miss
EXCESS = 0.15  # share by which a block length may overstate it
CLEAR = 3.0  # standard deviations at which a correlation of neighbours is beyond doubt

Values = NDArray[np.float64]


class Autoregression(NamedTuple):
    """A sequence as x[t] = c[1] x[t-1] + ... + c[p] x[t-p] + noise of a variance."""

    coefficients: Values
    variance: float


def bounds(entries: int, blocks: int) -> NDArray[np.int64]:
    """Return where each of `blocks` adjacent blocks of about equal length begins."""
    return np.linspace(0, entries, blocks + 1).round().astype(np.int64)[:-1]


def merged(values: Values, blocks: int) -> Values:
    """Return the sums over adjacent blocks.

    >>> merged(np.array([1.0, 2.0, 3.0, 4.0]), 2)
    array([3., 7.])
    """
    return np.add.reduceat(values, bounds(len(values), blocks))


def clearly_dependent(residuals: Values) -> bool:
    """Return whether neighbours are correlated beyond doubt, at any block length.

    Neighbouring blocks of 1, 2, 4, ... residuals are compared while there are at least `FEWEST`
    of them. Signed square roots keep single large residuals from deciding.
    """
    blocks = len(residuals)
    while blocks >= FEWEST:
        values = merged(residuals, blocks)
        values = np.sign(values) * np.sqrt(abs(values))
        values -= values.mean()
        power = float(values @ values)
        if power and abs(values[1:] @ values[:-1]) / power * math.sqrt(blocks) > CLEAR:
            return True
        blocks //= 2
    return False


def independent_blocks(residuals: Values) -> int:
    """Return the number of blocks of a sequence that count as independent.

    With S(f) the spectrum of an autoregressive model of the sequence, its long-run variance is
    S(0), and the average of S over the lowest b frequencies estimates it. The result is 4 b for
    the largest b whose average stays within -8 % and +15 % of S(0); for an AR(1) sequence of n
    values with coefficient r this is 1 to 1.7 times n (1 - r) / (1 + r). An uncorrelated sequence
    has as many blocks as values, at most `FINEST`.

    Sources: Lazarus, Lewis, Stock and Watson 2018, Journal of Business & Economic Statistics 36,
    541-559, for the average of the lowest frequencies; Andrews 1991, Econometrica 59, 817-858,
    for choosing their number by an autoregressive model.
    """
    # Blocks of equal length: unequal ones would look like noise.
    length = -(-len(residuals) // FINEST)
    blocks = len(residuals) // length
    if blocks < FEWEST:
        return blocks
    residuals = residuals[: blocks * length]
    most = max(blocks // 4, 8)
    model = autoregression(merged(residuals, blocks))
    number = np.arange(1, most + 1)
    average = np.cumsum(_relative_spectrum(model, number / (2 * blocks))) / number
    too_low = np.flatnonzero(average < 1 - BIAS)
    if len(too_low):
        return min(max(4 * int(too_low[0]), 1), blocks)
    too_high = np.flatnonzero(average > 1 + EXCESS)
    # A spectrum that rises makes intervals too wide, never too narrow: it is no reason for none.
    return min(max(4 * int(too_high[0]), 32), blocks) if len(too_high) else blocks


def _relative_spectrum(model: Autoregression, frequencies: Values) -> Values:
    """Return S(f) / S(0); frequencies are in cycles per value."""
    lags = np.arange(1, len(model.coefficients) + 1)
    waves = np.exp(-2j * np.pi * np.outer(frequencies, lags))
    gain = abs(1 - waves @ model.coefficients) ** 2
    return (1 - model.coefficients.sum()) ** 2 / gain


def autoregression(values: Values) -> Autoregression:
    """Fit an autoregressive model whose order has the least Hannan-Quinn criterion.

    Solves the Yule-Walker equations by the recursion of Levinson and Durbin.
    """
    size = len(values)
    centred = values - values.mean()
    power = abs(np.fft.rfft(centred, 2 * size)) ** 2
    covariances = np.fft.irfft(power)[: min(ORDER, size // 10) + 1] / size
    best = model = Autoregression(np.zeros(0), float(covariances[0]))
    if model.variance <= 0:
        return model
    least = math.log(model.variance)
    penalty = 2 * math.log(math.log(size)) / size
    for order in range(1, len(covariances)):
        expected = model.coefficients @ covariances[order - 1 : 0 : -1]
        partial = (covariances[order] - expected) / model.variance
        if not abs(partial) < 1:
            break
        kept = model.coefficients - partial * model.coefficients[::-1]
        model = Autoregression(np.append(kept, partial), model.variance * (1 - partial**2))
        criterion = math.log(model.variance) + order * penalty
        if criterion < least:
            best, least = model, criterion
    return best
