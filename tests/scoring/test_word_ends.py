"""lambada/bow: the last word with its own end, and without the end of the word before it."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from piece_model import PieceModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from gpt2eval import demo, evaluate
from gpt2eval.analysis.explain import explain
from gpt2eval.analysis.export_rows import RowFiles, export_rows
from gpt2eval.analysis.reproduce import rerun
from gpt2eval.config import catalog
from gpt2eval.config.loader import load_task
from gpt2eval.data.corpus import load
from gpt2eval.errors import UsageError
from gpt2eval.models import registry
from gpt2eval.planning.task_plan import plan_task
from gpt2eval.report.measured import read_measured
from gpt2eval.scoring.plan import tokens_fed
from gpt2eval.settings import Settings
from gpt2eval.types import Encoding, ModelIdentity, Request, TokenScores

PIECES = ["the", " cat", " ca", "t", "s", ".", "\n", "<end>"]
STARTS = {" cat", " ca", "\n", "<end>"}
Rows = Mapping[str, Mapping[str, float]]
# P of the next piece, by the last one.
ROWS: Rows = {
    "\n": {"the": 0.5, " cat": 0.5},
    "the": {" cat": 0.4, " ca": 0.1, "s": 0.2, "<end>": 0.2, ".": 0.1},
    " cat": {"s": 0.5, "\n": 0.1, " cat": 0.05, "<end>": 0.05, ".": 0.3},
    "s": {" cat": 0.125, "\n": 0.125, "t": 0.25, ".": 0.5},
}


class Bigrams:
    """A backend over these pieces whose next piece depends on the last one alone."""

    context = 64
    start: int | None = None

    def __init__(self, rows: Rows = ROWS) -> None:
        self._rows = rows

    def encode(self, text: str) -> Encoding:
        ids = []
        ends = []
        rest = text
        while rest:
            piece = max((piece for piece in PIECES if rest.startswith(piece)), key=len)
            ids.append(PIECES.index(piece))
            rest = rest.removeprefix(piece)
            ends.append(len(text) - len(rest))
        return Encoding(np.array(ids, np.int32), np.array(ends, np.int32), lossy=False)

    def score(self, batch: Sequence[Request]) -> TokenScores:
        return self.score_starts(batch)._replace(
            log_starts=np.zeros(0), starts_word=np.zeros(0, np.bool_)
        )

    def score_starts(self, batch: Sequence[Request]) -> TokenScores:
        logprobs = []
        starts = []
        ids = []
        for prefix, branches in batch:
            for branch in branches:
                last = int(prefix[-1])
                for id_ in branch.tolist():
                    row = self._rows[PIECES[last]]
                    logprobs.append(math.log(row.get(PIECES[id_], 1e-9)))
                    starts.append(math.log(sum(p for piece, p in row.items() if piece in STARTS)))
                    ids.append(id_)
                    last = id_
        begins = np.array([PIECES[id_] in STARTS for id_ in ids])
        flags = np.zeros(len(ids), np.bool_)
        return TokenScores(
            np.array(logprobs), flags, log_starts=np.array(starts), starts_word=begins
        )

    def identity(self) -> ModelIdentity:
        return ModelIdentity("bigrams", "1", "pieces", "float64", "none", "cpu")


# An object of this package keeps its capabilities, see `backend.check_backend`.
Bigrams.__module__ = "gpt2eval.bigrams"


def lambada(path: Path, *texts: str) -> dict[str, Path]:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return {"lambada": path}


def test_in_closed_form(tmp_path: Path) -> None:
    """A word of two pieces, ` cat` and `s`, after `the`; and one of a single piece."""
    data = lambada(tmp_path / "lambada_test.jsonl", "the cats", "the cat")
    result = evaluate(Bigrams(), "lambada/bow", data=data, out=tmp_path / "out")[0]
    before = 0.4 + 0.1 + 0.2  # ` cat`, ` ca` and the end of the text
    cats = 0.4 * 0.5 * (0.125 + 0.125) / before
    cat = 0.4 * (0.1 + 0.05 + 0.05) / before
    assert result.tally.nats == pytest.approx(-math.log(cats) - math.log(cat), abs=1e-12)
    assert result.metrics["ppl"].value == pytest.approx(math.exp(result.tally.nats / 2))
    # The closing token counts nowhere.
    assert (result.tally.tokens, result.tally.unscored, result.tally.units.words) == (3, 0, 2)
    assert "|ends:corrected|" in result.signature
    # Rows of tokens have plain log-probabilities; the record has the correction.
    one = read_measured(tmp_path / "out")[0]
    plain = np.log([0.4, 0.5, 0.4])
    assert one.tokens().logprob == pytest.approx(plain, abs=1e-6)
    assert [part.nats for part in one.parts] == pytest.approx([-math.log(cats), -math.log(cat)])
    # Another order of the records is another order of the same numbers.
    again = evaluate(Bigrams(), "lambada/bow", data=data, out=tmp_path / "out")[0]
    assert again == result


def test_the_probabilities_of_all_words_and_the_end_sum_to_one(tmp_path: Path) -> None:
    """After `the` a word follows, `ca` or `cat`, and perhaps `s`; or the text ends."""
    rows = {
        "\n": {"the": 1.0},
        "the": {" cat": 0.3, " ca": 0.2, "<end>": 0.1, "s": 0.4},
        " cat": {"s": 0.4, " cat": 0.5, "<end>": 0.1},
        " ca": {"s": 0.7, " ca": 0.2, "\n": 0.1},
        "s": {" cat": 1.0},
    }
    texts = ["the cat", "the cats", "the ca", "the cas"]
    data = lambada(tmp_path / "lambada_test.jsonl", *texts)
    sums = []
    for name in ("bow", "no_filter"):
        evaluate(Bigrams(rows), f"lambada/{name}", data=data, out=tmp_path / name)
        parts = read_measured(tmp_path / name)[0].parts
        sums.append(math.fsum(math.exp(-part.nats) for part in parts))
    assert sums == pytest.approx([1 - 0.1 / 0.6, 0.3 * 1.4 + 0.2 * 1.7])


@pytest.fixture(scope="module")
def plain() -> tuple[Any, Any]:
    """The demo model and its tokenizer as transformers loads them."""
    folder = catalog.DEMO / "model"
    return (
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(),
        AutoTokenizer.from_pretrained(folder),
    )


def texts_of_demo(count: int) -> list[str]:
    path = demo.data()["lambada"]
    return [json.loads(line)["text"] for line in path.read_text().splitlines()[:count]]


def logprobs_of(model: Any, ids: Sequence[int]) -> torch.Tensor:
    """Return ln P of every id in each place after the first, and after the last one."""
    with torch.inference_mode():
        return model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(1)


def test_against_a_naive_loop_over_the_vocabulary(plain: tuple[Any, Any], tmp_path: Path) -> None:
    model, tokenizer = plain
    begins = torch.tensor(
        [
            tokenizer.decode([id_])[:1].isspace() or id_ in tokenizer.all_special_ids
            for id_ in range(model.config.vocab_size)
        ]
    )
    expected = []
    texts = texts_of_demo(9)
    for text in texts:
        whole = "\n" + text.strip().replace("“", '"').replace("”", '"')
        before, _, word = whole.rpartition(" ")
        ids = tokenizer.encode(whole, add_special_tokens=False)
        own = tokenizer.encode(f" {word}", add_special_tokens=False)
        assert ids == tokenizer.encode(before, add_special_tokens=False) + own
        rows = logprobs_of(model, ids)
        first = len(ids) - len(own)
        nats = -sum(rows[place - 1, ids[place]].item() for place in range(first, len(ids)))
        start = rows[first - 1].exp()[begins].sum().log().item()
        end = rows[len(ids) - 1].exp()[begins].sum().log().item()
        expected.append(nats + start - end)
    data = lambada(tmp_path / "lambada_test.jsonl", *texts)
    evaluate("demo", "lambada/bow", data=data, out=tmp_path / "out")
    parts = read_measured(tmp_path / "out")[0].parts
    assert [part.nats for part in parts] == pytest.approx(expected, abs=2e-4)
    assert len({round(nats, 3) for nats in expected}) == len(texts)


def test_against_the_formula_of_minicons(plain: tuple[Any, Any], tmp_path: Path) -> None:
    """minicons 0.3.39, `bow_correction=True`, as its scores are defined.

    A token before one that begins a word, or the last one, gains ln B of the place after it. A
    token after one of those loses ln B of its own place. B sums over the tokens that begin with the
    vocabulary's mark of a space; here over ours, which has line ends and special tokens, too.
    """
    model, tokenizer = plain
    ours: Any = registry.load_model("demo")
    begins = torch.from_numpy(ours._starts)
    texts = texts_of_demo(6)
    expected = []
    for text in texts:
        whole = "\n" + text.strip().replace("“", '"').replace("”", '"')
        ids = tokenizer.encode(whole, add_special_tokens=False)
        rows = logprobs_of(model, ids)
        mass = rows.exp()[:, begins].sum(1).log()  # in the place after each token
        scores = []
        gained = False
        for number in range(1, len(ids)):
            score = rows[number - 1, ids[number]].item()
            if gained:
                score -= mass[number - 1].item()
            gained = number == len(ids) - 1 or bool(begins[ids[number + 1]])
            if gained:
                score += mass[number].item()
            scores.append(score)
        own = len(tokenizer.encode(" " + whole.rpartition(" ")[2], add_special_tokens=False))
        expected.append(-sum(scores[-own:]))
    data = lambada(tmp_path / "lambada_test.jsonl", *texts)
    evaluate("demo", "lambada/bow", data=data, out=tmp_path / "out")
    parts = read_measured(tmp_path / "out")[0].parts
    assert [part.nats for part in parts] == pytest.approx(expected, abs=2e-4)


def test_bytes_that_are_independent_need_no_correction() -> None:
    """B is the same everywhere, so it cancels."""
    corrected, plain = evaluate(
        "toy:unigram", ["lambada/bow", "lambada/no_filter"], data=demo.data(), limit=8
    )
    assert corrected.tally.nats == pytest.approx(plain.tally.nats, abs=1e-9)
    assert corrected.tally.tokens == plain.tally.tokens
    assert corrected.nll_sha256 != plain.nll_sha256, "the hash covers the corrections"


def test_the_correction_does_not_depend_on_batches_and_resumes(tmp_path: Path) -> None:
    few = Settings(limit=10)
    first = evaluate("demo", "lambada/bow", data=demo.data(), settings=few, out=tmp_path)[0]
    again = evaluate("demo", "lambada/bow", data=demo.data(), settings=few, out=tmp_path)[0]
    assert again == first
    other = evaluate("demo", "lambada/bow", data=demo.data(), limit=10, tokens=100)[0]
    assert other.tally.nats == pytest.approx(first.tally.nats, abs=1e-4)
    same = rerun(first.signature, data=demo.data())
    assert same[0].tally.nats == first.tally.nats


def test_the_place_after_a_word_is_an_input_more() -> None:
    """Where the context is full, the prefix loses one more token on the left."""
    model = registry.load_model("demo")
    corpus = load(load_task("lambada"), demo.data(), Settings())
    requests = []
    for name in ("lambada/bow", "lambada/no_filter"):
        chunks = plan_task(model, load_task(name), corpus, Settings(context=12)).work.chunks
        flat = [item.request for chunk in chunks for batch in chunk for item in batch]
        assert {tokens_fed(request) for request in flat} == {12}
        requests.append({tuple(r.branches[0].tolist()): r.prefix.tolist() for r in flat})
    closed, plain = requests
    assert len(closed) == len(plain) > 40
    for branch, prefix in closed.items():
        assert branch[-1] == branch[-2]
        assert prefix == plain[branch[:-1]][1:]


def test_exported_words_have_the_corrected_nats_of_the_records(tmp_path: Path) -> None:
    evaluate("demo", "lambada/bow", data=demo.data(), limit=12, out=tmp_path)
    one = read_measured(tmp_path)[0]
    path = tmp_path / "words.jsonl"
    export_rows([one], RowFiles(words=path), data=demo.data())
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 12
    for row, part in zip(rows, one.parts, strict=True):
        assert row["corrected_nats"] == pytest.approx(part.nats, abs=1e-5)
        assert abs(row["corrected_nats"] - row["nats"]) > 1e-3


def test_explain_prices_the_correction_exactly() -> None:
    rows = explain(
        "demo", "lambada", data=demo.data(), protocols=["bow"], settings=Settings(limit=6)
    )
    (step,) = rows["bow"].steps
    assert (step.group, step.before, step.after) == ("word_ends", "none", "corrected")
    runs = evaluate("demo", ["lambada/no_filter", "lambada/bow"], data=demo.data(), limit=6)
    nats = [run.tally.nats / 6 for run in runs]
    assert [row.nats for row in rows] == pytest.approx(nats, abs=1e-12)
    assert step.nats == pytest.approx(nats[1] - nats[0], abs=1e-12)
    assert "word_ends none -> corrected" in str(rows)


def test_a_model_that_cannot_tell_is_refused() -> None:
    with pytest.raises(
        UsageError,
        match=r"^task lambada/bow: model pieces does not tell which of its tokens begin a word; "
        "expected a checkpoint whose tokenizer states the bytes of its tokens$",
    ):
        evaluate(PieceModel(), "lambada/bow", data=demo.data(), limit=1)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("filter: none\n    metrics: [ppl]", "metrics: [ppl]", "ask last_word and filter nltk127"),
        (
            "word_ends: corrected",
            "word_ends: corrected\n    ask: last_token",
            "ask last_token and filter none",
        ),
    ],
)
def test_only_a_whole_word_without_a_filter_is_corrected(
    old: str, new: str, found: str, tmp_path: Path
) -> None:
    (tmp_path / "tasks").mkdir()
    text = catalog.find("tasks", "lambada").read_text()
    head, mark, rest = text.partition("    word_ends: corrected")
    assert mark
    path = tmp_path / "tasks" / "lambada.yaml"
    path.write_text(head + (mark + rest).replace(old, new, 1))
    with pytest.raises(
        UsageError,
        match=f"word_ends: corrected: not compatible with {found}; expected ask last_word or "
        "after_last_blank, and filter none",
    ):
        load_task("lambada/bow", [tmp_path])
