"""A Bloom filter of a stated false-positive bound over 64-bit hashes: its size beforehand, and its bound afterwards.

The filter itself is fastbloom-rs. It does not know what was hashed. Source: Bloom 1970; Kirsch and Mitzenmacher 2006 for
k hashes made of two.
"""

import math
from dataclasses import dataclass

import numpy as np
from fastbloom_rs import BloomFilter
from numpy.typing import NDArray

LEAST, MOST = 1e-9, 0.1  # below, two hashes do not do; above, the number of hashes is too coarse
SLICE = 1 << 16  # hashes handed over at a time
LOOKS = 1_000_000  # bits looked at for the share that is set; the library's own count is wrong above 2^32 bits
SEED = 2019
Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Bloom:
    """A set of hashes; `bits` and `hashes` are those of its filter."""

    bits: int
    hashes: int
    filter: BloomFilter

    @classmethod
    def of(cls, items: int, bound: float) -> "Bloom":
        """An empty filter for `items` distinct hashes; its memory is taken as it fills."""
        made = BloomFilter(enough(items, bound), bound)
        return cls(made.config().size(), made.hashes(), made)

    def add(self, hashes: NDArray[np.uint64]) -> None:
        """Put hashes in."""
        for at in range(0, len(hashes), SLICE):
            self.filter.add_int_batch(hashes[at : at + SLICE].view(np.int64).tolist())

    def found(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """For each hash, whether it is in: always for one that was put in, for another at most with odds of `bound()`."""
        slices = (
            hashes[at : at + SLICE].view(np.int64).tolist() for at in range(0, len(hashes), SLICE)
        )
        return np.array(
            [known for part in slices for known in self.filter.contains_int_batch(part)], np.bool_
        )

    def fill(self) -> float:
        """The share of bits that are set, from `LOOKS` random ones (seed 2019): the upper end of Wilson's 95 % interval."""
        places = np.random.default_rng(SEED).integers(self.bits, size=LOOKS).tolist()
        share = sum(self.filter.contains_hash_indices([place]) for place in places) / LOOKS
        z2 = Z95**2 / LOOKS
        return min(
            (share + z2 / 2 + math.sqrt(z2 * (share * (1 - share) + z2 / 4))) / (1 + z2), 1.0
        )


def odds(fill: float, items: float, bits: int, hashes: int) -> float:
    """The odds that a hash that was not put in is found: fill^k + n / 2^64 + (1 + 8 n / m) / m.

    The second is that of sharing a hash with an item. The third is what k positions made of two hashes cost, a + i b
    mod m: those of a step that m is a small multiple of are few, and an item's of the same step may be nearly the same.
    """
    return min(fill**hashes + items / 2**64 + (1 + 8 * items / bits) / bits, 1.0)


def bits(items: int, bound: float) -> int:
    """Bits of a filter: m = -n ln P / (ln 2)^2, a whole number of 64."""
    return -(-math.ceil(-items * math.log(bound) / math.log(2) ** 2) // 64) * 64


def enough(items: int, bound: float) -> int:
    """The number of items to make a filter for: some to spare, and at least 4 / P bits, for the third of the `odds`."""
    per_item = -math.log(bound) / math.log(2) ** 2
    return max(items + items // 20, math.ceil(4 / (per_item * bound)), 10_000)


def affordable(items: int, available: int) -> float:
    """The least false-positive bound that so many bytes allow for so many items: exp(-8 bytes / n (ln 2)^2), or 4 / bits."""
    return max(
        LEAST,
        4 / (8 * available),
        math.exp(-8 * available / max(items + items // 20, 1) * math.log(2) ** 2),
    )
