"""Convert logits to log-probabilities, and halve a batch that does not fit into memory."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from gpt2eval.models.load_errors import is_out_of_memory
from gpt2eval.types import Request, TokenScores

# Rows of the vocabulary projection computed at once. On a CPU more rows than the heap caches
# would cost page faults.
ROWS = {"cpu": 64, "cuda": 4096}
Item = TypeVar("Item")
Result = TypeVar("Result")


class TargetScores(NamedTuple):
    """The scores of targets, each `[tokens]`; see `types.TokenScores`."""

    logprobs: Tensor
    is_greedy: Tensor
    is_tied: Tensor


def halving(
    score: Callable[[Sequence[Request]], TokenScores], batch: Sequence[Request]
) -> TokenScores:
    """Score a batch; see `in_halves`. A single request is halved by its branches.

    Raises MemoryError(request) if a single branch does not fit into memory.
    """
    return in_halves(score, batch, concatenate, _halves)


def in_halves(
    compute: Callable[[Sequence[Item]], Result],
    batch: Sequence[Item],
    join: Callable[[Sequence[Result]], Result],
    split: Callable[[Sequence[Item]], tuple[Sequence[Item], Sequence[Item]]],
) -> Result:
    """Compute a batch; if it does not fit into memory, compute its halves, recursively.

    `split` returns the halves, or raises MemoryError(request) for what cannot be split.
    """
    try:
        return compute(batch)
    except (MemoryError, RuntimeError) as error:
        is_named = error.args and isinstance(error.args[0], Request)
        if is_named or not is_out_of_memory(error):
            raise
    # Outside the handler: its traceback would keep the batch's tensors alive.
    free_memory()
    return join([in_halves(compute, half, join, split) for half in split(batch)])


def free_memory() -> None:
    """Return memory that torch's allocator holds unused to the accelerator."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _halves(batch: Sequence[Request]) -> tuple[Sequence[Request], Sequence[Request]]:
    """Split a batch, or the branches of its only request; raise MemoryError for a single branch."""
    if len(batch) > 1:
        middle = len(batch) // 2
        return batch[:middle], batch[middle:]
    prefix, branches = batch[0]
    if len(branches) == 1:
        raise MemoryError(batch[0])
    middle = len(branches) // 2
    return [Request(prefix, branches[:middle])], [Request(prefix, branches[middle:])]


def depends_on_length(config: Any) -> bool:
    """Return whether rotary positions depend on the input's length (longrope, dynamic).

    Inputs of such a model cannot share a forward pass: the longest would affect the others.
    """
    rope = getattr(config, "rope_parameters", None) or {}
    return any(kind in str(rope) for kind in ("'longrope'", "'dynamic'"))


def score_targets(logits: Tensor, targets: Tensor) -> TargetScores:
    """Return each target's log-probability, whether it is the argmax, and whether that is tied.

    log p(t) = z_t - max(z) - log sum exp(z - max(z)), in float32 or better.

    A target is greedy if it is the lowest id with the highest logit. Logits are compared with the
    precision in which the model computes them, because widening them to float32 is exact. All ids
    of the model compete, also those that its tokenizer does not use.

    `logits` has shape `[tokens, vocabulary]` and is overwritten; `targets` has shape `[tokens]`.
    """
    if len(logits) == 1:
        # torch splits the sum over a single row among threads, which changes its last bits.
        logprobs, *flags = score_targets(logits.repeat(2, 1), targets.repeat(2))
        return TargetScores(logprobs[:1], flags[0][:1], flags[1][:1])
    wide = logits.float() if logits.dtype != torch.float64 else logits
    index = targets.to(logits.device)
    chosen = wide.gather(1, index[:, None])[:, 0]
    highest = wide.amax(1)
    below = wide.sub_(highest[:, None])  # 0 for the highest logits and for no others
    is_greedy = chosen >= highest
    is_tied = torch.zeros_like(is_greedy)
    tokens, vocabulary = below.shape
    # Counting over the whole block is several times faster than per row, and most blocks of
    # float32 logits hold no tie.
    if int(below.count_nonzero()) < tokens * (vocabulary - 1):
        is_tied = below.count_nonzero(1) < vocabulary - 1
        rows = is_tied.nonzero()[:, 0]
        is_greedy[rows] = below[rows].argmax(1) == index[rows]  # the first of equal values
    logprobs = chosen - highest - below.exp_().sum(1).log()
    return TargetScores(logprobs, is_greedy, is_tied)


def collect(scores: Sequence[TargetScores]) -> TokenScores:
    """Join the scores of a batch's parts with one transfer from their device."""
    columns = (torch.cat(column).cpu().numpy() for column in zip(*scores, strict=True))
    logprobs, is_greedy, is_tied = columns
    return TokenScores(logprobs, is_greedy, is_tied=is_tied)


def concatenate(scores: Sequence[TokenScores]) -> TokenScores:
    """Join the scores of several batches, in order."""
    return TokenScores(*(np.concatenate(column) for column in zip(*scores, strict=True)))
