"""What only a GPU can show: its kernels, scores equal to a CPU's, and a host that never waits.

pytest -m gpu
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from test_engine import random_model, requests
from torch.profiler import ProfilerActivity, profile
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from gpt2eval import evaluate
from gpt2eval.models.engine import varlen
from gpt2eval.models.engine.packed import PackedEngine
from gpt2eval.models.engine.padded import PaddedEngine
from gpt2eval.models.engine.scores import score_targets
from gpt2eval.models.engine.segments import segments
from gpt2eval.models.options import LoadOptions
from gpt2eval.types import Request

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
GPU = torch.device("cuda")
# How the profiler names launches: of torch's kernels, of Triton's, and with attributes.
LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernelEx")
HALF = (torch.bfloat16, torch.float16)


def question(prefix: int, choices: int, length: int = 12) -> Request:
    random = np.random.default_rng(prefix)
    ids = [random.integers(0, 300, n).astype(np.int32) for n in (prefix, *[length] * choices)]
    return Request(ids[0], tuple(ids[1:]))


def large_model(kind: str, dtype: torch.dtype) -> Any:
    """Return a random model with heads of 64, as the kernels of a GPU expect."""
    torch.manual_seed(2)
    if kind == "gpt2":
        config = GPT2Config(n_layer=3, n_embd=256, n_head=4, vocab_size=300, initializer_range=0.1)
        gpt2: Any = GPT2LMHeadModel(config)
        return gpt2.eval().to(dtype)
    config = LlamaConfig(
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=300,
        initializer_range=0.1,
    )
    llama: Any = LlamaForCausalLM(config)
    return llama.eval().to(dtype)


def packed_on_gpu(kind: str, dtype: torch.dtype) -> PackedEngine:
    model = large_model(kind, dtype).to(GPU)
    engine = PackedEngine.if_equivalent(model, PaddedEngine(model))
    assert engine is not None, "the model's own attention disagrees with the GPU's kernels"
    return engine


BATCHES = {
    "runs": [question(n, 1, 40) for n in range(1, 60)],
    "questions": [question(300 + n, 10) for n in range(20)],
    "mixed": [*requests(1), *[question(n, 1 + n % 4) for n in range(1, 40)]],
}


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("heads", [4, 2])
@pytest.mark.parametrize(
    ("kernel", "dtype"),
    [
        (varlen.flash, torch.bfloat16),
        (varlen.flash, torch.float16),
        (varlen.efficient, torch.float32),
        (varlen.efficient, torch.bfloat16),
    ],
)
def test_kernels_equal_the_reference(
    kernel: Callable[..., Any],
    dtype: torch.dtype,
    heads: int,
    batch: list[Request],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if kernel is varlen.flash and not varlen._has_flash(GPU):
        pytest.skip("no flash attention over spans in this torch or on this GPU")
    row = segments(batch, GPU)
    tokens = int(row.spans.bounds[-1])
    torch.manual_seed(0)
    query, key, value = (torch.randn(tokens, n, 64, device=GPU) for n in (4, heads, heads))
    inputs = varlen.Inputs(query.double(), key.double(), value.double(), *spans(row), True, 0.3)
    exact = varlen.reference(inputs)
    rounded = query.to(dtype), key.to(dtype), value.to(dtype)
    own = kernel(varlen.Inputs(*rounded, *spans(row), True, 0.3))
    atol = 0.03 if dtype in HALF else 1e-4
    torch.testing.assert_close(own.lse.double(), exact.lse, atol=atol * 2, rtol=0.01)
    torch.testing.assert_close(own.out.double(), exact.out, atol=atol, rtol=0)
    expected = varlen.attend(query.double(), key.double(), value.double(), row, 0.3)
    monkeypatch.setattr(varlen, "kernel_for", lambda query, value: kernel)
    out = varlen.attend(query.to(dtype), key.to(dtype), value.to(dtype), row, 0.3)
    torch.testing.assert_close(out.double(), expected, atol=atol, rtol=0)


def spans(row: Any) -> tuple[Any, Any]:
    return row.spans, row.spans


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize(
    ("dtype", "mean", "most"), [(torch.float32, 1e-5, 1e-3), (torch.bfloat16, 0.08, 0.8)]
)
def test_scores_equal_those_of_a_cpu(
    kind: str, dtype: torch.dtype, mean: float, most: float, batch: list[Request]
) -> None:
    scores = packed_on_gpu(kind, dtype).score(batch)
    expected = PaddedEngine(large_model(kind, torch.float32)).score(batch)
    difference = np.abs(scores.logprobs - expected.logprobs)
    assert difference.mean() < mean
    assert difference.max() < most


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bloom", "mistral"])
def test_padded_passes_equal_those_of_a_cpu(kind: str) -> None:
    scores = PaddedEngine(random_model(kind).to(GPU)).score(requests(0))
    expected = PaddedEngine(random_model(kind)).score(requests(0))
    assert np.abs(scores.logprobs - expected.logprobs).max() < 1e-4
    assert (scores.is_greedy == expected.is_greedy).all()


@pytest.mark.parametrize("dtype", [torch.float32, *HALF])
def test_the_fused_scores_equal_the_plain_ones(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    logits = (4 * torch.randn(500, 50257)).to(dtype)
    targets = torch.randint(0, 50257, (500,))
    targets[::2] = logits[::2].argmax(1)
    logits[7, [3, 9]] = logits[7].max() + 1
    targets[7] = 9
    expected = score_targets(logits.clone(), targets)
    scores = score_targets(logits.to(GPU), targets.to(GPU))
    torch.testing.assert_close(scores.logprobs.cpu(), expected.logprobs, atol=2e-5, rtol=1e-5)
    assert scores.is_greedy.cpu().equal(expected.is_greedy)
    assert scores.is_tied.cpu().equal(expected.is_tied)


@pytest.fixture
def no_waiting() -> Iterator[None]:
    """Make torch raise wherever the host would wait for the GPU."""
    torch.cuda.set_sync_debug_mode("error")
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_host_launches_a_batch_without_waiting(
    kind: str, dtype: torch.dtype, batch: list[Request], request: pytest.FixtureRequest
) -> None:
    engine = packed_on_gpu(kind, dtype)
    expected = engine.score(batch)  # also compiles the kernels
    request.getfixturevalue("no_waiting")
    wait = engine.launch(batch)
    torch.cuda.set_sync_debug_mode("default")
    assert np.array_equal(wait().logprobs, expected.logprobs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kernel_launches_do_not_grow_with_the_questions(dtype: torch.dtype) -> None:
    engine = packed_on_gpu("gpt2", dtype)

    def launches(questions: int) -> int:
        batch = [question(100 + n, 10) for n in range(questions)]
        engine.score(batch)
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as measured:
            engine.score(batch)
        return sum(event.count for event in measured.key_averages() if event.key in LAUNCHES)

    few, many = launches(2), launches(24)
    assert few > 0
    assert many < few + 40  # a few more blocks of the vocabulary projection


def test_the_demo_scores_like_on_a_cpu() -> None:
    results = [
        evaluate("demo", ["ptb", "lambada", "cbt_cn"], options=LoadOptions(device=device))
        for device in ("cuda", "cpu")
    ]
    for on_gpu, on_cpu in zip(*results, strict=True):
        for name, metric in on_cpu.metrics.items():
            assert on_gpu.metrics[name].value == pytest.approx(metric.value, rel=1e-4), name
