"""The packed engine against the padded one: equal scores, less work, and a safe fallback."""

from collections.abc import Callable, Sequence
from dataclasses import replace
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
from gpt2eval.models.engine import scores as engine_scores
from gpt2eval.models.engine.layout import lay_out
from gpt2eval.models.engine.packed import PackedEngine
from gpt2eval.models.engine.padded import PaddedEngine
from gpt2eval.models.engine.probe import spread_ids
from gpt2eval.models.engine.scores import Pending, score_targets
from gpt2eval.models.engine.trace import trace
from gpt2eval.scoring.execute import TaskWork
from gpt2eval.scoring.plan import Window
from gpt2eval.types import Encoded, Ids, Model, Part, Passage, Request, Units

COMMON: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
SWIGLU: dict[str, Any] = COMMON | {"num_key_value_heads": 2, "intermediate_size": 64}
# By kind: a function of the size of the vocabulary.
MODELS: dict[str, Callable[[int], Any]] = {
    "gpt2": lambda size: GPT2LMHeadModel(GPT2Config(**COMMON, vocab_size=size)),
    "llama": lambda size: LlamaForCausalLM(LlamaConfig(**SWIGLU, vocab_size=size)),
    "mistral": lambda size: MistralForCausalLM(
        MistralConfig(**SWIGLU, vocab_size=size, sliding_window=8)
    ),
    "bloom": lambda size: BloomForCausalLM(BloomConfig(**COMMON, vocab_size=size)),
}


def random_model(
    kind: str,
    dtype: torch.dtype = torch.float32,
    *,
    vocabulary: int = 300,
    seed: int = 1,
    noise: float = 0.1,
) -> Any:
    """Return a causal LM with random weights, large enough that scores differ between tokens."""
    torch.manual_seed(seed)
    model = MODELS[kind](vocabulary).eval()
    for parameter in model.parameters():
        parameter.data += noise * torch.randn_like(parameter)
    return model.to(dtype)


def engines(
    kind: str, dtype: torch.dtype = torch.float32
) -> tuple[PackedEngine | None, PaddedEngine]:
    padded = PaddedEngine(random_model(kind, dtype))
    model = random_model(kind, dtype)
    return PackedEngine.if_equivalent(model, PaddedEngine(model)), padded


def requests(seed: int) -> list[Request]:
    """Return forks with short and long branches, single tokens, and runs of several lengths."""
    random = np.random.default_rng(seed)

    def ids(length: int) -> np.ndarray:
        return random.integers(0, 300, length).astype(np.int32)

    forks = [
        Request(ids(n), tuple(ids(k) for k in random.integers(1, 6, 4)))
        for n in random.integers(1, 20, 3)
    ]
    single = [Request(ids(1), (ids(1),)), Request(ids(4), (ids(1), ids(1)))]
    runs = [Request(ids(n), (ids(12 - n),)) for n in (1, 5, 9)]
    return [*forks, *runs, *single, *runs]


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("seed", range(3))
def test_packed_scores_equal_padded_scores(kind: str, seed: int) -> None:
    fast, padded = engines(kind)
    assert fast is not None
    scores = fast.score(requests(seed))
    expected = padded.score(requests(seed))
    assert np.abs(scores.logprobs - expected.logprobs).max() < 1e-5
    assert (scores.is_greedy == expected.is_greedy).all()
    assert np.ptp(expected.logprobs) > 1, "the scores differ enough for a comparison"


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_bfloat16_stays_close(kind: str) -> None:
    fast, _ = engines(kind, torch.bfloat16)
    _, exact = engines(kind)
    assert fast is not None
    error = np.abs(fast.score(requests(0)).logprobs - exact.score(requests(0)).logprobs)
    assert 0 < error.mean() < 0.05


@pytest.mark.parametrize("kind", ["bloom", "mistral"])
def test_other_architectures_stay_padded_and_keep_their_function(kind: str) -> None:
    fast, padded = engines(kind)
    assert fast is None
    model = random_model(kind)
    assert PackedEngine.if_equivalent(model, PaddedEngine(model)) is None
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


def test_the_last_mlp_and_the_projection_see_scored_positions_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fast, padded = engines("gpt2")
    assert fast is not None
    assert fast._last_mlp is not None
    seen: list[int] = []
    fast._last_mlp.block.register_forward_hook(
        lambda _, inputs, __: seen.append(inputs[0].shape[1])
    )
    rows: list[int] = []
    scores = score_targets
    monkeypatch.setattr(engine_scores, "ROWS", {"cpu": 7})
    monkeypatch.setattr(
        engine_scores,
        "score_targets",
        lambda logits, targets: rows.append(len(logits)) or scores(logits, targets),
    )
    batch = [Request(np.arange(60, dtype=np.int32), (np.arange(9, dtype=np.int32),))]
    result = fast.score(batch)
    assert (seen, rows) == ([9], [7, 2])
    assert np.abs(result.logprobs - padded.score(batch).logprobs).max() < 1e-5


class SmallMemory(PackedEngine):
    """An engine that runs out of memory above `holds` requests."""

    def __init__(self, holds: int) -> None:
        model = random_model("gpt2")
        super().__init__(model, trace(model, torch.arange(20)[None]))
        self.holds = holds
        self.calls: list[int] = []

    def _launch(self, batch: Sequence[Request], starts: Ids | None = None) -> Pending:
        self.calls.append(len(batch))
        if len(batch) > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super()._launch(batch, starts)


def test_a_batch_that_does_not_fit_is_halved() -> None:
    small = SmallMemory(holds=3)
    batch = requests(0)
    scores = small.score(batch)
    assert max(size for size in small.calls if size <= 3) == 3
    assert np.abs(scores.logprobs - SmallMemory(holds=99).score(batch).logprobs).max() < 1e-5


def test_a_record_that_does_not_fit_is_reported() -> None:
    passage = Passage(41, "abc", (Part(1, 3, Units()),))
    ids = np.array([1, 2, 3], np.int32)
    work = TaskWork.for_task(
        load_task("lambada"), [Encoded(passage, ids, ids)], Window(16, 16, 0), budget=64
    )
    with pytest.raises(
        UsageError, match=r"task lambada, record 41: its 3 tokens do not fit into memory"
    ):
        work.score(cast(Model, SmallMemory(holds=0)))


def test_inputs_do_not_share_a_pass_if_positions_depend_on_length() -> None:
    """Phi-3 rotates positions differently in a long input, which must not affect a short one."""
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
    assert PackedEngine.if_equivalent(model, padded) is None
    random = np.random.default_rng(0)
    short_ids = random.integers(1, 100, 11).astype(np.int32)
    long_ids = random.integers(1, 100, 149).astype(np.int32)
    short = Request(short_ids[:1], (short_ids[1:],))
    long = Request(long_ids[:1], (long_ids[1:],))
    alone = padded.score([short])
    together = padded.score([short, long])
    np.testing.assert_allclose(together.logprobs[:10], alone.logprobs, atol=1e-5)


@pytest.mark.parametrize("length", [2, 9, 11, 17, 18])
def test_the_requests_of_the_last_check_are_beginnings_of_one_text(length: int) -> None:
    text = spread_ids(length, 1000)
    requests = packed._requests(text)
    assert requests
    for prefix, branches in requests:
        for branch in branches:
            whole = np.concatenate([prefix, branch])
            assert len(branch) > 0
            assert np.array_equal(whole, text[: len(whole)])


@pytest.mark.parametrize("kind", ["branches", "requests"])
def test_the_last_check_alone_refuses_wrong_positions(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model("gpt2")
    monkeypatch.setattr(packed, "_packs", lambda _: True)
    assert PackedEngine.if_equivalent(random_model("gpt2"), PaddedEngine(model)) is not None

    def shifted(batch: Sequence[Request], device: torch.device) -> Any:
        """Move the tokens after the first branch, or after the first request, by a position."""
        layout = lay_out(batch, device)
        shift = torch.ones_like(layout.positions)
        shift[: 13 if kind == "branches" else 16] = 0
        return replace(layout, positions=layout.positions + shift)

    monkeypatch.setattr(packed, "lay_out", shifted)
    assert PackedEngine.if_equivalent(model, PaddedEngine(model)) is None
