"""What the precision of a model costs on its device, as a notice before it starts."""

import torch

from gpt2eval.notices import notify

# NVIDIA's data sheet of the H100 SXM: 989 TFLOP/s in bfloat16, and 67 in float32 without TF32. TF32
# stays off, because it rounds every factor to 10 bits.
SLOWER = 15
CHANGE = "0.004 %"  # measured; benchmarks/README.md, "What bfloat16 changes"


def notify_cost(dtype: torch.dtype, device: torch.device) -> None:
    """Say that full float32 on a GPU is slow, and what bfloat16 would change."""
    if device.type == "cuda" and dtype == torch.float32:
        notify(
            f"full float32 on a GPU is up to {SLOWER} times as slow as --dtype bfloat16; "
            f"that changed the perplexity of SmolLM2-135M by {CHANGE} where it was measured"
        )
