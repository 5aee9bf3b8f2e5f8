"""FLOPs of a task's work, and their share of the measured rate of matrix multiplication."""

from collections.abc import Mapping, Sequence

from gpt2eval.identity import Sizes
from gpt2eval.scoring.flops import Counts, Flops, flops


def work(counted: Mapping[str, int], shape: Mapping[str, int], *, needed: bool = False) -> Flops:
    """Return the FLOPs of a task's work; `gpt2eval.scoring.flops` has the formula.

    A position sees half its context on average, so a window of n positions has n (n + 1) / 2 keys.

    Args:
        counted: The work, as `Counted` of texts.py in JSON.
        shape: The model's shape, as prepare.py writes it.
        needed: Leave out the FLOPs on which no score depends. At positions where nothing is
            scored, the last layer needs only keys and values, which saves 10 d^2 of its 12 d^2 and
            its attention.
    """
    sizes = Sizes(shape["layers"], shape["width"], shape["vocabulary"], shape["matrices"], 0)
    total = flops(Counts(counted["positions"], counted["keys"], counted["scored"]), sizes)
    if not needed:
        return total
    unread_positions = counted["positions"] - counted["positions_read"]
    unread_keys = counted["keys"] - counted["keys_read"]
    unneeded = unread_positions * 2.0 * sizes.matrices / sizes.layers * 10 / 12
    return total._replace(blocks=total.blocks - unneeded - unread_keys * 4.0 * sizes.width)


def block_rate(rates: Mapping[str, Sequence[float]], clock: int) -> float:
    """Return FLOP/s over the four products of a GPT-2 block, weighted by their FLOPs."""
    shares = {"qkv": 3 / 12, "out": 1 / 12, "up": 4 / 12, "down": 4 / 12}
    return 1 / sum(share / rates[name][clock] for name, share in shares.items())


def share(done: Flops, seconds: float, rates: Mapping[str, Sequence[float]], clock: int) -> float:
    """Return the time that work takes at the measured GEMM rates, divided by `seconds`."""
    at_full_rate = done.blocks / block_rate(rates, clock) + done.head / rates["head"][clock]
    return at_full_rate / seconds
