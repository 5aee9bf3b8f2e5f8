"""The GPU's kernel for scores, run by Triton's interpreter on the CPU."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gpt2eval.models.engine import scores

CHECK = """
import torch
from gpt2eval.models.engine.fused import score_rows
from gpt2eval.models.engine.scores import score_targets

torch.manual_seed(0)
for dtype in (torch.float32, torch.bfloat16, torch.float16):
    for vocabulary in (5, 300, 4096, 9001):
        logits = (4 * torch.randn(6, vocabulary)).to(dtype)
        targets = torch.randint(0, vocabulary, (6,))
        logits[0, [1, 3]] = logits[0].max() + 1  # the target is the first of two tied ids
        targets[0] = 1
        logits[1, [1, vocabulary - 1]] = logits[1].max() + 1  # and here the second
        targets[1] = vocabulary - 1
        logits[2, :-1] = -torch.inf
        targets[2] = vocabulary - 1
        targets[3] = logits[3].argmax()
        logits[4] = 1  # every id is tied
        targets[4] = 0
        expected = score_targets(logits.clone(), targets)
        logprobs, is_greedy, is_tied = score_rows(logits.t().contiguous().t(), targets)
        torch.testing.assert_close(logprobs, expected.logprobs, atol=1e-6, rtol=1e-6)
        assert is_greedy.equal(expected.is_greedy), (dtype, vocabulary)
        assert is_tied.equal(expected.is_tied), (dtype, vocabulary)
        assert is_tied[[0, 1, 4]].all()
    for wrong in (torch.nan, torch.inf):
        logits[0, 2] = wrong
        assert not score_rows(logits, targets)[0][0].isfinite(), wrong
    logits[1] = -torch.inf
    assert not score_rows(logits, targets)[0][1].isfinite()
print("equal")
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton comes with torch for GPUs only")
def test_the_kernel_scores_like_the_plain_operations() -> None:
    variables = os.environ | {
        "TRITON_INTERPRET": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, map(str, sys.path))),
    }
    root = Path(__file__).parents[2]
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHECK],
        env=variables,
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.stdout.strip() == "equal", process.stderr[-2000:]


def no_compiler(logits: Any, targets: Any) -> Any:
    raise RuntimeError("Failed to find C compiler.\nPlease specify via CC")


def working(logits: Any, targets: Any) -> Any:
    return targets, targets, targets


@pytest.mark.parametrize(("kernel", "is_used"), [(no_compiler, False), (working, True)])
def test_a_kernel_that_does_not_compile_is_not_used(
    kernel: Callable[..., Any],
    is_used: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    module = SimpleNamespace(score_rows=kernel)
    monkeypatch.setitem(sys.modules, "gpt2eval.models.engine.fused", module)  # pyright: ignore[reportArgumentType]
    found = scores._fused.__wrapped__(torch.device("cpu"))
    assert found is (kernel if is_used else None)
    notice = "so scores take longer: Failed to find C compiler. Please specify via CC"
    assert (notice in caplog.text) == (not is_used)
