"""Other tools' protocols, each compared with the tool or a reimplementation of its recipe."""

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)

from gpt2eval import demo, evaluate
from gpt2eval.config.catalog import DEMO
from gpt2eval.data.formats import PARSERS
from gpt2eval.metrics.result import MetricValue
from gpt2eval.scoring.windows import SPANS
from gpt2eval.text.loader import load_detokenizer

ROOT = Path(__file__).parents[2]
WIKITEXT = demo.data()["wikitext2"]
LAMBADA = demo.data()["lambada"]


@pytest.fixture(scope="module", params=["plain", "adds a start token"])
def folder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A small random model of context 64 with the demo's tokenizer.

    The second variant's tokenizer adds a first token to every text and has a token `<unk>`.
    """
    path = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(n_layer=2, n_embd=32, n_head=2, n_positions=64, vocab_size=2561)
    )
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    model.save_pretrained(path)
    backend = Tokenizer.from_file(str(DEMO / "model" / "tokenizer.json"))
    end = AutoTokenizer.from_pretrained(str(DEMO / "model")).eos_token
    if request.param != "plain":
        assert "<unk>" in WIKITEXT.read_text()
        backend.add_special_tokens(["<unk>"])
        backend.post_processor = TemplateProcessing(
            single=f"{end} $A", special_tokens=[(end, backend.token_to_id(end))]
        )
    PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=end, bos_token=end).save_pretrained(
        path
    )
    return path


def ours(folder: Path, task: str, data: Path) -> Mapping[str, MetricValue]:
    base = task.partition("/")[0]
    return {m.name: m for m in evaluate(str(folder), [task], data={base: data})[0].metrics.values()}


def loaded(folder: Path) -> tuple[Any, Any]:
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    return tokenizer, AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32).eval()


def as_text(tokenizer: Any, text: str) -> list[int]:
    """Return the tokens of a text; special tokens in it are read as text."""
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.encode_special_tokens = True
    return backend.encode(text, add_special_tokens=False).ids


def added(tokenizer: Any) -> list[int]:
    """Return the start token that a tokenizer adds to a text, or no token."""
    begins = tokenizer.encode("a") != tokenizer.encode("a", add_special_tokens=False)
    return [tokenizer.bos_token_id] * begins


def nats(model: Any, inputs: list[int], targets: list[int]) -> float:
    """Return -log P of the targets; all inputs precede the last one."""
    with torch.inference_mode():
        scores = model(input_ids=torch.tensor([inputs])).logits[0].double().log_softmax(-1)
    return -float(sum(scores[len(inputs) - len(targets) + i, t] for i, t in enumerate(targets)))


# -- lm-evaluation-harness -------------------------------------------------------------------------


@pytest.mark.peers
def test_lm_evaluation_harness_prints_the_same(folder: Path, tmp_path: Path) -> None:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from machine import peers_python

    pages = [record.text for record in PARSERS["pages"](WIKITEXT.read_text(), "")]
    (tmp_path / "pages.jsonl").write_text(
        "".join(json.dumps({"page": page}) + "\n" for page in pages)
    )
    passages = tmp_path / "passages.jsonl"
    odd = [
        "They spoke at length of the Words of\n\nPower",
        "and so it ended there . And then \u2019 twas said",
    ]
    passages.write_text(
        LAMBADA.read_text() + "".join(json.dumps({"text": text}) + "\n" for text in odd)
    )
    command = [
        peers_python(ROOT / "build" / "peers"),
        ROOT / "tests" / "peers" / "run_lm_eval.py",
        folder,
    ]
    ended = subprocess.run(
        [*command, tmp_path / "pages.jsonl", passages],
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    theirs = json.loads(ended.stdout.splitlines()[-1])
    wikitext = theirs["wikitext_here"]
    metrics = ours(folder, "wikitext2/lm_eval", WIKITEXT)
    assert math.log(metrics["ppl"].value) == pytest.approx(
        math.log(wikitext["word_perplexity,none"]), rel=1e-5
    )
    assert math.log(metrics["byte_ppl"].value) == pytest.approx(
        math.log(wikitext["byte_perplexity,none"]), rel=1e-5
    )
    assert metrics["bpb"].value == pytest.approx(wikitext["bits_per_byte,none"], rel=1e-5)
    for name, lambada in (
        ("lm_eval", theirs["openai_here"]),
        ("lm_eval_standard", theirs["standard_here"]),
    ):
        lambada_metrics = ours(folder, f"lambada/{name}", passages)
        assert math.log(lambada_metrics["ppl"].value) == pytest.approx(
            math.log(lambada["perplexity,none"]), rel=1e-5
        )
        assert lambada_metrics["acc"].value == pytest.approx(100 * lambada["acc,none"], abs=1e-9)


def test_lm_evaluation_harness_written_out(folder: Path) -> None:
    tokenizer, model = loaded(folder)
    total = 0.0
    words = 0
    size = 64
    for page in (record.text for record in PARSERS["pages"](WIKITEXT.read_text(), "")):
        ids = tokenizer.encode(load_detokenizer("megatron").do(page).text)
        words += len(re.split(r"\s+", page))
        for first in range(0, len(ids), size):
            end = min(first + size, len(ids))
            window = [tokenizer.bos_token_id, *ids][max(0, end - size) : end]
            total += nats(model, window, ids[first:end])
    measured = ours(folder, "wikitext2/lm_eval", WIKITEXT)["ppl"]
    assert measured.units == words
    assert math.log(measured.value) * words == pytest.approx(total, rel=1e-6)


# -- the transformers documentation's recipe -------------------------------------------------------


def scored_by_the_recipe(task: str, text: str) -> str:
    """Return the text that the page scores: joined rows of WikiText, other files as they are."""
    if task != "wikitext2":
        return text
    lines = text.split("\n")[:-1]
    return "\n\n".join("" if line == " " else f"{line}\n" for line in lines)


@pytest.mark.parametrize(
    ("task", "stride"),
    [
        ("wikitext2/hf_docs", 64),
        ("wikitext2/hf_docs_s512", 24),
        ("ptb/hf_docs", 64),
        ("lm1b/hf_docs", 64),
        ("enwik8/hf_docs", 64),
        ("text8/hf_docs", 64),
    ],
)
def test_the_recipe_of_the_transformers_documentation(
    folder: Path, task: str, stride: int, tmp_path: Path
) -> None:
    tokenizer, model = loaded(folder)
    base = task.partition("/")[0]
    file = tmp_path / demo.data()[base].name
    # enwik8's excerpt begins inside a character, which no tokenizer of text can read
    published = demo.data()[base].read_bytes().decode("utf-8", "ignore")
    file.write_text(published, encoding="utf-8")
    text = scored_by_the_recipe(base, published)
    ids = tokenizer(text, return_tensors="pt").input_ids
    total = 0.0
    count = 0
    before = 0
    for begin in range(0, ids.shape[1], stride):
        end = min(begin + 64, ids.shape[1])
        labels = ids[:, begin:end].clone()
        labels[:, : -(end - before)] = -100
        with torch.inference_mode():
            loss = model(input_ids=ids[:, begin:end], labels=labels).loss
        losses = int((labels != -100).sum()) - 1
        total += float(loss) * losses
        count += losses
        before = end
        if end == ids.shape[1]:
            break
    from gpt2eval.pipeline import Settings

    result = evaluate(str(folder), [task], data={base: file}, settings=Settings(stride=stride))[0]
    assert result.tally.tokens == count
    assert result.tally.nats == pytest.approx(total, rel=1e-5)
    units = len(text.encode()) if "byte_ppl" in result.metrics else count
    assert result.primary.units == units
    assert math.log(result.primary.value) == pytest.approx(total / units, rel=1e-5)


# -- Megatron-LM -----------------------------------------------------------------------------------


def test_megatron(folder: Path) -> None:
    tokenizer, model = loaded(folder)
    text = WIKITEXT.read_text()
    ids = added(tokenizer) + as_text(tokenizer, load_detokenizer("megatron").do(text).text)
    size = 64
    overlap = 32
    total = 0.0
    for index in range(max(math.ceil(max(len(ids) - 1 - overlap, 0) / overlap) + 1, 1)):
        window = ids[index * overlap : index * overlap + size + 1]
        mask = np.zeros(size, np.bool_)
        mask[: max(len(window) - 1, 0)] = True
        if index:
            mask[:-overlap] = False
        counted = [i for i in range(size) if mask[i]]
        if counted:
            total += nats(model, window[:-1], [window[i + 1] for i in counted])
    measured = ours(folder, "wikitext103/megatron", WIKITEXT)["ppl"]
    assert measured.units == len(text.strip().split(" ")) - 1
    assert math.log(measured.value) * measured.units == pytest.approx(total, rel=1e-6)


def test_megatron_asks_for_the_last_word(folder: Path) -> None:
    tokenizer, model = loaded(folder)
    correct = 0
    texts = [json.loads(line)["text"] for line in LAMBADA.read_text().splitlines()]
    for text in texts:
        word = text.split()[-1]
        context = tokenizer.encode(text[: text.rfind(word)].strip(), add_special_tokens=False)
        label = tokenizer.encode(f" {word}", add_special_tokens=False)
        begin = added(tokenizer)
        inputs = begin + [*context, *label[:-1]][len(begin) - 64 :]
        with torch.inference_mode():
            predicted = model(input_ids=torch.tensor([inputs])).logits[0].argmax(-1)[-len(label) :]
        correct += predicted.tolist() == label
    measured = ours(folder, "lambada/megatron", LAMBADA)["acc"]
    assert (measured.value, measured.units) == (
        pytest.approx(100 * correct / len(texts)),
        len(texts),
    )


# -- llama.cpp -------------------------------------------------------------------------------------


def test_llama_cpp(folder: Path) -> None:
    tokenizer, model = loaded(folder)
    begins = added(tokenizer)
    tokens = begins + as_text(tokenizer, WIKITEXT.read_text().removesuffix("\n"))
    size = 64
    total = 0.0
    count = 0
    for chunk in range(len(tokens) // size):
        window = tokens[chunk * size : (chunk + 1) * size]
        targets = window[size // 2 + 1 :]
        inputs = [*begins, *window[len(begins) : -1]]
        total += nats(model, inputs, targets)
        count += len(targets)
    measured = ours(folder, "wikitext2/llama_cpp", WIKITEXT)["ppl"]
    assert measured.units == count
    assert math.log(measured.value) * count == pytest.approx(total, rel=1e-6)


# -- windows ---------------------------------------------------------------------------------------


@given(st.integers(0, 300), st.integers(2, 40), st.data())
def test_windows_score_no_token_twice_and_fit(
    length: int, context: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, context))
    expected: Mapping[str, set[int]] = {
        "regular": set(range(1, length)),
        "last_full": set(range(1, length)),
        "restart": set(range(length))
        - {0}
        - (set(range(0, length, stride)) if stride == context else set()),
    }
    for kind, spans in SPANS.items():
        scored = [i for span in spans(length, context, stride) for i in range(span.first, span.end)]
        assert len(scored) == len(set(scored)), kind
        assert set(scored) == expected.get(kind, set(scored)), kind
        assert all(span.left < span.first < span.end for span in spans(length, context, stride)), (
            kind
        )
        assert all(
            span.end - 1 - span.left <= context for span in spans(length, context, stride)
        ), kind
