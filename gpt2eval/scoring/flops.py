"""Count what a model computes for requests, and the floating-point operations that this takes.

    FLOPs = 2 M tokens + 4 L d pairs + 2 d V scored

M is the number of weights in the matrices of the blocks, 12 L d^2 for GPT-2; L, d and V are layers,
width and vocabulary. A product with a weight is a multiplication and an addition, hence the 2. A
pair is a token and a token that it attends to: 2 d for its attention weight and 2 d for its value,
in each layer.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gpt2eval.identity import Sizes


class Counts(NamedTuple):
    """Tokens fed to the model, pairs of a token and one that it sees, and tokens scored."""

    tokens: int = 0
    pairs: int = 0
    scored: int = 0

    def plus(self, other: "Counts") -> "Counts":
        """Return the sums."""
        return Counts(*(a + b for a, b in zip(self, other, strict=True)))


class Flops(NamedTuple):
    """FLOPs in the blocks, attention included, and in the projection to the vocabulary."""

    blocks: float
    head: float

    @property
    def total(self) -> float:
        """The sum of both."""
        return self.blocks + self.head


def counts_of(prefix: int, branches: Sequence[int]) -> Counts:
    """Return the counts of a request with a prefix and branches of so many tokens.

    The prefix is computed once. The last token of a branch is predicted but never an input.

    >>> counts_of(3, [2, 1])
    Counts(tokens=4, pairs=10, scored=3)
    """
    inputs = [length - 1 for length in branches]
    pairs = _triangle(prefix) + sum(length * prefix + _triangle(length) for length in inputs)
    return Counts(prefix + sum(inputs), pairs, sum(branches))


def _triangle(length: int) -> int:
    """Return the pairs of a text in which each token sees itself and those before it."""
    return length * (length + 1) // 2


def total(counts: Iterable[Counts]) -> Counts:
    """Return the sums of several counts."""
    result = Counts()
    for each in counts:
        result = result.plus(each)
    return result


def flops(counts: Counts, sizes: Sizes) -> Flops:
    """Return the FLOPs of a decoder for some counts.

    >>> f"{flops(Counts(1, 1, 1), Sizes.of_gpt2(12, 768, 50257, 1024)).total:,.0f}"
    '247,100,928'
    """
    attention = 4 * sizes.layers * sizes.width * counts.pairs
    blocks = 2 * sizes.matrices * counts.tokens + attention
    return Flops(float(blocks), 2.0 * sizes.width * sizes.vocabulary * counts.scored)
