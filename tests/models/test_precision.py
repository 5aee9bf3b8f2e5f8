"""The notice about the cost of float32 on a GPU."""

import logging

import pytest
import torch

from gpt2eval.models.engine.precision import notify_cost


@pytest.mark.parametrize(
    ("dtype", "device", "expected"),
    [
        (torch.float32, "cuda", 1),
        (torch.bfloat16, "cuda", 0),
        (torch.float32, "cpu", 0),
        (torch.float64, "cuda", 0),
    ],
)
def test_float32_on_a_gpu_is_announced(
    dtype: torch.dtype, device: str, expected: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "gpt2eval"):
        notify_cost(dtype, torch.device(device))
    assert len(caplog.messages) == expected
    assert all("up to 15 times as slow as --dtype bfloat16" in line for line in caplog.messages)
