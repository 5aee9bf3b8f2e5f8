"""Convert logits to log-probabilities, and halve a batch that does not fit into memory."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpt2eval.types import Request, TokenScores

# Rows of the vocabulary projection computed at once. On a CPU more rows than the heap caches
# would cost page faults.
ROWS = {"cpu": 64, "cuda": 4096}


def halving(
    score: Callable[[Sequence[Request]], TokenScores], batch: Sequence[Request]
) -> TokenScores:
    """Score a batch; if it does not fit into memory, score its halves, recursively.

    Raises MemoryError(request) if a single request does not fit.
    """
    try:
        return score(batch)
    except RuntimeError as error:
        # A CPU allocator raises a plain RuntimeError, which only its message identifies.
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
    # Outside the handler: its traceback would keep the batch's tensors alive.
    if len(batch) == 1:
        raise MemoryError(batch[0])
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    middle = len(batch) // 2
    return concatenate([halving(score, batch[:middle]), halving(score, batch[middle:])])


def depends_on_length(config: Any) -> bool:
    """Return whether rotary positions depend on the input's length (longrope, dynamic).

    Inputs of such a model cannot share a forward pass: the longest would affect the others.
    """
    rope = getattr(config, "rope_parameters", None) or {}
    return any(kind in str(rope) for kind in ("'longrope'", "'dynamic'"))


def score_targets(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the log-probability of each target, and whether it has the highest logit.

    log p(t) = z_t - max(z) - log sum exp(z - max(z)), in float32 or better.

    `logits` has shape `[tokens, vocabulary]` and is overwritten; `targets` and both results have
    shape `[tokens]`.
    """
    if len(logits) == 1:
        # torch splits the sum over a single row among threads, which changes its last bits.
        logprobs, is_greedy = score_targets(logits.repeat(2, 1), targets.repeat(2))
        return logprobs[:1], is_greedy[:1]
    wide = logits.float() if logits.dtype != torch.float64 else logits
    index = targets.to(logits.device)
    chosen = wide.gather(1, index[:, None])[:, 0]
    highest = wide.amax(1)
    logprobs = chosen - highest - wide.sub_(highest[:, None]).exp_().sum(1).log()
    return logprobs, chosen >= highest


def collect(scores: Sequence[tuple[Tensor, Tensor]]) -> TokenScores:
    """Join the scores of a batch's parts with one transfer from their device."""
    logprobs, is_greedy = zip(*scores, strict=True)
    return TokenScores(torch.cat(logprobs).cpu().numpy(), torch.cat(is_greedy).cpu().numpy())


def concatenate(scores: Sequence[TokenScores]) -> TokenScores:
    """Join the scores of several batches, in order."""
    return TokenScores(
        np.concatenate([s.logprobs for s in scores]), np.concatenate([s.is_greedy for s in scores])
    )
