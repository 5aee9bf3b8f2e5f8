"""The variants of quantization papers feed and score exactly the tokens of their programs."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from planned_windows import END, Ids, TokensOnly, Window, planned, scored
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from gpt2eval import demo
from gpt2eval.models.registry import load_model
from gpt2eval.models.tokenization.loaded import LoadedTokenizer
from gpt2eval.models.tokenization.loading import from_place
from gpt2eval.pipeline import evaluate

Encode = Callable[[str], Ids]


@pytest.fixture(scope="module")
def tokenizer(real_models: Path) -> LoadedTokenizer:
    return from_place(str(real_models / "gpt2-tokenizer" / "tokenizer.json"))


@pytest.fixture(scope="module")
def encode(real_models: Path) -> Encode:
    """Return transformers' tokenizer of GPT-2, as these programs call it."""
    tokenizer: Any = AutoTokenizer.from_pretrained(real_models / "gpt2-tokenizer")
    return cache(lambda text: tokenizer(text).input_ids)


# -- the programs, written anew --------------------------------------------------------------------


def wikitext_rows(text: str) -> list[str]:
    """Return the rows of the data set on the Hub: that of a blank line is empty."""
    return ["" if line == " \n" else line for line in text.splitlines(keepends=True)]


def ptb_rows(text: str) -> list[str]:
    """Return the rows of the data set on the Hub: lines without outer spaces."""
    return [line.strip() for line in text.splitlines()]


def disjoint(ids: Ids, size: int) -> list[Window]:
    """Return full disjoint windows, of which the first token is not scored."""
    starts = range(0, len(ids) - size + 1, size)
    return [(ids[first : first + size], size - 1) for first in starts]


def autogptq(ids: Ids, size: int = 512) -> list[Window]:
    """Return AutoGPTQ's windows: the first token replaced, positions 257 to 511 scored."""
    return [
        ([END, *ids[first + 1 : first + size]], size - 1 - size // 2)
        for first in range(0, len(ids) // size * size, size)
    ]


# -- the published files ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def raw(development_data: Path) -> bytes:
    return (development_data / "test" / "wikitext-2-raw" / "wiki.test.raw").read_bytes()


def test_autogptq(raw: bytes, tokenizer: LoadedTokenizer, encode: Encode) -> None:
    text = "".join(row or " \n" for row in wikitext_rows(raw.decode()))
    assert text.encode() == raw
    ids = encode(text)
    ours = planned("wikitext2/autogptq", raw, TokensOnly(tokenizer, 1024))
    assert ours == autogptq(ids)
    assert (len(ids), len(ours), scored(ours)) == (286_221, 559, 142_545)


def test_openvino(raw: bytes, tokenizer: LoadedTokenizer, encode: Encode) -> None:
    ours = planned("wikitext2/openvino", raw, TokensOnly(tokenizer, 1024))
    assert ours == disjoint(encode(raw.decode()), 1024)
    assert (len(ours), scored(ours)) == (279, 285_417)


@pytest.mark.parametrize("context", [1024, 2048, 4096])
def test_gptq_on_wikitext(
    raw: bytes, tokenizer: LoadedTokenizer, encode: Encode, context: int
) -> None:
    ids = encode("\n\n".join(wikitext_rows(raw.decode())))
    ours = planned("wikitext2/gptq", raw, TokensOnly(tokenizer, context))
    assert ours == disjoint(ids, min(context, 2048))
    assert len(ours) == len(ids) // min(context, 2048)


@pytest.mark.parametrize(
    ("name", "file", "between"),
    [
        ("ptb/gptq", "ptb/ptb.valid.txt", "\n\n"),
        ("ptb/gptq_new", "test/ptb/ptb.test.txt", " "),
    ],
)
def test_gptq_on_ptb(
    development_data: Path,
    tokenizer: LoadedTokenizer,
    encode: Encode,
    name: str,
    file: str,
    between: str,
) -> None:
    content = (development_data / file).read_bytes()
    ids = encode(between.join(ptb_rows(content.decode())))
    ours = planned(name, content, TokensOnly(tokenizer, 1024))
    assert ours == disjoint(ids, 1024)


def test_gptq_begins_with_the_token_that_a_tokenizer_adds(
    development_data: Path, real_models: Path
) -> None:
    content = (development_data / "ptb" / "ptb.valid.txt").read_bytes()
    few = b"".join(content.splitlines(keepends=True)[:60])
    folder = real_models / "babyllama"
    ids = AutoTokenizer.from_pretrained(folder)("\n\n".join(ptb_rows(few.decode()))).input_ids
    ours = planned("ptb/gptq", few, load_model(str(folder)))
    assert ours == disjoint(ids, 256)
    assert ours[0][0][0] == 1


# -- scores ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["autogptq", "openvino", "gptq"])
def test_the_perplexity_is_that_of_a_naive_loop(tmp_path: Path, variant: str) -> None:
    torch.manual_seed(2357)
    folder = tmp_path / "small"
    of_demo = AutoTokenizer.from_pretrained(Path(demo.__file__).parent / "model")
    of_demo.save_pretrained(folder)
    config = GPT2Config(vocab_size=2560, n_positions=512, n_embd=32, n_layer=1, n_head=2)
    model = GPT2LMHeadModel(config).eval()
    model.save_pretrained(folder)
    file = tmp_path / "wiki.test.raw"
    file.write_text(demo.data()["wikitext2"].read_text()[:20_000].rpartition("\n")[0] + "\n")
    text = file.read_text()
    if variant == "gptq":
        text = "\n\n".join(wikitext_rows(text))
    ids = of_demo(text).input_ids
    windows = autogptq(ids) if variant == "autogptq" else disjoint(ids, 512)
    if variant == "autogptq":
        windows = [([of_demo.bos_token_id, *tokens[1:]], count) for tokens, count in windows]
    nats = 0.0
    for tokens, count in windows:
        with torch.no_grad():
            logits = model(torch.tensor([tokens])).logits[0].double()
        nats += cross_entropy(
            logits[-count - 1 : -1], torch.tensor(tokens[-count:]), reduction="sum"
        ).item()
    name = f"wikitext2/{variant}"
    (result,) = evaluate(str(folder), name, data={name: file})
    assert len(windows) > 3
    assert result.tally.tokens == scored(windows)
    assert result.tally.nats == pytest.approx(nats, rel=1e-6)
