"""Score logits on a GPU in one pass over them: a Triton kernel.

`scores.score_targets` defines the scores. Its plain operations read and write the logits five
times in float32; this kernel reads them once, in their own dtype, and writes nothing of their size.
"""

from typing import Any

import torch
import triton  # pyright: ignore[reportMissingImports] - comes with torch for GPUs only
import triton.language as tl  # pyright: ignore[reportMissingImports]
from torch import Tensor

BLOCK = 4096  # logits that a program reads at once


@triton.jit
def _score(
    logits: Any,
    targets: Any,
    logprobs: Any,
    greedy: Any,
    tied: Any,
    stride: Any,
    vocabulary: Any,
    block: tl.constexpr,
) -> None:
    """Score one row. The running sum is relative to the highest logit so far."""
    row = tl.program_id(0).to(tl.int64)
    start_of_row = logits + row * stride
    highest = -float("inf")
    first = 0  # the lowest id with the highest logit
    equal = 0  # how many ids have it
    total = 0.0  # sum exp(z - highest)
    for start in range(0, vocabulary, block):
        ids = start + tl.arange(0, block)
        z = tl.load(start_of_row + ids, mask=ids < vocabulary, other=-float("inf"))
        z = z.to(tl.float32)
        top = tl.max(z, axis=0)
        count = tl.sum((z == top).to(tl.int32), axis=0)
        lowest = tl.min(tl.where(z == top, ids, vocabulary), axis=0)
        first = tl.where(top > highest, lowest, first)
        equal = tl.where(top > highest, count, tl.where(top == highest, equal + count, equal))
        raised = tl.maximum(highest, top)
        # -inf - -inf is not a number, so a block of -inf is measured from 0.
        base = tl.where(raised == -float("inf"), 0.0, raised)
        total = total * tl.exp(highest - base) + tl.sum(tl.exp(z - base), axis=0)
        highest = raised
    target = tl.load(targets + row)
    chosen = tl.load(start_of_row + target).to(tl.float32)
    tl.store(logprobs + row, chosen - highest - tl.log(total))
    tl.store(greedy + row, target == first)
    tl.store(tied + row, equal > 1)


def score_rows(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return log-probabilities, whether each target is greedy, and whether that is tied.

    `logits` has shape `[tokens, vocabulary]` in float32 or half precision; `targets` has shape
    `[tokens]`. The results have shape `[tokens]`.
    """
    rows, vocabulary = logits.shape
    if logits.stride(1) != 1:
        logits = logits.contiguous()
    logprobs = torch.empty(rows, dtype=torch.float32, device=logits.device)
    greedy = torch.empty(rows, dtype=torch.bool, device=logits.device)
    tied = torch.empty(rows, dtype=torch.bool, device=logits.device)
    programs: Any = _score[(rows,)]  # pyright: ignore[reportIndexIssue] - one program per row
    with torch.cuda.device_of(logits):
        programs(logits, targets, logprobs, greedy, tied, logits.stride(0), vocabulary, BLOCK)
    return logprobs, greedy, tied
