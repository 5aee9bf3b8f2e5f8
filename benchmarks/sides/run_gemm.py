"""The machine's side: how fast it multiplies matrices of the model's shapes, and nothing else.

FLOP/s of `torch.mm` for `[tokens, d] x [d, 3d]`, `[d, d]`, `[d, 4d]` and `[4d, d]`, the four of a GPT-2 block, and for
the vocabulary projection `[rows, d] x [d, V]` with the weight as the model stores it, `[V, d]`. On a CPU also of oneDNN's
product with a weight laid out beforehand, which is what our engine uses there.
"""

import time
from collections.abc import Callable

import torch
from timed import Job, answer, read_job
from transformers import AutoConfig

TOKENS = 1024
FEW_ROWS = 32
SECONDS = 0.5


def rate(
    flops: float, multiply: Callable[[], object], at_once: int, synchronize: Callable[[], object]
) -> tuple[float, float]:
    """FLOP per second of wall time, and of processor time, over about half a second; `at_once` calls between looks."""
    multiply()
    synchronize()
    wall, cpu, count = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - wall < SECONDS:
        for _ in range(at_once):
            multiply()
            count += 1
        synchronize()
    return count * flops / (time.perf_counter() - wall), count * flops / max(
        time.process_time() - cpu, 1e-9
    )


def plain(left: torch.Tensor, right: torch.Tensor) -> Callable[[], object]:
    """A product by torch's own function."""
    out = torch.empty(len(left), right.shape[1], device=left.device, dtype=left.dtype)
    return lambda: torch.mm(left, right, out=out)


def packed(left: torch.Tensor, right: torch.Tensor) -> Callable[[], object]:
    """A product by oneDNN."""
    weight = torch.ops.mkldnn._reorder_linear_weight(right.t().contiguous(), None)
    return lambda: torch.ops.mkldnn._linear_pointwise(left, weight, None, "none", [], "")


Multiply = Callable[[torch.Tensor, torch.Tensor], Callable[[], object]]


def rates(
    job: Job, dtype: torch.dtype, width: int, vocabulary: int, by: Multiply
) -> dict[str, tuple[float, float]]:
    """The rate of each multiplication: a block's four, the projection of 1,024 rows, and of a few."""
    rows = TOKENS if job.device == "cpu" else 8 * TOKENS
    synchronize = torch.cuda.synchronize if job.device != "cpu" else lambda: None
    shapes = {
        "qkv": (rows, width, 3 * width),
        "out": (rows, width, width),
        "up": (rows, width, 4 * width),
        "down": (rows, 4 * width, width),
        "head": (TOKENS, width, vocabulary),
        "head_few": (FEW_ROWS, width, vocabulary),
    }
    made = {}
    for name, (n, inner, columns) in shapes.items():
        left = torch.randn(n, inner, device=job.device).to(dtype)
        right = torch.randn(columns, inner, device=job.device).to(dtype).t()
        right = right if name.startswith("head") else right.contiguous()
        flops = 2.0 * n * inner * columns
        at_once = 50 if job.device != "cpu" else 1 + int(1e8 / flops)
        made[name] = rate(flops, by(left, right), at_once, synchronize)
    return made


def main() -> None:
    """Answer `{dtype, or "dtype oneDNN": {name: [by wall time, by processor time]}}`."""
    job = read_job()
    config = AutoConfig.from_pretrained(job.model).get_text_config()
    ways: dict[str, Multiply] = {"": plain} | ({" oneDNN": packed} if job.device == "cpu" else {})
    with torch.inference_mode():
        answer(
            {
                f"{name}{way}": rates(
                    job, getattr(torch, name), config.hidden_size, config.vocab_size, by
                )
                for name in ("float32", "bfloat16")
                for way, by in ways.items()
            }
        )


if __name__ == "__main__":
    main()
