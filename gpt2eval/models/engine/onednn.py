"""Linear layers on a CPU through oneDNN, with weights rearranged once while loading.

The BLAS that torch's own float32 layers use is slow on some machines: MKL runs AVX2 code on
processors from other vendors. oneDNN, which is part of torch, is fast on both. It computes the same
function, and its bits depend neither on the number of threads nor on the rest of the batch.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers.pytorch_utils import Conv1D

from gpt2eval.models.engine.pages import release_mapped, return_free_heap

TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 0.5}
TANH_GELUS = ("NewGELUActivation", "GELUTanh", "FastGELUActivation", "PytorchGELUTanh")


class Linear(nn.Module):
    """`y = x W^T + b` for inference, with x `[..., inputs]` and W `[outputs, inputs]`.

    `weight` is a copy of W in its original layout.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), None)

    @property
    def weight(self) -> Tensor:
        return self._packed.to_dense()

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self._packed, self.bias, "none", [], "")


@cache
def available(dtype: torch.dtype) -> bool:
    """Return whether oneDNN's layers exist for a dtype and agree with torch's own.

    That depends on the build of torch and on the processor, so a small layer is computed by both.
    """
    if dtype not in TOLERANCES:
        return False
    random = torch.Generator().manual_seed(0)
    x = torch.randn((3, 32), generator=random)
    weight = torch.randn((16, 32), generator=random)
    bias = torch.randn((16,), generator=random)
    try:
        with torch.inference_mode():
            result = Linear(weight.to(dtype), bias.to(dtype))(x.to(dtype)).float()
            return torch.allclose(result, linear(x, weight, bias), atol=TOLERANCES[dtype])
    except (AttributeError, RuntimeError, NotImplementedError):
        return False


def supports(weight: Tensor) -> bool:
    """Return whether oneDNN can use a weight: a plain tensor on the CPU, in a supported dtype.

    A sharded or quantized tensor has its own type.
    """
    return (
        type(weight.detach()) is Tensor and weight.device.type == "cpu" and available(weight.dtype)
    )


def replace_layers(model: nn.Module, *, release: bool = True) -> None:
    """Replace a model's linear layers with oneDNN's where oneDNN supports them.

    Also replaces GELU's tanh approximation, which transformers writes out, with one kernel. With
    `release`, original weights that are mapped from a file leave the process's memory, so that the
    model does not occupy twice its size.
    """
    if release:
        for parameter in filter(supports, model.parameters()):
            release_mapped(parameter)  # it is read again when it is rearranged
    modules: list[tuple[str, Any]] = [*model.named_modules()]
    for name, module in modules:
        if type(module).__name__ in TANH_GELUS:
            model.set_submodule(name, nn.GELU(approximate="tanh"))
        elif (
            type(module) in (nn.Linear, Conv1D)
            and supports(module.weight)
            # accelerate hooks a layer that it moves between devices; leave it alone.
            and not hasattr(module, "_hf_hook")
        ):
            weight = module.weight.t() if isinstance(module, Conv1D) else module.weight
            model.set_submodule(name, Linear(weight, module.bias))
            if release:
                release_mapped(weight)
                return_free_heap()


def identity_fields(model: nn.Module) -> dict[str, str]:
    """Return `{"gemm": "onednn"}` if a model has a oneDNN layer, else {}."""
    if any(isinstance(module, Linear) for module in model.modules()):
        return {"gemm": "onednn"}
    return {}
