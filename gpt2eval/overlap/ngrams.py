"""Text to the 64-bit hashes of its 8-grams of words, block by block, at a memory that does not depend on the text.

A word is a maximal run of ASCII letters and digits of the lower-cased text, `re.findall(r"[a-z0-9]+", text.lower())`; an
8-gram is eight words that follow each other in one document, whatever stands between them. It does not know files.
Source: Radford et al. 2019, section 4: 8-grams of lower-cased alphanumeric words with a single space between.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

N = 8  # words
BLOCK = 1 << 16  # bytes hashed at a time: what is made of them stays in the processor's cache
SEED = 2019
ALPHABET = b"abcdefghijklmnopqrstuvwxyz0123456789"
BITS = (1 << 64) - 1

Hashes = NDArray[np.uint64]


class Grams(NamedTuple):
    """Hashes of 8-grams, in order, and for each the number of the piece of text in which its first word begins."""

    hashes: Hashes
    pieces: NDArray[np.int64]


class _Words(NamedTuple):
    """Hashes of words, the pieces in which they begin, and their documents."""

    hashes: Hashes
    pieces: NDArray[np.int64]
    documents: NDArray[np.int64]

    def after(self, before: "_Words") -> "_Words":
        """The last words of what came before, and these."""
        return _Words(
            np.concatenate([before.hashes[-(N - 1) :], self.hashes]),
            np.concatenate([before.pieces[-(N - 1) :], self.pieces]),
            np.concatenate([before.documents[-(N - 1) :], self.documents]),
        )


class _Block(NamedTuple):
    """Plain bytes, and the pieces in them: where each begins, its number, its document."""

    data: bytes
    starts: list[int]
    pieces: list[int]
    documents: list[int]


class _Tables(NamedTuple):
    """A random number per byte (0 for what is in no word), the powers of a random odd number, and those of its inverse."""

    codes: Hashes
    powers: Hashes
    inverses: Hashes
    base: int
    step: np.uint64


@cache
def _tables() -> _Tables:
    random = np.random.default_rng(SEED)
    codes = np.zeros(256, np.uint64)
    codes[list(ALPHABET)] = random.integers(
        1 << 63, size=len(ALPHABET), dtype=np.uint64
    ) | np.uint64(1)
    base, step = (int(n) | 1 for n in random.integers(1 << 63, size=2, dtype=np.uint64))

    def powers(of: int) -> Hashes:
        factors = np.full(2 * BLOCK + 2, of, np.uint64)
        factors[0] = 1
        return np.multiply.accumulate(factors)

    return _Tables(codes, powers(base), powers(pow(base, -1, 1 << 64)), base, np.uint64(step))


def grams(documents: Iterable[Iterable[str]]) -> Iterator[Grams]:
    """The 8-grams of documents, each given in pieces that may be cut anywhere; where they are cut changes no hash.

    hash of a word = mix(sum of code(byte i) base^i); of an 8-gram = mix(sum of word j's hash x step^(7-j)); all mod 2^64.
    Two different 8-grams have the same hash with a probability of about 2^-64.
    """
    tables = _tables()
    joined = _Words(np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.int64))
    for words in _words(documents, tables):
        joined = words.after(joined)
        count = len(joined.hashes) - N + 1
        if count > 0:
            hashes = joined.hashes[:count].copy()
            for j in range(1, N):
                hashes *= tables.step
                hashes += joined.hashes[j : j + count]
            whole = joined.documents[:count] == joined.documents[N - 1 :]
            yield Grams(_mixed(hashes)[whole], joined.pieces[:count][whole])


def _words(documents: Iterable[Iterable[str]], tables: _Tables) -> Iterator[_Words]:
    """The words that end in each block; one that a block ends in goes on in the next, however long it is."""
    length, total, of = (
        0,
        0,
        (0, 0),
    )  # of the word that is open: its bytes so far, their sum, its piece and document
    for block in _blocks(documents):
        data = np.frombuffer(block.data, np.uint8)
        codes = tables.codes[data]
        inside = np.concatenate([[False], codes != 0, [False]])
        edges = np.flatnonzero(inside[1:] != inside[:-1])
        starts, ends = edges[::2], edges[1::2]
        place = np.searchsorted(block.starts, starts, "right") - 1
        pieces, owners = np.asarray(block.pieces)[place], np.asarray(block.documents)[place]
        sums = codes * tables.powers[: len(codes)]
        sums = (
            np.add.reduceat(sums, starts) * tables.inverses[starts]
            if len(starts)
            else np.zeros(0, np.uint64)
        )
        if length and inside[1]:
            sums[0] = (total + pow(tables.base, length, BITS + 1) * int(sums[0])) & BITS
            pieces[0], owners[0] = of
        elif length:
            sums, pieces, owners = (
                np.insert(sums, 0, np.uint64(total)),
                np.insert(pieces, 0, of[0]),
                np.insert(owners, 0, of[1]),
            )
        if inside[-2]:
            going_on = length if ends[-1] - starts[-1] == len(data) else 0
            length, total, of = (
                going_on + int(ends[-1] - starts[-1]),
                int(sums[-1]),
                (int(pieces[-1]), int(owners[-1])),
            )
            sums, pieces, owners = sums[:-1], pieces[:-1], owners[:-1]
        else:
            length = 0
        yield _Words(_mixed(sums), pieces, owners)


def _blocks(documents: Iterable[Iterable[str]]) -> Iterator[_Block]:
    """Lower-cased pieces as ASCII, what is not ASCII as `?`, a blank between documents and at the end; never empty."""
    data, starts, pieces, owners = bytearray(), list[int](), list[int](), list[int]()
    number = -1
    for owner, document in enumerate(documents):
        for piece in document:
            number += 1
            starts.append(len(data))
            pieces.append(number)
            owners.append(owner)
            plain = piece.lower().encode("ascii", "replace")
            for at in range(0, len(plain), BLOCK):
                data += plain[at : at + BLOCK]
                if len(data) >= BLOCK:
                    yield _Block(bytes(data), starts, pieces, owners)
                    data, starts, pieces, owners = bytearray(), [0], [number], [owner]
        data += b" "
        if len(data) >= BLOCK:
            yield _Block(bytes(data), starts or [0], pieces or [0], owners or [0])
            data, starts, pieces, owners = bytearray(), [0], [max(number, 0)], [owner]
    yield _Block(bytes(data + b" "), starts or [0], pieces or [0], owners or [0])


def _mixed(hashes: Hashes) -> Hashes:
    """Every bit spread over all others, one to one. Source: Steele et al. 2014, SplitMix64's finalizer."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


def words(text: str) -> int:
    """How many words a text has.

    >>> words("It's 8-grams, n\u00e9e I.")
    7
    """
    codes = _tables().codes[np.frombuffer(text.lower().encode("ascii", "replace") + b" ", np.uint8)]
    return int(np.count_nonzero((codes[:-1] != 0) & (codes[1:] == 0)))


def random_text(count: int, seed: int = SEED) -> str:
    """So many random words of eight letters or digits, a space between them; two of them alike have odds of 36^-8."""
    random = np.random.default_rng(seed)
    letters = np.frombuffer(ALPHABET + b" ", np.uint8)
    picked = np.full((count, N + 1), len(ALPHABET))
    picked[:, :N] = random.integers(len(ALPHABET), size=(count, N))
    return letters[picked].tobytes().decode()
