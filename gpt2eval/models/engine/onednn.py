"""A model's linear layers on a CPU, computed by oneDNN with weights that were laid out for it once.

The BLAS behind torch's own float32 layers leaves half of some machines unused (MKL runs AVX2 code on other makers'
processors); oneDNN, which is part of torch, does not. The function is the same, and its bits depend neither on the
number of threads nor on what else is in the batch. It knows layers, not models.
"""

import ctypes
import mmap
import sys
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers.pytorch_utils import Conv1D

TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 0.5}
PAGEOUT = 21  # Linux's MADV_PAGEOUT, which Python's mmap does not name
TANH_GELUS = ("NewGELUActivation", "GELUTanh", "FastGELUActivation", "PytorchGELUTanh")


class Linear(nn.Module):
    """`x W^T + b`, x `[..., inputs]`, W `[outputs, inputs]`, for inference; `weight` gives W back, in a copy."""

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
    """Whether this torch, on this processor, has the layers in a dtype, and they compute what torch's own do."""
    if dtype not in TOLERANCES:
        return False
    random = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(shape, generator=random) for shape in ((3, 32), (16, 32), (16,)))
    try:
        with torch.inference_mode():
            made = Linear(weight.to(dtype), bias.to(dtype))(x.to(dtype)).float()
            return torch.allclose(made, linear(x, weight, bias), atol=TOLERANCES[dtype])
    except (AttributeError, RuntimeError, NotImplementedError):
        return False


def applies(weight: Tensor) -> bool:
    """Whether oneDNN may have a weight: one that lies on the CPU, whole (not a process's part of it), in a dtype it knows."""
    return (
        type(weight.detach()) is Tensor and weight.device.type == "cpu" and available(weight.dtype)
    )


def _let_go(weight: Tensor) -> None:
    """Tell Linux that a checkpoint's pages, from which a weight was mapped, need not stay in memory; nothing is lost.

    Neither need what laying it out has used of the heap.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        first = -(-weight.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
        size = weight.data_ptr() + weight.untyped_storage().nbytes() - first
        libc.madvise(ctypes.c_void_p(first), ctypes.c_size_t(max(size, 0)), PAGEOUT)
        getattr(libc, "malloc_trim", lambda _: None)(0)


def take_over(model: nn.Module) -> None:
    """Put oneDNN's layers in the places of a model's plain ones, where they apply; GELU's tanh form becomes one kernel."""
    modules: list[tuple[str, Any]] = [*model.named_modules()]
    for name, module in modules:
        if type(module).__name__ in TANH_GELUS:
            model.set_submodule(name, nn.GELU(approximate="tanh"))
        elif (
            type(module) in (nn.Linear, Conv1D)
            and applies(module.weight)
            and not hasattr(module, "_hf_hook")
        ):
            weight = module.weight.t() if isinstance(module, Conv1D) else module.weight
            model.set_submodule(name, Linear(weight, module.bias))
            _let_go(weight)


def said(model: nn.Module) -> dict[str, str]:
    """The field of a model's identity that tells that its layers are oneDNN's; nothing where none is."""
    return (
        {"gemm": "onednn"} if any(isinstance(module, Linear) for module in model.modules()) else {}
    )
