"""The passes of the padded engine, and scores that do not depend on how rows are grouped."""

from itertools import chain

import numpy as np
import pytest
import torch
from test_engine import random_model, requests

from gpt2eval.models.engine import padded as padded_module
from gpt2eval.models.engine import scores as engine_scores
from gpt2eval.models.engine.padded import Limits, PaddedEngine
from gpt2eval.models.engine.prefixes import Row
from gpt2eval.models.engine.scores import score_positions, score_targets
from gpt2eval.types import Request


def rows(*lengths: tuple[int, int]) -> list[Request]:
    """Return requests with a prefix and one branch of these lengths."""
    return [Request(np.zeros(p, np.int32), (np.zeros(b, np.int32),)) for p, b in lengths]


def passes(engine: PaddedEngine, batch: list[Request]) -> list[int]:
    found = [*engine._passes(batch, padded_module._of_request)]
    assert [*chain.from_iterable(found)] == batch
    return [len(part) for part in found]


@pytest.mark.parametrize(
    ("limits", "batch", "expected"),
    [
        (Limits(rows=8), rows(*[(5, 2)] * 19), [8, 8, 3]),
        (Limits(99, tokens=24), rows(*[(5, 2)] * 9), [4, 4, 1]),
        (Limits(99, tokens=24), rows((30, 2), (5, 2), (5, 2), (11, 2)), [1, 2, 1]),
        (Limits(99, logits=10), rows(*[(50, 4)] * 5), [2, 2, 1]),
        # The earliest position of any row decides how many logits a pass has.
        (Limits(99, logits=10), rows((10, 2), (4, 2), (10, 2)), [1, 1, 1]),
        (Limits(99, tokens=3, logits=3), rows((9, 9), (9, 9)), [1, 1]),
    ],
)
def test_passes_stay_within_the_limits(
    limits: Limits, batch: list[Request], expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(padded_module, "CPU_LIMITS", limits)
    assert passes(PaddedEngine(random_model("gpt2")), batch) == expected


def test_a_model_that_computes_all_logits_gets_smaller_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(padded_module, "CPU_LIMITS", Limits(99, logits=40))
    engine = PaddedEngine(random_model("gpt2"))
    assert passes(engine, rows(*[(18, 3)] * 4)) == [4]
    engine._takes_positions = False
    assert passes(engine, rows(*[(18, 3)] * 4)) == [2, 2]


def test_rows_that_affect_each_other_stay_alone() -> None:
    assert passes(PaddedEngine(random_model("gpt2"), alone=True), rows(*[(5, 2)] * 3)) == [1, 1, 1]


@pytest.mark.parametrize("kind", ["gpt2", "bloom"])
def test_larger_passes_give_the_same_scores(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = PaddedEngine(random_model(kind))
    expected = engine.score(requests(0))
    for limits in (Limits(rows=1), Limits(99, tokens=60), Limits(99, logits=9)):
        monkeypatch.setattr(padded_module, "CPU_LIMITS", limits)
        scores = engine.score(requests(0))
        assert np.abs(scores.logprobs - expected.logprobs).max() < 1e-5
        assert (scores.is_greedy == expected.is_greedy).all()


@pytest.mark.parametrize("kind", ["gpt2", "bloom"])
def test_the_search_for_words_runs_in_passes_too(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = PaddedEngine(random_model(kind))
    random = np.random.default_rng(0)
    asked = [(9, 2), (9, 1), (4, 4), (12, 1), (12, 3)]
    searched = [Row(random.integers(0, 90, n).astype(np.int32), k) for n, k in asked]
    limits = [(Limits(rows=1), 5), (Limits(99, tokens=24), 3), (Limits(99), 1)]
    found = []
    for limit, count in limits:
        monkeypatch.setattr(padded_module, "CPU_LIMITS", limit)
        parts = [*engine._last_logits(searched)]
        assert len(parts) == count
        found.append(torch.cat(parts))
        assert len(found[-1]) == sum(k for _, k in asked)
    for logits in found:
        torch.testing.assert_close(logits, found[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_scored_together_have_the_bits_of_rows_scored_alone(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    logits = (3 * torch.randn(150, 1003)).to(dtype)
    targets = torch.randint(0, 1003, (150,))
    alone = [score_targets(logits[i : i + 1].clone(), targets[i : i + 1]) for i in range(150)]
    monkeypatch.setattr(engine_scores, "ROWS", {"cpu": 64})
    together = score_positions(lambda some: logits[some], torch.arange(150), targets)()
    for name in ("logprobs", "is_greedy", "is_tied"):
        expected = torch.cat([getattr(scores, name) for scores in alone]).numpy()
        assert (getattr(together, name) == expected).all()
