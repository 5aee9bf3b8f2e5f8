"""FLOPs of a task's work, and their share of the measured rate of matrix multiplication."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Flops(NamedTuple):
    """FLOPs of a task's work: in the blocks with attention, and in the vocabulary projection."""

    blocks: float
    head: float


def flops(counted: Mapping[str, int], shape: Mapping[str, int], *, needed: bool = False) -> Flops:
    """Return 2 M per position + 4 L d per key + 2 d V per scored token.

    M is the number of weights in the blocks' matrices, 12 L d^2 for GPT-2. A position sees half its
    context on average, so the second term is 4 L d x context / 2 per position.

    Args:
        counted: The work, as `Counted` of texts.py in JSON.
        shape: The model's shape, as prepare.py writes it.
        needed: Leave out the FLOPs on which no score depends. At positions where nothing is
            scored, the last layer needs only keys and values, which saves 10 d^2 of its 12 d^2 and
            its attention.
    """
    layers = shape["layers"]
    width = shape["width"]
    weights = shape["matrices"]
    blocks = 2.0 * weights * counted["positions"] + 4.0 * layers * width * counted["keys"]
    if needed:
        unread_positions = counted["positions"] - counted["positions_read"]
        unread_keys = counted["keys"] - counted["keys_read"]
        blocks -= unread_positions * 2.0 * weights / layers * 10 / 12
        blocks -= unread_keys * 4.0 * width
    return Flops(blocks, 2.0 * width * shape["vocabulary"] * counted["scored"])


def block_rate(rates: Mapping[str, Sequence[float]], clock: int) -> float:
    """Return FLOP/s over the four products of a GPT-2 block, weighted by their FLOPs."""
    shares = {"qkv": 3 / 12, "out": 1 / 12, "up": 4 / 12, "down": 4 / 12}
    return 1 / sum(share / rates[name][clock] for name, share in shares.items())


def share(work: Flops, seconds: float, rates: Mapping[str, Sequence[float]], clock: int) -> float:
    """Return the time that the work takes at the measured GEMM rates, divided by `seconds`."""
    at_full_rate = work.blocks / block_rate(rates, clock) + work.head / rates["head"][clock]
    return at_full_rate / seconds
