"""The packed engine against the padded one: equal scores, fewer computations, and a way out where it does not apply."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import pytest
import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
)

from gpt2eval.config.loader import load_task
from gpt2eval.errors import UsageError
from gpt2eval.models.engine import packed
from gpt2eval.models.engine.layout import lay_out
from gpt2eval.models.engine.packed import PackedEngine
from gpt2eval.models.engine.padded import PaddedEngine
from gpt2eval.models.engine.scores import score_targets
from gpt2eval.scoring.execute import TaskWork
from gpt2eval.scoring.plan import Window
from gpt2eval.types import Encoded, Model, Part, Passage, Request, TokenScores, Units

COMMON: dict[str, Any] = {
    "hidden_size": 32,
    "vocab_size": 300,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
SWIGLU: dict[str, Any] = COMMON | {"num_key_value_heads": 2, "intermediate_size": 64}
MODELS: dict[str, Callable[[], Any]] = {
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**COMMON)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SWIGLU)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SWIGLU, sliding_window=8)),
    "bloom": lambda: BloomForCausalLM(BloomConfig(**COMMON)),
}


def random_model(kind: str, dtype: torch.dtype = torch.float32) -> Any:
    """A causal LM with random weights, large enough that tokens differ."""
    torch.manual_seed(1)
    model = MODELS[kind]().eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.to(dtype)


def engines(
    kind: str, dtype: torch.dtype = torch.float32
) -> tuple[PackedEngine | None, PaddedEngine]:
    padded = PaddedEngine(random_model(kind, dtype))
    model = random_model(kind, dtype)
    return PackedEngine.of(model, PaddedEngine(model)), padded


def requests(seed: int) -> list[Request]:
    """Forks with branches of one token and more, lone tokens, and runs of equal and of other lengths."""
    random = np.random.default_rng(seed)

    def ids(length: int) -> np.ndarray:
        return random.integers(0, 300, length).astype(np.int32)

    forks = [
        Request(ids(n), tuple(ids(k) for k in random.integers(1, 6, 4)))
        for n in random.integers(1, 20, 3)
    ]
    alone = [Request(ids(1), (ids(1),)), Request(ids(4), (ids(1), ids(1)))]
    runs = [Request(ids(n), (ids(12 - n),)) for n in (1, 5, 9)]
    return [*forks, *runs, *alone, *runs]


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("seed", range(3))
def test_packed_scores_are_the_padded_ones(kind: str, seed: int) -> None:
    fast, padded = engines(kind)
    assert fast is not None
    got, expected = fast.score(requests(seed)), padded.score(requests(seed))
    assert np.abs(got.logprobs - expected.logprobs).max() < 1e-5
    assert (got.is_greedy == expected.is_greedy).all()
    assert np.ptp(expected.logprobs) > 1, "there is something to tell apart"


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_bfloat16_stays_close(kind: str) -> None:
    fast, _ = engines(kind, torch.bfloat16)
    _, exact = engines(kind)
    assert fast is not None
    error = np.abs(fast.score(requests(0)).logprobs - exact.score(requests(0)).logprobs)
    assert 0 < error.mean() < 0.05


@pytest.mark.parametrize("kind", ["bloom", "mistral"])
def test_other_architectures_stay_padded_and_unharmed(kind: str) -> None:
    fast, padded = engines(kind)
    assert fast is None
    model = random_model(kind)
    assert PackedEngine.of(model, PaddedEngine(model)) is None
    again = PaddedEngine(model).score(requests(0))
    assert np.abs(again.logprobs - padded.score(requests(0)).logprobs).max() < 1e-5


def test_no_prefix_is_computed_twice_and_nothing_is_padded() -> None:
    batch = requests(0)
    layout = lay_out(batch, torch.device("cpu"))
    assert len(layout.ids) == sum(
        len(prefix) + sum(len(b) - 1 for b in branches) for prefix, branches in batch
    )
    assert len(layout.targets) == sum(len(b) for _, branches in batch for b in branches)
    assert layout.positions.max() < max(len(p) + max(map(len, bs)) for p, bs in batch)


def test_the_last_block_and_the_projection_see_only_what_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fast, padded = engines("gpt2")
    assert fast is not None
    assert fast._last is not None
    seen: list[int] = []
    fast._last.block.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[1]))
    rows: list[int] = []
    scores = score_targets
    monkeypatch.setattr(packed, "ROWS", {"cpu": 7})
    monkeypatch.setattr(
        packed, "score_targets", lambda logits, to: rows.append(len(logits)) or scores(logits, to)
    )
    batch = [Request(np.arange(60, dtype=np.int32), (np.arange(9, dtype=np.int32),))]
    got = fast.score(batch)
    assert (seen, rows) == ([9], [7, 2])
    assert np.abs(got.logprobs - padded.score(batch).logprobs).max() < 1e-5


class Small(PackedEngine):
    """An engine whose memory holds only so many requests."""

    def __init__(self, holds: int) -> None:
        super().__init__(random_model("gpt2"))
        self.holds, self.calls = holds, list[int]()

    def _score(self, batch: Sequence[Request]) -> TokenScores:
        self.calls.append(len(batch))
        if len(batch) > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super()._score(batch)


def test_a_batch_that_does_not_fit_is_halved() -> None:
    small, batch = Small(holds=3), requests(0)
    got = small.score(batch)
    assert max(size for size in small.calls if size <= 3) == 3
    assert np.abs(got.logprobs - Small(holds=99).score(batch).logprobs).max() < 1e-5


def test_a_record_that_does_not_fit_is_named() -> None:
    passage = Passage(41, "abc", (Part(1, 3, Units()),))
    ids = np.array([1, 2, 3], np.int32)
    work = TaskWork.for_task(
        load_task("lambada"), [Encoded(passage, ids, ids)], Window(16, 16, 0), budget=64
    )
    with pytest.raises(
        UsageError, match=r"task lambada, record 41: its 3 tokens do not fit into memory"
    ):
        work.score(cast(Model, Small(holds=0)))


def test_positions_that_depend_on_the_length_are_not_mixed() -> None:
    """Phi-3's long context turns positions otherwise in a long input: a short one beside it is scored as if alone."""
    torch.manual_seed(0)
    factors = torch.linspace(1, 3, 4).tolist()
    rope = {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": [1.0] * 4,
        "long_factor": factors,
    }
    config = Phi3Config(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        vocab_size=100,
        max_position_embeddings=256,
        original_max_position_embeddings=64,
        rope_parameters=rope | {"original_max_position_embeddings": 64},
        initializer_range=0.3,
        pad_token_id=0,
    )
    model = Phi3ForCausalLM(config).eval()
    padded = PaddedEngine(model)
    assert PackedEngine.of(model, padded) is None
    random = np.random.default_rng(0)
    short, long = (
        Request(ids[:1], (ids[1:],))
        for n in (11, 149)
        for ids in [random.integers(1, 100, n).astype(np.int32)]
    )
    alone, beside = padded.score([short]), padded.score([short, long])
    np.testing.assert_allclose(beside.logprobs[:10], alone.logprobs, atol=1e-5)
