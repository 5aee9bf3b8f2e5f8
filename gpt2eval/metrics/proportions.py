"""Two proportions of the same records: McNemar's exact test, and Tango's interval."""

import math

from gpt2eval.metrics.intervals import Z95

HALVINGS = 60  # of an interval of length 2


def mcnemar(wins: int, losses: int) -> float:
    """Return the exact two-sided p of McNemar's test.

    With n = wins + losses contested records, each a win or a loss with probability 1/2, it is twice
    the probability of at most min(wins, losses) of one kind, and at most 1. Source: McNemar 1947,
    Psychometrika 12, 153-157.

    Args:
        wins: Records that only the second model answers correctly.
        losses: Records that only the first one answers correctly.

    >>> round(mcnemar(1, 9), 6)
    0.021484
    """
    contested, fewer = wins + losses, min(wins, losses)
    ways = math.lgamma(contested + 1) - math.lgamma(fewer + 1) - math.lgamma(contested - fewer + 1)
    term = math.exp(ways - contested * math.log(2))
    tail = 0.0
    for k in range(fewer, -1, -1):
        tail += term
        if term <= 1e-17 * tail:
            break
        term *= k / (contested - k + 1)
    return min(1.0, 2 * tail)


def tango(wins: int, losses: int, records: int) -> tuple[float, float]:
    """Return Tango's 95 % interval of the difference (wins - losses) / records, as (low, high).

    It contains the differences d that the score test does not reject. With b = wins, c = losses,
    n = records and q the most likely share of losses if the difference is d,

        |b - c - n d| <= 1.959964 sqrt(n (2 q + d (1 - d)))
        q = (sqrt(B^2 + 8 n c d (1 - d)) - B) / 4 n,  B = (2 n - b + c) d - b - c

    Source: Tango 1998, Statistics in Medicine 17, 891-908.

    >>> low, high = tango(9, 1, 50)
    >>> round(low, 3), round(high, 3)
    (0.045, 0.293)
    """
    share = (wins - losses) / records

    def bound(far: float) -> float:
        near = share
        for _ in range(HALVINGS):
            middle = (near + far) / 2
            if _is_rejected(middle, wins, losses, records):
                far = middle
            else:
                near = middle
        return near

    return bound(-1.0), bound(1.0)


def _is_rejected(difference: float, wins: int, losses: int, records: int) -> bool:
    """Return whether the score test rejects a difference at 5 %."""
    spread = difference * (1 - difference)
    half = (2 * records - wins + losses) * difference - wins - losses
    root = math.sqrt(max(half**2 + 8 * records * losses * spread, 0.0))
    variance = records * (2 * (root - half) / (4 * records) + spread)
    return abs(wins - losses - records * difference) > Z95 * math.sqrt(max(variance, 0.0))
