"""A model's linear layers on a CPU, computed by oneDNN with weights that were laid out for it once.

The BLAS behind torch's own float32 layers leaves half of some machines unused (MKL runs AVX2 code on other makers'
processors); oneDNN, which is part of torch, does not. The function is the same, and its bits depend neither on the
number of threads nor on what else is in the batch. It knows layers, not models.
"""

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers.pytorch_utils import Conv1D

DTYPES = (torch.float32, torch.bfloat16)
TANH_GELUS = ("NewGELUActivation", "GELUTanh", "FastGELUActivation", "PytorchGELUTanh")


class Linear(nn.Module):
    """`x W^T + b`, x `[..., inputs]`, W `[outputs, inputs]`, for inference; `weight` gives W back, in a copy."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), None)

    @property
    def weight(self) -> Tensor:
        return self._packed.to_dense()

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self._packed, self.bias, "none", [], "")


@cache
def available() -> bool:
    """Whether this build of torch has the layers, and they compute what torch's own do."""
    x, weight, bias = torch.randn(3, 32), torch.randn(16, 32), torch.randn(16)
    try:
        with torch.inference_mode():
            return all(
                torch.allclose(Linear(weight.to(d), bias.to(d))(x.to(d)).float(), linear(x, weight, bias), atol=tolerance)
                for d, tolerance in zip(DTYPES, (1e-4, 0.5), strict=True)
            )
    except (AttributeError, RuntimeError, NotImplementedError):
        return False


def layer(weight: Tensor, bias: Tensor | None) -> nn.Module:
    """A linear layer of a weight: oneDNN's where that applies, else torch's own."""
    if available() and weight.device.type == "cpu" and weight.dtype in DTYPES:
        return Linear(weight, bias)
    plain = nn.Linear(*weight.shape[::-1], bias=bias is not None, device="meta")
    plain.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias}), assign=True)
    return plain.requires_grad_(requires_grad=False)


def take_over(model: nn.Module) -> None:
    """Put oneDNN's layers in the places of a model's plain ones, where they apply; GELU's tanh form becomes one kernel."""
    for name, module in [*model.named_modules()]:
        if type(module) is nn.Linear:
            model.set_submodule(name, layer(module.weight, module.bias))
        elif type(module) is Conv1D:
            model.set_submodule(name, layer(module.weight.t(), module.bias))
        elif type(module).__name__ in TANH_GELUS:
            model.set_submodule(name, nn.GELU(approximate="tanh"))


def said(model: nn.Module) -> dict[str, str]:
    """The field of a model's identity that tells that its layers are oneDNN's; nothing where none is."""
    return {"gemm": "onednn"} if any(isinstance(module, Linear) for module in model.modules()) else {}
