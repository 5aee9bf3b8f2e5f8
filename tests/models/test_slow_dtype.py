"""A half precision that a CPU does not have is announced before it starts."""

import logging
from collections.abc import Mapping

import pytest
import torch

from gpt2eval.models.formats.devices import HALF_INSTRUCTIONS, notify_slow_dtype
from gpt2eval.models.options import LoadOptions

AVX2: Mapping[str, object] = {"architecture": "x86_64", "avx2": True, "avx512_bf16": False}
ZEN4: Mapping[str, object] = {**AVX2, "avx512_bf16": True}


@pytest.mark.parametrize(
    ("known", "options", "is_slow"),
    [
        (AVX2, {"dtype": "bfloat16"}, True),
        (AVX2, {"dtype": "float16"}, True),
        (AVX2, {"dtype": "float32"}, False),
        (AVX2, {"dtype": "bfloat16", "device": "cuda"}, False),
        (AVX2, {"dtype": "bfloat16", "device_map": "auto"}, False),
        (ZEN4, {"dtype": "bfloat16"}, False),
        (ZEN4, {"dtype": "float16"}, True),
        ({"architecture": "aarch64"}, {"dtype": "bfloat16"}, False),
        ({}, {"dtype": "bfloat16"}, False),
    ],
)
def test_a_slow_dtype_is_announced(
    known: Mapping[str, object],
    options: dict[str, str],
    is_slow: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with caplog.at_level(logging.WARNING, "gpt2eval"):
        notify_slow_dtype(LoadOptions(**options))  # type: ignore[arg-type]
    assert caplog.text.count("has no instructions for") == int(is_slow)


def test_torch_still_names_these_instructions() -> None:
    known = torch.cpu.get_capabilities()
    if known["architecture"] != "x86_64":
        pytest.skip("the instructions are those of x86")
    assert {name for names in HALF_INSTRUCTIONS.values() for name in names} <= set(known)
