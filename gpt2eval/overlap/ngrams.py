"""Hash the 8-grams of a text block by block, in memory that does not depend on its length.

A word is a maximal run of ASCII letters and digits of the lower-cased text,
`re.findall(r"[a-z0-9]+", text.lower())`. An 8-gram is eight consecutive words of one document,
whatever separates them. Does not know files. Source: Radford et al. 2019, section 4: 8-grams
of strings that "contain only lower-cased alphanumeric words with a single space as a delimiter".
"""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt2eval.overlap import blocks

N = 8  # words
SEED = 2019
ALPHABET = b"abcdefghijklmnopqrstuvwxyz0123456789"
MASK = (1 << 64) - 1

Hashes = NDArray[np.uint64]


class Grams(NamedTuple):
    """Hashes of 8-grams in order, and the number of the piece in which each begins."""

    hashes: Hashes
    pieces: NDArray[np.int64]


class _Words(NamedTuple):
    """Hashes of words, the pieces in which they begin, and their documents."""

    hashes: Hashes
    pieces: NDArray[np.int64]
    documents: NDArray[np.int64]

    def after(self, before: "_Words") -> "_Words":
        """Return these words with the last seven before them, which may begin an 8-gram."""
        return _Words(
            np.concatenate([before.hashes[-(N - 1) :], self.hashes]),
            np.concatenate([before.pieces[-(N - 1) :], self.pieces]),
            np.concatenate([before.documents[-(N - 1) :], self.documents]),
        )


class _OpenWord(NamedTuple):
    """A word that reaches the end of a block.

    `length` counts its bytes so far, and `hash` is their polynomial hash, the sum of code(byte i)
    base^i. `piece` and `document` are where the word begins.
    """

    length: int
    hash: int
    piece: int
    document: int


class _Tables(NamedTuple):
    """A random number per byte (0 outside words), and powers of an odd number and its inverse.

    `base` is that number; `step` is a second odd number, for the positions of words in an 8-gram.
    """

    codes: Hashes
    powers: Hashes
    inverses: Hashes
    base: int
    step: np.uint64


@cache
def _tables() -> _Tables:
    random = np.random.default_rng(SEED)
    codes = np.zeros(256, np.uint64)
    # Odd numbers are never 0 and have an inverse modulo 2^64.
    codes[list(ALPHABET)] = random.integers(
        1 << 63, size=len(ALPHABET), dtype=np.uint64
    ) | np.uint64(1)
    base, step = (int(n) | 1 for n in random.integers(1 << 63, size=2, dtype=np.uint64))

    def powers(number: int) -> Hashes:
        factors = np.full(2 * blocks.BLOCK + 2, number, np.uint64)
        factors[0] = 1
        return np.multiply.accumulate(factors)

    return _Tables(codes, powers(base), powers(pow(base, -1, 1 << 64)), base, np.uint64(step))


def grams(documents: Iterable[Iterable[str]]) -> Iterator[Grams]:
    """Hash the 8-grams of documents. A document is an iterable of pieces; the cuts change no hash.

    The hash of a word is mix(sum of code(byte i) base^i), that of an 8-gram is mix(sum of the hash
    of word j times step^(7-j)), all modulo 2^64. Two different 8-grams collide with a probability
    of 2^-64.
    """
    tables = _tables()
    joined = _Words(np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.int64))
    for words in _words(documents, tables):
        joined = words.after(joined)
        count = len(joined.hashes) - N + 1
        if count > 0:
            # Horner's rule over the eight words, for all 8-grams at once.
            hashes = joined.hashes[:count].copy()
            for j in range(1, N):
                hashes *= tables.step
                hashes += joined.hashes[j : j + count]
            # Documents are in order: equal ends mean that all eight words are of one document.
            is_within = joined.documents[:count] == joined.documents[N - 1 :]
            yield Grams(_mixed(hashes)[is_within], joined.pieces[:count][is_within])


def _words(documents: Iterable[Iterable[str]], tables: _Tables) -> Iterator[_Words]:
    """Yield the words that end in each block.

    A word that reaches the end of a block continues in the next.
    """
    open_word: _OpenWord | None = None
    for block in blocks.split(documents):
        data = np.frombuffer(block.data, np.uint8)
        codes = tables.codes[data]
        # A non-word on either side gives every word two edges: its first byte, and the one after.
        inside = np.concatenate([[False], codes != 0, [False]])
        edges = np.flatnonzero(inside[1:] != inside[:-1])
        starts = edges[::2]
        ends = edges[1::2]
        place = np.searchsorted(block.starts, starts, "right") - 1
        pieces = np.asarray(block.pieces)[place]
        owners = np.asarray(block.documents)[place]
        sums = _word_sums(codes, starts, tables)
        if open_word and inside[1]:
            # The block begins inside the open word: shift the new part past the old one.
            shift = pow(tables.base, open_word.length, MASK + 1)
            sums[0] = (open_word.hash + shift * int(sums[0])) & MASK
            pieces[0] = open_word.piece
            owners[0] = open_word.document
        elif open_word:  # the open word ended with the previous block
            sums = np.insert(sums, 0, np.uint64(open_word.hash))
            pieces = np.insert(pieces, 0, open_word.piece)
            owners = np.insert(owners, 0, open_word.document)
        if inside[-2]:
            length = int(ends[-1] - starts[-1])
            # A word that fills the block began in an earlier one, if one is open.
            before = open_word.length if open_word and length == len(data) else 0
            open_word = _OpenWord(before + length, int(sums[-1]), int(pieces[-1]), int(owners[-1]))
            sums = sums[:-1]
            pieces = pieces[:-1]
            owners = owners[:-1]
        else:
            open_word = None
        yield _Words(_mixed(sums), pieces, owners)


def _word_sums(codes: Hashes, starts: NDArray[np.intp], tables: _Tables) -> Hashes:
    """Return each word's sum of code(byte i) base^i, with i counted from its first byte."""
    if not len(starts):
        return np.zeros(0, np.uint64)
    # Sum each word over block positions (bytes between words are 0), then shift to position 0.
    sums = codes * tables.powers[: len(codes)]
    return np.add.reduceat(sums, starts) * tables.inverses[starts]


def _mixed(hashes: Hashes) -> Hashes:
    """Spread every bit over all others, one to one.

    Source: Steele et al. 2014, SplitMix64's finalizer.
    """
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


def count_words(text: str) -> int:
    """Count the words of a text.

    >>> count_words("It's 8-grams, n\u00e9e I.")
    7
    """
    codes = _tables().codes[np.frombuffer(text.lower().encode("ascii", "replace") + b" ", np.uint8)]
    # A word ends where a byte outside words follows; the appended blank ends the last word.
    return int(np.count_nonzero((codes[:-1] != 0) & (codes[1:] == 0)))


def random_text(count: int, seed: int = SEED) -> str:
    """Return random words of eight letters or digits; two are equal with a probability of 36^-8."""
    random = np.random.default_rng(seed)
    letters = np.frombuffer(ALPHABET + b" ", np.uint8)
    picked = np.full((count, N + 1), len(ALPHABET))
    picked[:, :N] = random.integers(len(ALPHABET), size=(count, N))
    return letters[picked].tobytes().decode()
