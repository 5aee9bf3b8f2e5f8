"""What the precision of a model costs on its device, as a notice before it starts."""

import torch

from gpt2eval.notices import notify

# Full float32 on a GPU, without TF32, which would change the numbers: data sheet of NVIDIA's H100
# SXM, 67 TFLOP/s in float32 and 989 in bfloat16. What bfloat16 changes: benchmarks/README.md.
SLOWER = 15


def notify_cost(dtype: torch.dtype, device: torch.device) -> None:
    """Say that full float32 on a GPU is slow, and what bfloat16 would change."""
    if device.type == "cuda" and dtype == torch.float32:
        notify(
            f"float32 on a GPU takes up to {SLOWER} times as long as --dtype bfloat16, which "
            "changes a perplexity by about 0.01 % and ties 3 % of the highest scores"
        )
