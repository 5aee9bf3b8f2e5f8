"""Evaluation inside a training loop: equal to a saved checkpoint's, without effect on training."""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
)

from gpt2eval import demo, evaluate
from gpt2eval.config.catalog import DEMO
from gpt2eval.errors import UsageError
from gpt2eval.metrics.result import Result
from gpt2eval.models.options import LoadOptions
from gpt2eval.pipeline import Settings
from gpt2eval.training import live_module
from gpt2eval.training.callback import EvaluateCallback, evaluate_module, figures

TASKS = ["text8", "lambada", "cbt_cn"]
SETTINGS = Settings(limit=2)


@pytest.fixture
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(str(DEMO / "model"))


def small_model(kind: str = "gpt2") -> Any:
    torch.manual_seed(1)
    size: dict[str, Any] = {
        "num_hidden_layers": 2,
        "hidden_size": 32,
        "num_attention_heads": 2,
        "vocab_size": 2560,
    }
    if kind == "gpt2":
        return GPT2LMHeadModel(
            GPT2Config(
                **size, n_positions=128, initializer_range=0.1, bos_token_id=0, eos_token_id=0
            )
        )
    return LlamaForCausalLM(
        LlamaConfig(
            **size, intermediate_size=48, max_position_embeddings=128, initializer_range=0.1
        )
    )


def nats(results: Sequence[Result]) -> list[float]:
    return [result.tally.nats for result in results]


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_live_scores_equal_those_of_the_saved_checkpoint(
    kind: str, dtype: torch.dtype, tokenizer: Any, tmp_path: Path
) -> None:
    model = small_model(kind).to(dtype).train()
    live = evaluate_module(model, tokenizer, TASKS, data=demo.data(), settings=SETTINGS)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    saved = evaluate(
        str(tmp_path),
        TASKS,
        data=demo.data(),
        settings=SETTINGS,
        options=LoadOptions(dtype=str(dtype).removeprefix("torch.")),
    )
    np.testing.assert_allclose(
        nats(live), nats(saved), rtol=1e-6 if dtype == torch.float32 else 1e-3
    )
    assert [r.model.attn for r in live] == ["packed"] * 3
    assert live[0].model.tokenizer == saved[0].model.tokenizer


def test_module_does_not_change(tokenizer: Any) -> None:
    model = small_model().train()
    model.activation_checkpointing_enable()
    model(input_ids=torch.arange(20)[None], labels=torch.arange(20)[None]).loss.backward()
    model.transformer.h[0].eval()
    hook_calls: list[int] = []
    model.transformer.h[1].register_forward_hook(lambda *_: hook_calls.append(1))
    before = {
        name: (p.data_ptr(), p._version, p.grad.clone()) for name, p in model.named_parameters()
    }
    modes = {name: module.training for name, module in model.named_modules()}
    types = {name: type(module) for name, module in model.named_modules()}
    tokenizer_before = tokenizer.backend_tokenizer.to_str()
    config_before = model.config.to_dict()
    random_state = torch.get_rng_state()
    evaluate_module(model, tokenizer, TASKS, data=demo.data(), settings=SETTINGS)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert {name: type(module) for name, module in model.named_modules()} == types
    assert model.config.to_dict() == config_before
    assert model.config._attn_implementation == "sdpa"
    assert tokenizer.backend_tokenizer.to_str() == tokenizer_before
    assert not hook_calls
    for name, p in model.named_parameters():
        pointer, version, grad = before[name]
        assert (p.data_ptr(), p._version) == (pointer, version)
        assert torch.equal(p.grad, grad)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # raised by torch.compile
def test_weights_are_shared_and_current(tokenizer: Any) -> None:
    model = small_model()
    shadow = live_module.shadow_copy(model)
    assert {p.data_ptr() for p in shadow.parameters()} == {p.data_ptr() for p in model.parameters()}
    first = evaluate_module(model, tokenizer, ["text8"], data=demo.data(), settings=SETTINGS)[0]
    compiled: Any = torch.compile(model)
    same = evaluate_module(compiled, tokenizer, ["text8"], data=demo.data(), settings=SETTINGS)[0]
    with torch.no_grad():
        model.transformer.wte.weight.mul_(1.1)
    other = evaluate_module(model, tokenizer, ["text8"], data=demo.data(), settings=SETTINGS)[0]
    assert (same.nll_sha256, same.model.revision) == (first.nll_sha256, first.model.revision)
    assert other.nll_sha256 != first.nll_sha256
    assert other.model.revision != first.model.revision


def test_steps_keep_separate_results_in_one_folder(tokenizer: Any, tmp_path: Path) -> None:
    model = small_model()

    def evaluate_at(step: int) -> Result:
        return evaluate_module(
            model,
            tokenizer,
            ["text8"],
            step=step,
            data=demo.data(),
            settings=SETTINGS,
            out=tmp_path,
            name=f"mine@step{step}",
        )[0]

    first = evaluate_at(1)
    with torch.no_grad():
        model.transformer.wte.weight.mul_(1.1)
    assert evaluate_at(2).nll_sha256 != first.nll_sha256
    assert evaluate_at(2).model.step == "2"
    rows = (tmp_path / "results.csv").read_text().splitlines()
    assert len(rows) == 1 + 2 * 3, "a header, and three metrics of two steps"


# -- modules from outside transformers -----------------------------------------------------------


class Nano(nn.Module):
    """A GPT-2 with nanoGPT's interface.

    It returns `(logits, loss)`, and without targets only the last position's logits.
    """

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, idx: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        logits = self.inner(input_ids=idx).logits
        return (logits[:, [-1]], None) if targets is None else (logits, logits.mean())


class Bag(nn.Module):
    """A model that is not causal: every position sees all tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(2560, 2560)

    def forward(self, ids: Tensor) -> Tensor:
        return self.table(ids).mean(1, keepdim=True).expand(-1, ids.shape[1], -1)


def test_foreign_module_is_scored(tokenizer: Any) -> None:
    model = small_model()
    expected = nats(evaluate_module(model, tokenizer, TASKS, data=demo.data(), settings=SETTINGS))
    arguments: dict[str, Any] = {"data": demo.data(), "settings": SETTINGS, "context": 128}
    np.testing.assert_allclose(
        nats(evaluate_module(Nano(model), tokenizer, TASKS, **arguments)), expected, rtol=1e-6
    )
    with_logits_function = evaluate_module(
        Nano(model),
        tokenizer.backend_tokenizer,
        TASKS,
        logits=lambda m, ids: m(ids, ids)[0],
        **arguments,
    )
    np.testing.assert_allclose(nats(with_logits_function), expected, rtol=1e-6)
    with pytest.raises(
        UsageError,
        match=r"Nano: its configuration has no maximum input length; expected context=",
    ):
        evaluate_module(Nano(model), tokenizer, ["text8"], data=demo.data())
    with pytest.raises(UsageError, match="depends on later tokens"):
        evaluate_module(Bag(), tokenizer, ["text8"], **arguments)
    with pytest.raises(
        UsageError,
        match=r"Nano: returned \[1, 1, 2560\] for ids \[1, 2\]; expected logits at every position",
    ):
        evaluate_module(
            Nano(model), tokenizer, ["text8"], logits=lambda m, ids: m(ids)[0], **arguments
        )
    with pytest.raises(UsageError, match="tokenizer int: expected"):
        evaluate_module(model, 3, ["text8"])


# -- the Trainer ---------------------------------------------------------------------------------


class Listener(TrainerCallback):
    """A reporter that keeps what the Trainer logs."""

    def __init__(self) -> None:
        self.logs: list[dict[str, float]] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        self.logs.append(dict(logs))


def train(folder: Path, tokenizer: Any, every: int | None) -> tuple[Any, Trainer, Listener]:
    """Train five steps with dropout, with the callback if `every` is given."""
    model = small_model()
    listener = Listener()
    rows: Any = [
        {"input_ids": (torch.arange(16) * (i + 1)) % 2560, "labels": torch.arange(16)}
        for i in range(10)
    ]
    arguments = TrainingArguments(
        str(folder),
        max_steps=5,
        per_device_train_batch_size=2,
        report_to="none",
        logging_steps=100,
        use_cpu=True,
        seed=3,
    )
    trainer = Trainer(
        model,
        arguments,
        train_dataset=rows,
        processing_class=tokenizer,
        data_collator=default_data_collator,
        callbacks=[listener],
    )  # type: ignore[arg-type]
    if every:
        trainer.add_callback(
            EvaluateCallback(
                trainer,
                ["text8"],
                every=every,
                data=demo.data(),
                out=folder / "out",
                settings=SETTINGS,
                track=f"tensorboard:{folder / 'logs'}" if find_spec("tensorboard") else None,
            )
        )
    trainer.train()
    return model, trainer, listener


@pytest.mark.filterwarnings("ignore")  # raised by the Trainer's dependencies
def test_callback_logs_and_does_not_change_training(tokenizer: Any, tmp_path: Path) -> None:
    plain, _, _ = train(tmp_path / "plain", tokenizer, None)
    model, trainer, listener = train(tmp_path / "watched", tokenizer, 2)
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    logged = [entry for entry in trainer.state.log_history if "gpt2eval/text8/bpc" in entry]
    assert [entry["step"] for entry in logged] == [2, 4, 5]
    assert [entry["gpt2eval/text8/bpc"] for entry in logged] == [
        entry["gpt2eval/text8/bpc"] for entry in listener.logs if "gpt2eval/text8/bpc" in entry
    ]
    last = evaluate_module(model, tokenizer, ["text8"], data=demo.data(), settings=SETTINGS)
    assert figures(last)["gpt2eval/text8/bpc"] == logged[-1]["gpt2eval/text8/bpc"]
    if find_spec("tensorboard"):
        accumulator = import_module("tensorboard.backend.event_processing.event_accumulator")
        reader = accumulator.EventAccumulator(
            str(tmp_path / "watched" / "logs" / "GPT2LMHeadModel")
        )
        reader.Reload()
        events = {event.step: event.value for event in reader.Scalars("gpt2eval/text8/bpc")}
        assert events == {e["step"]: pytest.approx(e["gpt2eval/text8/bpc"]) for e in logged}
    assert {path.name for path in (tmp_path / "watched" / "out").glob("*@step*")} == {
        f"GPT2LMHeadModel@step{step}" for step in (2, 4, 5)
    }
    with pytest.raises(UsageError, match="every=0: expected"):
        EvaluateCallback(trainer, ["text8"], every=0)
    trainer.processing_class = None
    with pytest.raises(UsageError, match="no processing_class; expected tokenizer="):
        EvaluateCallback(trainer, ["text8"])


def test_demo_model_scores_the_same_live(tokenizer: Any) -> None:
    model = AutoModelForCausalLM.from_pretrained(str(DEMO / "model"), dtype=torch.float32)
    live = evaluate_module(model, tokenizer, ["ptb"], data=demo.data())[0]
    saved = evaluate("demo", ["ptb"], data=demo.data())[0]
    assert live.primary.value == pytest.approx(saved.primary.value, rel=1e-6)
