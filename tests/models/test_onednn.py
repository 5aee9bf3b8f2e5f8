"""oneDNN's linear layers: torch's function, independent of the batch and of the threads."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import linear
from transformers.pytorch_utils import Conv1D

from gpt2eval.models.engine import onednn

pytestmark = pytest.mark.skipif(
    not all(map(onednn.available, onednn.TOLERANCES)),
    reason="this build of torch has no oneDNN layers",
)
SIZES = st.integers(1, 70)


def tensors(
    rows: int, inputs: int, outputs: int, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    x = torch.randn((rows, inputs), generator=random)
    weight = torch.randn((outputs, inputs), generator=random)
    bias = torch.randn((outputs,), generator=random)
    return x, weight, bias


@given(SIZES, SIZES, SIZES, st.booleans(), st.integers(0, 9))
def test_it_computes_a_linear_layer(
    rows: int, inputs: int, outputs: int, biased: bool, seed: int
) -> None:
    x, weight, bias = tensors(rows, inputs, outputs, seed)
    with torch.inference_mode():
        result = onednn.Linear(weight, bias if biased else None)(x)
    torch.testing.assert_close(
        result, linear(x, weight, bias if biased else None), rtol=1e-5, atol=1e-4
    )


def test_bits_depend_neither_on_threads_nor_on_the_batch() -> None:
    x, weight, bias = tensors(1000, 192, 1024)
    layer = onednn.Linear(weight, bias)
    threads = torch.get_num_threads()
    with torch.inference_mode():
        expected = layer(x)
        try:
            torch.set_num_threads(3 - min(threads, 2))
            assert torch.equal(layer(x), expected)
        finally:
            torch.set_num_threads(threads)
        assert torch.equal(layer(x[:300]), expected[:300])
        assert torch.equal(layer(x[None, 7:8]), expected[None, 7:8])


def test_the_weight_survives_the_round_trip() -> None:
    _, weight, bias = tensors(1, 48, 160)
    assert torch.equal(onednn.Linear(weight, bias).weight, weight)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_model_keeps_its_function(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(24, 32), nn.ReLU(), Conv1D(16, 32), nn.Linear(16, 8, bias=False)
    ).to(dtype)
    x = torch.randn(5, 24).to(dtype)
    with torch.inference_mode():
        before = model(x)
        onednn.replace_layers(model)
        torch.testing.assert_close(
            model(x), before, rtol=1e-2 if dtype == torch.bfloat16 else 1e-5, atol=1e-2
        )
    is_supported = dtype != torch.float64
    replaced = [isinstance(module, onednn.Linear) for module in model]
    assert replaced == ([True, False, True, True] if is_supported else [False] * 4)
    assert onednn.identity_fields(model) == ({"gemm": "onednn"} if is_supported else {})
