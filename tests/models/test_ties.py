"""Greedy is the argmax: the lowest id among the highest logits. Ties are counted, never hits."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from gpt2eval import demo, evaluate
from gpt2eval.config.catalog import DEMO
from gpt2eval.metrics.result import Result
from gpt2eval.models import registry
from gpt2eval.models.engine.scores import score_targets
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.server.answer import Choice, TokenAnswer, choice
from gpt2eval.pipeline import Settings
from gpt2eval.training.callback import evaluate_module
from gpt2eval.training.live_module import backend_of_module
from gpt2eval.types import Request, TokenScores

SIZE = 2560  # ids of the demo's tokenizer
PADDED = 2600


def naive(logits: Tensor, targets: Tensor) -> tuple[list[bool], list[bool]]:
    """Return whether each target is the argmax, and whether the highest logit is shared."""
    greedy = [int(torch.argmax(row)) == int(t) for row, t in zip(logits, targets, strict=True)]
    return greedy, [int((row == row.max()).sum()) > 1 for row in logits]


@given(
    st.integers(0, 2**20),
    st.integers(1, 70),
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]),
    st.sampled_from([0.5, 1.0, 1000.0]),
)
def test_greedy_and_ties_equal_a_loop_over_argmax(
    seed: int, tokens: int, dtype: torch.dtype, steps: float
) -> None:
    """With one, two or 1,000 steps per unit: every row is tied, some rows, or hardly any."""
    random = torch.Generator().manual_seed(seed)
    logits = (torch.randn(tokens, 90, generator=random) * steps).round().div(steps).to(dtype)
    targets = torch.where(
        torch.rand(tokens, generator=random) < 0.5,
        logits.argmax(1),
        torch.randint(90, (tokens,), generator=random),
    )
    expected = logits.double().log_softmax(1).gather(1, targets[:, None])[:, 0]
    greedy, tied = naive(logits, targets)
    scores = score_targets(logits.clone(), targets)
    assert scores.is_greedy.tolist() == greedy
    assert scores.is_tied.tolist() == tied
    torch.testing.assert_close(scores.logprobs.double(), expected, atol=1e-5, rtol=1e-5)


def test_a_tie_below_the_highest_logit_is_no_tie_and_the_lowest_of_equal_ids_is_greedy() -> None:
    logits = torch.tensor([[1.0, 3, 2, 2], [3, 1, 3, 0], [3, 1, 3, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    scores = score_targets(logits, torch.tensor([1, 0, 2, 0, 3]))
    assert scores.is_tied.tolist() == [False, True, True, True, True]
    assert scores.is_greedy.tolist() == [True, True, False, True, False]


def test_logits_closer_than_softmax_can_tell_are_no_tie() -> None:
    """exp rounds both differences to 1, but the logits differ."""
    logits = torch.tensor([[1e-9, 2e-9, -5.0], [2e-9, 2e-9, -5.0]])
    scores = score_targets(logits, torch.tensor([1, 1]))
    assert (scores.is_greedy.tolist(), scores.is_tied.tolist()) == ([True, False], [False, True])


# -- whole tasks -----------------------------------------------------------------------------------


def zero_demo() -> Any:
    model = AutoModelForCausalLM.from_pretrained(DEMO / "model", dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    return model


@pytest.fixture(scope="module")
def of_zeros(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    folder = tmp_path_factory.mktemp("zeros")
    zero_demo().save_pretrained(folder)
    tasks = ["lambada/no_filter", "lambada/last_token", "cbt_cn", "cbt_ne", "ptb"]
    results = evaluate(
        str(folder),
        tasks,
        data=demo.data(),
        options=LoadOptions(tokenizer=str(DEMO / "model")),
        settings=Settings(limit=8),
    )
    return {result.full_name: result for result in results}


def test_with_all_weights_zero_every_answer_is_what_argmax_gives(
    of_zeros: dict[str, Result],
) -> None:
    """The argmax is id 0, the end-of-text token, which is no answer."""
    for name in ("lambada/no_filter", "lambada/last_token", "cbt_cn", "cbt_ne"):
        assert of_zeros[name].acc == 0, name


def test_with_all_weights_zero_every_decision_is_tied(of_zeros: dict[str, Result]) -> None:
    for name in ("lambada/no_filter", "lambada/last_token", "ptb"):
        tally = of_zeros[name].tally
        assert tally.ties == tally.tokens > 0, name
        assert tally.nats == pytest.approx(tally.tokens * np.log(SIZE)), name
    for name in ("cbt_cn", "cbt_ne"):
        tally = of_zeros[name].tally
        # Options of several tokens are less likely; those of one token share the best place.
        assert 0 < tally.ties <= tally.records, name


class Table(nn.Module):
    """A model whose next token depends on the last one only, with coarse logits: many ties."""

    def __init__(self, *, best: int | None = None) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(3)
        table = torch.randn(PADDED, PADDED, generator=random).mul(2).round()
        if best is not None:
            table[:, best] = 20
        self.table = nn.Parameter(table)

    def forward(self, ids: Tensor) -> Tensor:
        return self.table[ids]


def table_scores(module: Table, batch: list[Request]) -> TokenScores:
    return backend_of_module(module, str(DEMO / "model"), context=64).score(batch)


def test_scores_do_not_depend_on_the_batch_and_equal_a_loop() -> None:
    module = Table()
    random = np.random.default_rng(0)
    rows = [random.integers(0, SIZE, length).astype(np.int32) for length in (9, 3, 17, 2, 30)]
    with torch.no_grad():
        best = module.table.argmax(1).numpy()
    for row in rows:
        row[2::2] = best[row[1:-1:2]]  # half of the targets are greedy
    batch = [Request(row[:1], (row[1:],)) for row in rows]
    together = table_scores(module, batch)
    apart = [table_scores(module, [request]) for request in batch]
    for name in ("logprobs", "is_greedy", "is_tied"):
        joined = np.concatenate([getattr(scores, name) for scores in apart])
        assert getattr(together, name).tolist() == joined.tolist()
    before = np.concatenate([row[:-1] for row in rows])
    targets = np.concatenate([row[1:] for row in rows])
    greedy, tied = naive(module.table[before].detach(), torch.from_numpy(targets))
    assert together.is_greedy.tolist() == greedy
    assert together.is_tied.tolist() == tied
    assert sum(tied) > 0
    assert 0 < sum(greedy) < len(greedy)


def test_an_id_that_the_tokenizer_lacks_can_be_the_argmax() -> None:
    """Vocabularies are padded; the model, not the tokenizer, says what is most likely."""
    row = np.arange(10, dtype=np.int32)
    scores = table_scores(Table(best=PADDED - 1), [Request(row[:1], (row[1:],))])
    assert not scores.is_greedy.any()
    assert not scores.is_tied.any()


def test_a_live_module_and_its_result_have_the_ties() -> None:
    result = evaluate_module(
        zero_demo(), str(DEMO / "model"), "ptb", data=demo.data(), settings=Settings(limit=1)
    )[0]
    assert result.tally.ties == result.tally.tokens > 0


@pytest.mark.parametrize(("toy", "share"), [("toy:uniform-bytes", 1), ("toy:unigram", 0)])
def test_toy_models_count_their_ties(toy: str, share: float) -> None:
    streams = evaluate(toy, ["text8"], data=demo.data())[0].tally
    assert streams.ties == share * streams.tokens


def test_windows_with_fractional_weights_have_no_more_ties_than_tokens() -> None:
    settings = Settings(context=48, stride=32)
    tally = evaluate(
        "toy:uniform-bytes", ["wikitext2/hf_docs"], data=demo.data(), settings=settings
    )[0].tally
    assert tally.ties == tally.tokens > 0


def test_bfloat16_ties_are_counted_and_no_hits() -> None:
    """About 3 % of the demo's highest logits are shared in bfloat16, and none in float32."""
    shares = {}
    for dtype in ("float32", "bfloat16"):
        model = registry.load_model("demo", LoadOptions(dtype=dtype, attn="eager"))
        ids = model.encode(demo.data()["wikitext2"].read_text()[:6000]).ids[:512]
        scores = model.score([Request(ids[:1], (ids[1:],))])
        plain: Any = AutoModelForCausalLM.from_pretrained(
            DEMO / "model", dtype=getattr(torch, dtype), attn_implementation="eager"
        )
        with torch.inference_mode():
            logits = plain(input_ids=torch.from_numpy(ids.astype(np.int64))[None, :-1]).logits[0]
        greedy, tied = naive(logits, torch.from_numpy(ids[1:].astype(np.int64)))
        assert (scores.is_greedy.tolist(), scores.is_tied.tolist()) == (greedy, tied)
        shares[dtype] = np.mean(tied)
    assert shares["float32"] == 0
    assert 0.01 < shares["bfloat16"] < 0.08


def test_an_interrupted_run_keeps_its_ties(tmp_path: Path) -> None:
    folder = tmp_path / "zeros"
    zero_demo().save_pretrained(folder)
    options = LoadOptions(tokenizer=str(DEMO / "model"))
    settings = Settings(limit=20)
    first, again = (
        evaluate(
            str(folder),
            ["ptb"],
            data=demo.data(),
            options=options,
            settings=settings,
            out=tmp_path / "out",
        )[0]
        for _ in range(2)
    )
    assert first.tally == again.tally
    assert again.tally.ties == again.tally.tokens


# -- servers ---------------------------------------------------------------------------------------

IDS = {" a": 5, " b": 7, " c": 9}
# The token's own log-probability, the server's list, whether it is greedy, and whether it is tied.
CHOICES: dict[str, tuple[float, dict[str, float], bool, bool]] = {
    "most likely": (-1.0, {" b": -1.0, " c": -2.0}, True, False),
    "only one listed": (-1.0, {" b": -1.0}, True, False),
    "rounded elsewhere": (-1.0004, {" b": -1.0, " c": -2.0}, True, False),
    "less likely": (-2.0, {" c": -1.0, " b": -2.0}, False, False),
    "not listed": (-2.0, {" c": -1.0}, False, False),
    "nearly as likely": (-1.0004, {" c": -1.0, " b": -1.0004}, False, False),
    "nearly, not listed": (-1.0004, {" c": -1.0}, False, False),
    "tied with a higher id": (-1.0, {" c": -1.0, " b": -1.0}, True, True),
    "tied with a lower id": (-1.0, {" b": -1.0, " a": -1.0}, False, True),
    "tied with an unknown id": (-1.0, {" b": -1.0, " ?": -1.0}, False, True),
    "tied, not listed": (-1.0, {" c": -1.0}, True, True),
    "others are tied": (-2.0, {" a": -1.0, " c": -1.0}, False, True),
    "written in two ways": (-1.0004, {"b": -1.0, " c": -2.0}, True, False),
    "two tokens of one text": (-5.0, {" b": -1.0}, False, False),
}


@pytest.mark.parametrize("case", CHOICES)
def test_a_servers_greedy_token(case: str) -> None:
    logprob, top, greedy, tied = CHOICES[case]
    answer = TokenAnswer(" b", logprob, top)
    assert choice(answer, IDS[" b"], IDS.get) == Choice(greedy, tied)
