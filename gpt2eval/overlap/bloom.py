"""A Bloom filter over 64-bit hashes: its size for a false-positive bound, and its actual bound.

The filter itself is fastbloom-rs. Does not know what is hashed. Source: Bloom 1970;
Kirsch and Mitzenmacher 2006 for k hashes made from two.
"""

import math
from dataclasses import dataclass

import numpy as np
from fastbloom_rs import BloomFilter
from numpy.typing import NDArray

from gpt2eval.metrics.intervals import Z95

LOWEST_BOUND = 1e-9  # below, positions derived from two hashes are not independent enough
HIGHEST_BOUND = 0.1  # above, rounding the number of hash functions is too coarse
BATCH = 1 << 16  # hashes per call of the filter
SAMPLED_BITS = 1_000_000  # bits read to estimate the fill; the library miscounts above 2^32 bits
SEED = 2019


@dataclass(frozen=True, slots=True)
class Bloom:
    """A set of hashes, and the number of bits and hash functions of its filter."""

    bits: int
    hashes: int
    filter: BloomFilter

    @classmethod
    def empty(cls, items: int, bound: float) -> "Bloom":
        """Return an empty filter for `items` distinct hashes. Memory is allocated as it fills."""
        filter_ = BloomFilter(capacity(items, bound), bound)
        return cls(filter_.config().size(), filter_.hashes(), filter_)

    def add(self, hashes: NDArray[np.uint64]) -> None:
        """Add hashes to the set."""
        for start in range(0, len(hashes), BATCH):
            self.filter.add_int_batch(_as_ints(hashes[start : start + BATCH]))

    def contains(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return for each hash whether it is present: true if it was added, rarely true if not."""
        answers: list[bool] = []
        for start in range(0, len(hashes), BATCH):
            answers += self.filter.contains_int_batch(_as_ints(hashes[start : start + BATCH]))
        return np.array(answers, np.bool_)

    def fill_bound(self) -> float:
        """Return an upper bound of the share of set bits: the upper end of Wilson's 95 % interval.

        The sample is `SAMPLED_BITS` random bits (seed 2019).
        """
        places = np.random.default_rng(SEED).integers(self.bits, size=SAMPLED_BITS).tolist()
        share = sum(self.filter.contains_hash_indices([place]) for place in places) / SAMPLED_BITS
        # `metrics.intervals.wilson` would round the last digit of recorded bounds differently.
        z2 = Z95**2 / SAMPLED_BITS
        half = math.sqrt(z2 * (share * (1 - share) + z2 / 4))
        return min((share + z2 / 2 + half) / (1 + z2), 1.0)


def _as_ints(hashes: NDArray[np.uint64]) -> list[int]:
    """Return hashes as the signed integers that the filter expects."""
    return hashes.view(np.int64).tolist()


def false_positive_bound(fill: float, items: float, bits: int, hashes: int) -> float:
    """Return the probability that a hash that was not added is reported as present.

    fill^k + n / 2^64 + (1 + 8 n / m) / m. The second term is a collision with the hash of an item.
    The third is the cost of deriving k positions from two hashes, a + i b mod m: m is a
    small multiple of a few steps b, and items with the same step may have nearly equal positions.
    """
    return min(fill**hashes + items / 2**64 + (1 + 8 * items / bits) / bits, 1.0)


def filter_bits(items: int, bound: float) -> int:
    """Return the bits of a filter: m = -n ln P / (ln 2)^2, rounded up to a multiple of 64."""
    return -(-math.ceil(-items * math.log(bound) / math.log(2) ** 2) // 64) * 64


def capacity(items: int, bound: float) -> int:
    """Return the number of items to size a filter for.

    Adds a margin of 5 %, and at least 4 / P bits for the third term of `false_positive_bound`.
    """
    bits_per_item = -math.log(bound) / math.log(2) ** 2
    return max(items + items // 20, math.ceil(4 / (bits_per_item * bound)), 10_000)


def lowest_bound(items: int, available: int) -> float:
    """Return the lowest false-positive bound for some items in some bytes of memory.

    exp(-8 bytes / n (ln 2)^2), or 4 / bits if that is more.
    """
    return max(
        LOWEST_BOUND,
        4 / (8 * available),
        math.exp(-8 * available / max(items + items // 20, 1) * math.log(2) ** 2),
    )
