"""Numbers that are not numbers, limits that do not fit, and precision: never wrong in silence."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drill.model_files import seeds
from torch import Tensor, nn

from gpt2eval import demo, evaluate
from gpt2eval.config.catalog import DEMO
from gpt2eval.errors import UsageError
from gpt2eval.models import registry
from gpt2eval.models.engine import scores
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.tokenization import loading
from gpt2eval.pipeline import Settings
from gpt2eval.training.callback import evaluate_module

NAN, INF = float("nan"), float("inf")
CPU = LoadOptions(device="cpu")
ONE = Settings(limit=1)
RELATIVE = 1e-6  # of a file's nats, float32 against float64


def changed(folder: Path, change: Callable[[Any], None], **config: Any) -> str:
    """Write a random GPT-2 after a change of its weights, and return its folder."""
    seeds.write_transformers(folder)
    model = seeds.gpt2(**config)
    with torch.no_grad():
        change(model)
    model.save_pretrained(folder)
    return str(folder)


# -- logits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", [NAN, INF, -INF, 6e4, -6e4, 1e-7])
@pytest.mark.parametrize("at_target", [False, True])
def test_one_extreme_logit(dtype: torch.dtype, value: float, at_target: bool) -> None:
    """The score is what float64 gives, or not finite where float64 gives nothing finite."""
    torch.manual_seed(0)
    logits = torch.randn(5, 20).to(dtype)
    logits[2, 7] = value
    targets = torch.full((5,), 7 if at_target else 3)
    rows = torch.arange(5)
    expected = logits.double().log_softmax(1)[rows, targets]
    found = scores.score_targets(logits.clone(), targets)
    is_finite = expected.isfinite()
    assert torch.equal(found.logprobs.isfinite(), is_finite)
    torch.testing.assert_close(
        found.logprobs[is_finite].double(), expected[is_finite], rtol=1e-6, atol=1e-6
    )
    highest = logits.argmax(1) == targets
    assert torch.equal(found.is_greedy[is_finite], highest[is_finite])


def test_logits_of_1e30_and_denormal_ones() -> None:
    logits = torch.tensor([[1e30, -1e30, 0.0], [1e-45, 1e-40, 0.0], [3e38, -3e38, 3e38]])
    targets = torch.tensor([0, 1, 2])
    found = scores.score_targets(logits.clone(), targets)
    expected = logits.double().log_softmax(1)[torch.arange(3), targets]
    np.testing.assert_allclose(found.logprobs, expected, rtol=1e-6)
    assert found.is_greedy.tolist() == [True, True, False]  # the lowest of two equal ids
    assert found.is_tied.tolist() == [False, False, True]


@pytest.mark.parametrize("task", ["text8", "lambada", "lambada/no_filter", "cbt_cn", "ptb"])
@pytest.mark.parametrize("attn", [None, "sdpa", "eager"])
def test_a_value_that_appears_during_the_run_is_named(
    tmp_path: Path, task: str, attn: str | None
) -> None:
    folder = changed(tmp_path, lambda model: None, n_positions=256)
    model: Any = registry.load_model(folder, LoadOptions(device="cpu", attn=attn))
    model._engine.model.transformer.ln_f.weight.data[0] = NAN
    with pytest.raises(UsageError, match=r"record \d+, token \d+: the model's log-prob.* is nan"):
        evaluate(model, [task], data=demo.data(), limit=1)


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_a_value_that_loading_meets_is_no_foresight(tmp_path: Path, value: float) -> None:
    """One row of the position table, beyond the first tokens."""

    def plant(model: Any) -> None:
        model.transformer.wpe.weight[20] = value

    with pytest.raises(UsageError, match="its log-probabilities are not finite"):
        registry.load_model(changed(tmp_path, plant), CPU)


def test_zero_probability_of_a_token_is_named(tmp_path: Path) -> None:
    class Never(nn.Module):
        """Gives no probability to any token but one after `the`."""

        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Parameter(torch.ones(1))

        def forward(self, ids: Tensor) -> Tensor:
            logits = self.one * torch.zeros(*ids.shape, 2560)
            logits[ids == words.tokens.encode(" the").ids[0], 6:] = -INF
            return logits

    words = loading.from_place(str(DEMO / "model"))
    with pytest.raises(UsageError, match=r"record 0, token \d+: the model's log-prob.* is -inf"):
        evaluate_module(
            Never(), str(DEMO / "model"), ["text8"], data=demo.data(), context=64, settings=ONE
        )


def test_float16_overflows_with_an_error(tmp_path: Path) -> None:
    def enlarge(model: Any) -> None:
        model.transformer.h[0].mlp.c_proj.weight *= 1e6

    name = changed(tmp_path, enlarge)
    assert np.isfinite(evaluate(name, ["text8"], data=demo.data(), limit=1)[0].tally.nats)
    with pytest.raises(UsageError, match=r"not finite|log-probability is (nan|-?inf)"):
        evaluate(name, ["text8"], data=demo.data(), limit=1, dtype="float16")


# -- sizes that do not fit -------------------------------------------------------------------------


def resized(folder: Path, rows: int) -> str:
    """Write a model with another number of tokens than its tokenizer has."""
    seeds.write_transformers(folder)
    model = seeds.gpt2()
    model.resize_token_embeddings(rows, mean_resizing=False)
    model.save_pretrained(folder)
    return str(folder)


def test_a_larger_vocabulary_competes(tmp_path: Path) -> None:
    result = evaluate(resized(tmp_path, 512), ["text8"], data=demo.data(), limit=1)[0]
    assert np.isfinite(result.tally.nats)
    assert str(result.model.shape).endswith("-512")


def test_a_token_that_a_smaller_vocabulary_lacks_is_named(tmp_path: Path) -> None:
    size = seeds.vocabulary_size()
    with pytest.raises(UsageError, match=r"token \d+, but the model's vocabulary has \d+"):
        evaluate(resized(tmp_path, size - 40), ["lambada"], data=demo.data(), limit=4)


@pytest.mark.parametrize("stated", [12, 48])
def test_a_position_table_of_another_length_is_refused(tmp_path: Path, stated: int) -> None:
    seeds.write_transformers(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"n_positions": stated}))
    with pytest.raises(UsageError, match=r"mismatched keys: .*wpe"):
        registry.load_model(str(tmp_path), CPU)


def test_a_window_above_the_position_limit_is_refused(tmp_path: Path) -> None:
    seeds.write_transformers(tmp_path)
    with pytest.raises(UsageError, match="24"):
        evaluate(str(tmp_path), ["text8"], data=demo.data(), limit=1, context=25)


# -- modes, threads and precision ------------------------------------------------------------------


class Dropping(nn.Module):
    """A bigram table behind much dropout, which may fail after some calls."""

    def __init__(self, calls: int = 10**9) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(2560, 2560)
        self.drop = nn.Dropout(0.9)
        self.calls = calls
        self.fixed = nn.Dropout(0.9).eval()

    def forward(self, ids: Tensor) -> Tensor:
        self.calls -= 1
        if self.calls < 0:
            raise ValueError("the module failed")
        return self.fixed(self.drop(self.table(ids)))


def measured(module: nn.Module) -> float:
    words = str(DEMO / "model")
    results = evaluate_module(module, words, ["text8"], data=demo.data(), context=64, settings=ONE)
    return results[0].tally.nats


def modes(module: nn.Module) -> list[bool]:
    return [part.training for part in module.modules()]


def test_dropout_is_off_while_a_live_module_is_scored_and_on_again_afterwards() -> None:
    module = Dropping().train()
    module.fixed.eval()
    before = modes(module)
    assert measured(module) == measured(Dropping().eval())
    assert modes(module) == before == [True, True, True, False]


def test_modes_are_restored_after_an_error() -> None:
    module = Dropping(calls=3).train()
    before = modes(module)
    with pytest.raises((UsageError, ValueError)):
        measured(module)
    assert modes(module) == before


def test_two_threads_give_the_bits_of_one_thread() -> None:
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            results = evaluate("demo", ["lambada/no_filter"], limit=2, device="cpu")
            found.append([result.nll_sha256 for result in results])
    finally:
        torch.set_num_threads(threads)
    assert found[0] == found[1]


def test_a_seed_changes_no_score(tmp_path: Path) -> None:
    seeds.write_transformers(tmp_path)
    found = set()
    for seed in (0, 1):
        torch.manual_seed(seed)
        found.add(evaluate(str(tmp_path), ["ptb"], data=demo.data(), limit=3)[0].nll_sha256)
    assert len(found) == 1


def nats(model: str, tasks: list[str], dtype: str, limit: int) -> list[float]:
    results = evaluate(model, tasks, data=demo.data(), limit=limit, dtype=dtype, device="cpu")
    return [result.tally.nats for result in results]


@pytest.mark.parametrize("name", ["demo", "small"])
def test_float32_equals_float64_on_real_text(name: str, tmp_path: Path) -> None:
    seeds.write_transformers(tmp_path)
    model = "demo" if name == "demo" else str(tmp_path)
    tasks = ["ptb", "lambada/no_filter"]
    single, double = (nats(model, tasks, dtype, 2) for dtype in ("float32", "float64"))
    np.testing.assert_allclose(single, double, rtol=RELATIVE)


REAL = "GPT2EVAL_TEST_GGUF"


@pytest.mark.skipif(REAL not in os.environ, reason=f"{REAL} names no GGUF file of a real model")
def test_float32_equals_float64_on_a_real_model() -> None:
    model = f"gguf:{os.environ[REAL]}"
    single, double = (nats(model, ["ptb"], dtype, 3) for dtype in ("float32", "float64"))
    np.testing.assert_allclose(single, double, rtol=RELATIVE)
