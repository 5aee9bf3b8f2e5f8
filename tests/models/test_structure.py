"""What a model shows about itself: plain attention, a linear head, foresight, padding, context."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import tiny_model
from torch import Tensor, nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    RobertaConfig,
    RobertaForCausalLM,
)
from transformers.models.llama.modeling_llama import LlamaAttention

from gpt2eval.errors import UsageError
from gpt2eval.models.engine import onednn, shadow
from gpt2eval.models.engine.causal import CausalModel, assemble
from gpt2eval.models.engine.context import longest_that_runs, thresholds
from gpt2eval.models.engine.probe import Probe
from gpt2eval.models.engine.shadow import is_small, shallow_copy
from gpt2eval.models.engine.structure import plain_structure, stated_objection
from gpt2eval.models.engine.trace import trace
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.tokenization import loading
from gpt2eval.types import Request

VOCABULARY = 100
TOKENIZER = loading.from_characters({chr(48 + i): i for i in range(VOCABULARY)})
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 96,
}
DTYPES = (torch.float32, torch.bfloat16)


class TinyLlama(LlamaForCausalLM):
    """A random model; subclasses change one thing in it."""

    def __init__(self) -> None:
        torch.manual_seed(3)
        super().__init__(LlamaConfig(**SIZES, pad_token_id=None, initializer_range=0.2))
        embedding: nn.Module = self.model.embed_tokens
        embedding.register_forward_hook(self.mix)

    def mix(self, _: nn.Module, __: Any, states: Any) -> Tensor:
        return self.mixed(states, states.shape[1])

    def mixed(self, states: Tensor, length: int) -> Tensor:
        """Return the embeddings `[rows, length, width]` that the first layer reads."""
        return states


class Convolved(TinyLlama):
    def mixed(self, states: Tensor, length: int) -> Tensor:
        return states + 0.1 * nn.functional.pad(states, (0, 0, 1, 0))[:, :-1]


class Tempered(TinyLlama):
    """Depends on the place in the row, not on the position ids."""

    def mixed(self, states: Tensor, length: int) -> Tensor:
        return states * (1 + 0.01 * torch.arange(length, dtype=states.dtype)[:, None])


class SeesAhead(TinyLlama):
    """Sees later tokens in inputs of more than 48 tokens."""

    def mixed(self, states: Tensor, length: int) -> Tensor:
        return states + 0.2 * states.mean(1, keepdim=True) if length > 48 else states


class SeesWidth(TinyLlama):
    """Depends on how wide the padded batch is, as a choice among all positions does."""

    def mixed(self, states: Tensor, length: int) -> Tensor:
        return states * (1 + 0.01 * length)


class SeesRows(TinyLlama):
    """Depends on the other rows of a batch, as experts of limited capacity do."""

    def mixed(self, states: Tensor, length: int) -> Tensor:
        return states / len(states)


class ScaledLogits(TinyLlama):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        out: Any = super().forward(*args, **kwargs)
        out.logits = out.logits * 0.9
        return out


class ScaledHead(TinyLlama):
    """Scales the states between decoder and head."""

    def __init__(self) -> None:
        super().__init__()
        self.lm_head.register_forward_pre_hook(lambda _, args: (args[0] * 1.1,))


class Short(TinyLlama):
    """Fails beyond 50 tokens without a table that says so."""

    def mixed(self, states: Tensor, length: int) -> Tensor:
        if length > 50:
            raise IndexError("too long")
        return states


def backend(model: Any, dtype: torch.dtype = torch.float32) -> CausalModel:
    identity = {"name": "m", "revision": "0"}
    return assemble(model.to(dtype), TOKENIZER, identity, LoadOptions())


def ids(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(2, VOCABULARY, count).astype(np.int32)


@torch.inference_mode()
def alone(model: Any, request: Request) -> np.ndarray:
    row = torch.from_numpy(np.concatenate([request.prefix, request.branches[0]]).astype(np.int64))
    logits = model(input_ids=row[None, :-1]).logits[0, len(request.prefix) - 1 :]
    logprobs = logits.double().log_softmax(1)
    return logprobs.gather(1, row[len(request.prefix) :, None])[:, 0].numpy()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_plain_model_is_packed(dtype: torch.dtype) -> None:
    assert backend(TinyLlama(), dtype).identity().attn == "packed"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [Convolved, Tempered, ScaledLogits, ScaledHead])
def test_a_model_that_packing_would_change_is_padded(
    kind: Callable[[], Any], dtype: torch.dtype
) -> None:
    model = kind()
    loaded = backend(model, dtype)
    assert loaded.identity().attn == "sdpa"
    if dtype == torch.float32:
        request = Request(ids(3), (ids(60, 1),))
        expected = alone(kind().eval(), request)
        np.testing.assert_allclose(loaded.score([request]).logprobs, expected, atol=2e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_foresight_in_long_inputs_only_is_refused(dtype: torch.dtype) -> None:
    with pytest.raises(UsageError, match="output depends on later tokens"):
        backend(SeesAhead(), dtype)


@pytest.mark.parametrize("kind", [SeesWidth, SeesRows])
def test_rows_that_padding_would_change_are_scored_alone(kind: Callable[[], Any]) -> None:
    loaded = backend(kind())
    assert loaded.identity().attn == "sdpa+single"
    requests = [Request(ids(2), (ids(n, n),)) for n in (5, 40, 90)]
    expected = np.concatenate([alone(kind().eval(), request) for request in requests])
    np.testing.assert_allclose(loaded.score(requests).logprobs, expected, atol=2e-5)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("index_topk", 2048),
        ("keep_window_size", 2048),
        ("final_logit_softcapping", 30.0),
        ("attn_temperature_tuning", True),
        ("sliding_window", 4096),
        ("layer_types", ["full_attention", "linear_attention"]),
    ],
)
def test_a_config_that_names_another_attention_is_an_objection(key: str, value: Any) -> None:
    config = LlamaConfig(**SIZES)
    assert not stated_objection(config)
    setattr(config, key, value)
    assert stated_objection(config)


def test_a_threshold_beyond_the_probe_is_no_proof() -> None:
    model = TinyLlama()
    model.config.max_position_embeddings = 1 << 17
    model.config.attention_block_size = 50_000
    assert thresholds(model.config)["attention_block_size"] == 50_000
    assert Probe(model).unreached
    assert backend(model).identity().attn == "sdpa"


def test_the_trace_shows_what_attention_is_given() -> None:
    rows = torch.arange(3, 33)[None]
    plain = trace(TinyLlama().eval(), rows)
    assert (plain.objection, plain.last_block) == ("", "layers.1.mlp")
    assert "s_aux" in trace(tiny_model("flint"), rows).objection
    assert "mask" in trace(tiny_model("gemma2"), rows).objection
    assert "0 attention calls" in trace(tiny_model("mamba"), rows).objection
    assert "logits" in trace(tiny_model("cohere"), rows).objection


def roberta(positions: int, pad: int) -> Any:
    sizes: dict[str, Any] = SIZES | {"max_position_embeddings": positions, "pad_token_id": pad}
    return RobertaForCausalLM(RobertaConfig(**sizes, is_decoder=True, type_vocab_size=1))


def gpt2_with_a_short_table() -> Any:
    model = GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=1, n_head=2, n_positions=40))
    model.config.n_positions = 64
    return model


@pytest.mark.parametrize(
    ("model", "context"),
    [
        (lambda: roberta(66, 1), 64),
        (lambda: roberta(80, 5), 74),
        (lambda: tiny_model("opt"), 96),
        (lambda: tiny_model("prophetnet"), 94),
        (gpt2_with_a_short_table, 40),
        (Short, 50),
        (TinyLlama, 96),
    ],
)
def test_the_context_is_what_the_model_can_read(model: Callable[[], Any], context: int) -> None:
    assert Probe(model().eval()).context == context


def test_the_whole_context_of_a_roberta_scores() -> None:
    loaded = backend(roberta(66, 1))
    assert loaded.context == 64
    request = Request(ids(1), (ids(64, 1),))
    assert np.isfinite(loaded.score([request]).logprobs).all()


def test_the_longest_length_is_found_by_halving() -> None:
    tried: list[int] = []

    def run(length: int) -> None:
        tried.append(length)
        if length > 700:
            raise IndexError

    assert longest_that_runs(run, 1024) == 700
    assert len(tried) <= 11


def test_a_shallow_copy_has_one_layer_of_each_kind_in_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shadow, "SMALL", 0)
    sizes: dict[str, Any] = SIZES | {"num_hidden_layers": 6}
    model: Any = LlamaForCausalLM(LlamaConfig(**sizes))
    model.to(torch.bfloat16)
    shallow = shallow_copy(model.model)
    assert len(shallow.layers) == 1
    assert {p.dtype for p in shallow.parameters()} == {torch.float32}
    assert len(model.model.layers) == 6
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    hybrid = tiny_model("lfm2")
    assert len(shallow_copy(hybrid.base_model).layers) == 2
    shared = LlamaForCausalLM(LlamaConfig(**SIZES))
    copied = shallow_copy(shared.model)
    assert copied.embed_tokens.weight is shared.model.embed_tokens.weight


def linear_layers(model: nn.Module) -> list[nn.Module]:
    return [m for m in model.modules() if isinstance(m, nn.Linear | onednn.Linear)]


@pytest.mark.skipif(not onednn.available(torch.float32), reason="torch without oneDNN layers")
def test_a_probe_computes_by_onednn_and_leaves_the_model_alone() -> None:
    model = TinyLlama().eval()
    states = {key: value.clone() for key, value in model.state_dict().items()}
    probe = Probe(model)
    assert all(type(layer) is onednn.Linear for layer in linear_layers(probe.decoder))
    assert all(type(layer) is nn.Linear for layer in linear_layers(model))
    assert all(torch.equal(states[key], value) for key, value in model.state_dict().items())
    with torch.inference_mode():
        ids = torch.from_numpy(probe.text.astype(np.int64))[None]
        expected = model.model(input_ids=ids).last_hidden_state[0]
    torch.testing.assert_close(probe.states, expected, rtol=1e-4, atol=1e-4)


def test_a_probe_that_does_not_run_by_onednn_keeps_the_layers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any, **__: Any) -> Tensor:
        raise AttributeError("in_features")

    monkeypatch.setattr(onednn.Linear, "forward", fail)
    probe = Probe(TinyLlama().eval())
    assert all(type(layer) is nn.Linear for layer in linear_layers(probe.decoder))
    assert probe.context == 96
    assert probe.rows.neutral


class LateWindow(LlamaAttention):
    """From the third layer on, a window of 32 tokens that no config and no argument states."""

    def forward(self, hidden_states: Tensor, *args: Any, attention_mask: Any, **kw: Any) -> Any:
        tokens = hidden_states.shape[1]
        if self.layer_idx >= 2 and tokens > 40:
            places = torch.arange(tokens)
            behind = places[:, None] - places
            attention_mask = ((behind >= 0) & (behind < 32))[None, None]
        return super().forward(hidden_states, *args, attention_mask=attention_mask, **kw)


def late_window(**sizes: int) -> Any:
    torch.manual_seed(3)
    settings: Any = SIZES | {"num_hidden_layers": 4, "initializer_range": 0.2} | sizes
    model: Any = LlamaForCausalLM(LlamaConfig(**settings))
    for layer in model.model.layers:
        layer.self_attn.__class__ = LateWindow
    return model


def test_a_window_in_a_late_layer_is_not_packed() -> None:
    backend = assemble(late_window(), TOKENIZER, {"name": "late", "revision": "0"}, LoadOptions())
    assert backend.identity().attn == "sdpa"


def test_a_large_model_with_code_of_its_own_is_not_packed() -> None:
    model = late_window(hidden_size=256, intermediate_size=2048)
    assert not is_small(model)
    assert plain_structure(model, Probe(model)) is None


def test_layers_that_differ_in_a_number_are_of_different_kinds() -> None:
    model = late_window(hidden_size=256, intermediate_size=2048)
    assert len(shallow_copy(model).model.layers) == 1
    for layer, window in zip(model.model.layers, (64, 64, 32, 64), strict=True):
        layer.self_attn.window = window
    assert len(shallow_copy(model).model.layers) == 3
