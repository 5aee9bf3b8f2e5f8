"""Convert logits to log-probabilities, and halve a batch that does not fit into memory.

A GPU computes while the host continues. So a batch is started first, and its scores are waited for
later: `Pending` is a started batch.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from gpt2eval.errors import one_line
from gpt2eval.models.load_errors import is_out_of_memory
from gpt2eval.notices import notify
from gpt2eval.types import Request, TokenScores

# Rows of the vocabulary projection computed at once. On a CPU more rows than the heap caches
# would cost page faults.
ROWS = {"cpu": 64, "cuda": 4096}
Item = TypeVar("Item")
Result = TypeVar("Result")
# Waits for the scores of a batch that was started, and returns them.
Pending = Callable[[], TokenScores]


class TargetScores(NamedTuple):
    """The scores of targets, each `[tokens]`; see `types.TokenScores`.

    `log_starts` is empty unless it is asked for.
    """

    logprobs: Tensor
    is_greedy: Tensor
    is_tied: Tensor
    log_starts: Tensor = torch.zeros(0)


def halving(start: Callable[[Sequence[Request]], Pending], batch: Sequence[Request]) -> Pending:
    """Start a batch; see `in_halves`. A single request is halved by its branches.

    Memory runs out at the start, never later. Raises MemoryError(request) if a single branch does
    not fit into memory.
    """
    return in_halves(start, batch, joined, _halves)


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
    if len(logits) == 1 and logits.device.type == "cpu":
        # torch splits the sum over a single row among threads, which changes its last bits.
        logprobs, *flags = score_targets(logits.repeat(2, 1), targets.repeat(2))
        return TargetScores(logprobs[:1], flags[0][:1], flags[1][:1])
    index = targets.to(logits.device)
    if logits.is_cuda and logits.dtype != torch.float64 and (fused := _fused(logits.device)):
        return TargetScores(*fused(logits, index))
    wide = logits.float() if logits.dtype != torch.float64 else logits
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


@cache
def _fused(
    device: torch.device,
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]] | None:
    """Return the kernel that scores in one pass over the logits, or None if it does not run.

    Triton compiles it here, with a C compiler that the machine may lack.
    """
    try:
        from gpt2eval.models.engine.fused import score_rows
    except ImportError:  # a torch without Triton
        return None
    try:
        score_rows(
            torch.zeros(1, 2, device=device), torch.zeros(1, dtype=torch.long, device=device)
        )
    except Exception as error:  # whatever Triton, a compiler or a driver raises
        notify(f"Triton does not run on this machine, so scores take longer: {one_line(error)}")
        return None
    return score_rows


def log_mass(logits: Tensor, ids: Tensor) -> Tensor:
    """Return the log-probability of any of some ids, in float32 or better, `[tokens]`.

    log sum exp(z_i) over the ids, minus log sum exp(z) over the vocabulary.
    """
    if len(logits) == 1 and logits.device.type == "cpu":  # as in `score_targets`
        return log_mass(logits.repeat(2, 1), ids)[:1]
    wide = logits.float() if logits.dtype != torch.float64 else logits
    return wide[:, ids].logsumexp(1) - wide.logsumexp(1)


def score_positions(
    logits_at: Callable[[Tensor], Tensor],
    read: Tensor,
    targets: Tensor,
    starts: np.ndarray | None = None,
) -> Pending:
    """Start scoring targets, a few hundred rows of the vocabulary projection at a time.

    `logits_at` returns the logits `[n, vocabulary]` at n of the positions `read`, which may then be
    overwritten. `read` and `targets` have shape `[tokens]`. With the ids `starts`, their mass is
    scored, too.
    """
    rows = ROWS.get(read.device.type, 64)
    parts = zip(read.split(rows), targets.split(rows), strict=True)
    if starts is None:
        return collect([score_targets(logits_at(some), those) for some, those in parts])
    ids = torch.from_numpy(starts).to(read.device)
    return collect([_with_mass(logits_at(some), those, ids) for some, those in parts])


def _with_mass(logits: Tensor, targets: Tensor, ids: Tensor) -> TargetScores:
    mass = log_mass(logits, ids.to(logits.device))  # before the logits are overwritten
    return score_targets(logits, targets)._replace(log_starts=mass)


def collect(scores: Sequence[TargetScores]) -> Pending:
    """Start the transfer of a batch's scores from their device."""
    columns = [torch.cat(column) for column in zip(*scores, strict=True)]
    device = columns[0].device  # of the last, where it is empty, the CPU
    on_gpu = device.type == "cuda"
    # On a GPU torch chooses pinned memory for the copies, and the host need not wait for them here.
    copies = [column.to("cpu", non_blocking=on_gpu) for column in columns]
    copied = torch.cuda.current_stream(device).record_event() if on_gpu else None

    def wait() -> TokenScores:
        if copied:
            copied.synchronize()
        logprobs, is_greedy, is_tied, log_starts = (column.numpy() for column in copies)
        return TokenScores(logprobs, is_greedy, is_tied=is_tied, log_starts=log_starts)

    return wait


def joined(parts: Sequence[Pending]) -> Pending:
    """Join the parts of a batch, in order."""
    return lambda: TokenScores.joined(part() for part in parts)
