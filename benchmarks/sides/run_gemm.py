"""The machine's side: how fast it multiplies matrices of the model's shapes.

It measures FLOP/s of `torch.mm` for `[tokens, d] x [d, 3d]`, `[d, d]`, `[d, 4d]` and `[4d, d]`, the
four products of a GPT-2 block, and for the vocabulary projection `[rows, d] x [d, V]` with the
weight stored as in the model, `[V, d]`. On a CPU it also measures oneDNN's product with a weight in
oneDNN's own layout, which is what our engine uses there.
"""

import time
from collections.abc import Callable

import torch
from timed import Job, answer, read_job
from transformers import AutoConfig

TOKENS = 1024
FEW_ROWS = 32  # rows of a window with a stride of 32
SECONDS = 0.5  # duration of one measurement


def rate(
    flops: float, multiply: Callable[[], object], at_once: int, synchronize: Callable[[], object]
) -> tuple[float, float]:
    """Return FLOP per second of wall time, and per second of processor time.

    Reads the clock once per `at_once` calls.
    """
    multiply()
    synchronize()
    count = 0
    wall_start = time.perf_counter()
    cpu_start = time.process_time()
    while time.perf_counter() - wall_start < SECONDS:
        for _ in range(at_once):
            multiply()
            count += 1
        synchronize()
    wall = time.perf_counter() - wall_start
    cpu = max(time.process_time() - cpu_start, 1e-9)
    return count * flops / wall, count * flops / cpu


def plain(left: torch.Tensor, right: torch.Tensor) -> Callable[[], object]:
    """Return a product by torch's own function."""
    out = torch.empty(len(left), right.shape[1], device=left.device, dtype=left.dtype)
    return lambda: torch.mm(left, right, out=out)


def packed(left: torch.Tensor, right: torch.Tensor) -> Callable[[], object]:
    """Return a product by oneDNN, with the weight converted to its layout in advance."""
    weight = torch.ops.mkldnn._reorder_linear_weight(right.t().contiguous(), None)
    return lambda: torch.ops.mkldnn._linear_pointwise(left, weight, None, "none", [], "")


Multiply = Callable[[torch.Tensor, torch.Tensor], Callable[[], object]]


def rates(
    job: Job, dtype: torch.dtype, width: int, vocabulary: int, by: Multiply
) -> dict[str, tuple[float, float]]:
    """Return the rate of each product: four of a block, and the projection of many and few rows."""
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
    measured = {}
    for name, (n, inner, columns) in shapes.items():
        left = torch.randn(n, inner, device=job.device).to(dtype)
        right = torch.randn(columns, inner, device=job.device).to(dtype).t()
        right = right if name.startswith("head") else right.contiguous()
        flops = 2.0 * n * inner * columns
        # Enough work between two clock readings that their own cost does not matter.
        at_once = 50 if job.device != "cpu" else 1 + int(1e8 / flops)
        measured[name] = rate(flops, by(left, right), at_once, synchronize)
    return measured


def main() -> None:
    """Write `{dtype, or "dtype oneDNN": {name: [by wall time, by processor time]}}`."""
    job = read_job()
    config = AutoConfig.from_pretrained(job.model).get_text_config()
    products: dict[str, Multiply] = {"": plain}
    if job.device == "cpu":
        products[" oneDNN"] = packed
    result = {}
    with torch.inference_mode():
        for dtype in ("float32", "bfloat16"):
            for suffix, product in products.items():
                result[f"{dtype}{suffix}"] = rates(
                    job, getattr(torch, dtype), config.hidden_size, config.vocab_size, product
                )
    answer(result)


if __name__ == "__main__":
    main()
