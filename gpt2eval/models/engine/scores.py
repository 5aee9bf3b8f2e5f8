"""Logits to log-probabilities, and out-of-memory recovery by halving the batch."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpt2eval.types import Request, TokenScores

ROWS = {
    "cpu": 64,
    "cuda": 4096,
}  # rows of the vocabulary projection computed at once; more than the heap keeps cost page faults


def halving(
    score: Callable[[Sequence[Request]], TokenScores], batch: Sequence[Request]
) -> TokenScores:
    """Score a batch, or if memory runs out its halves. Raises MemoryError with the request where one alone is too much."""
    try:
        return score(batch)
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
    if len(batch) == 1:
        raise MemoryError(batch[0])
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    middle = len(batch) // 2
    return concatenate([halving(score, batch[:middle]), halving(score, batch[middle:])])


def depends_on_length(config: Any) -> bool:
    """Whether positions are turned otherwise in a longer input, so that no two may be computed together."""
    rope = getattr(config, "rope_parameters", None) or {}
    return any(kind in str(rope) for kind in ("'longrope'", "'dynamic'"))


def score_targets(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Log-softmax in float32 (or better) of `[tokens, vocabulary]` at the targets `[tokens]`, and whether they are highest.

    The logits are used up. A lone row is taken twice, for torch shares its sum out to threads.
    """
    if len(logits) == 1:
        logprobs, is_greedy = score_targets(logits.repeat(2, 1), targets.repeat(2))
        return logprobs[:1], is_greedy[:1]
    wide = logits.float() if logits.dtype != torch.float64 else logits
    index = targets.to(logits.device)
    chosen, highest = wide.gather(1, index[:, None])[:, 0], wide.amax(1)
    logprobs = chosen - highest - wide.sub_(highest[:, None]).exp_().sum(1).log()
    return logprobs, chosen >= highest


def collect(scores: Sequence[tuple[Tensor, Tensor]]) -> TokenScores:
    """The scores of a batch's parts, brought over from their device at once."""
    logprobs, is_greedy = zip(*scores, strict=True)
    return TokenScores(torch.cat(logprobs).cpu().numpy(), torch.cat(is_greedy).cpu().numpy())


def concatenate(scores: Sequence[TokenScores]) -> TokenScores:
    """Join the scores of several batches, in order."""
    return TokenScores(
        np.concatenate([s.logprobs for s in scores]), np.concatenate([s.is_greedy for s in scores])
    )
