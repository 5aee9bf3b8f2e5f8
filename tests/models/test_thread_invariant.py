"""Bit-identical results for any number of threads, in activations and in models of odd sizes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from gpt2eval.config.catalog import DEMO
from gpt2eval.models import registry
from gpt2eval.models.engine.thread_invariant import GRAIN, VECTORS, ThreadInvariant, aligned_count
from gpt2eval.types import Request


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def with_threads(function: Callable[[], Any]) -> list[Any]:
    results = []
    for number in (1, 2, 3):
        torch.set_num_threads(number)
        results.append(function())
    return results


@given(st.integers(0, 10**7), st.integers(1, 65))
@example(GRAIN + VECTORS, 2)  # without its remainder, it is no more than one thread's share
def test_every_thread_processes_complete_vectors(count: int, threads: int) -> None:
    main = aligned_count(count, threads)
    started = max(1, min(threads, -(-main // GRAIN)))
    assert count - main < VECTORS * threads
    assert started == 1 or main % (VECTORS * started) == 0


@pytest.mark.parametrize(
    "activation", [nn.SiLU(), nn.GELU(), nn.GELU(approximate="tanh"), nn.Tanh()]
)
@pytest.mark.parametrize("shape", [(1, 765, 352), (1023, 100), (333, 307), (5, 7)])
def test_an_activation_has_the_same_bits_for_any_number_of_threads(
    activation: nn.Module, shape: tuple[int, ...]
) -> None:
    x: Tensor = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    results = with_threads(lambda: ThreadInvariant(activation)(x))
    assert all(torch.equal(results[0], other) for other in results)
    torch.testing.assert_close(results[0], activation(x))


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_model_has_the_same_bits_for_any_number_of_threads(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    odd: dict[str, Any] = {
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": 33001,
        "hidden_size": 100,
    }
    original: Any = (
        LlamaForCausalLM(
            LlamaConfig(**odd, num_key_value_heads=2, intermediate_size=309, head_dim=20)
        )
        if kind == "llama"
        else GPT2LMHeadModel(GPT2Config(**odd, n_inner=309))
    )
    original.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(str(DEMO / "model")).save_pretrained(tmp_path)
    random = np.random.default_rng(0)

    def ids(count: int) -> np.ndarray:
        return random.integers(0, 2560, count).astype(np.int32)

    batches = [
        [Request(ids(1), (ids(255),)), Request(ids(1), (ids(200),)), Request(ids(1), (ids(128),))],
        [Request(ids(77), (ids(1),))],
        [Request(ids(150), tuple(ids(n) for n in (3, 1, 9))), Request(ids(91), (ids(2),))],
    ]
    model = registry.load_model(str(tmp_path))
    assert model.identity().attn == "packed"
    for batch in batches:
        one, *others = with_threads(lambda batch=batch: model.score(batch).logprobs)
        assert all(np.array_equal(one, other) for other in others)
