"""The variants of the sets of documents feed and score exactly the tokens of their loaders."""

import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import datasets
import pytest
from diffusion_loaders import DETOKENIZERS
from planned_windows import END, Ids, TokensOnly, planned, scored
from transformers import AutoTokenizer

from gpt2eval.models.tokenization.loading import from_place

BLOCK = 1024
Encode = Callable[[str], Ids]


@pytest.fixture(scope="module")
def model(real_models: Path) -> TokensOnly:
    return TokensOnly(from_place(str(real_models / "gpt2-tokenizer" / "tokenizer.json")), BLOCK)


@pytest.fixture(scope="module")
def encode(real_models: Path) -> Encode:
    tokenizer: Any = AutoTokenizer.from_pretrained(real_models / "gpt2-tokenizer")
    return cache(lambda text: tokenizer(text, add_special_tokens=False).input_ids)


@pytest.fixture(scope="module")
def documents(development_data: Path) -> list[str]:
    """Return 2,345 texts with line ends and quotes, and one of them empty."""
    path = development_data / "test" / "lambada" / "lambada_test.jsonl"
    texts = [json.loads(line)["text"] for line in path.read_text("utf-8").splitlines()[:2344]]
    return [*texts[:1200], "", *texts[1200:]]


def as_jsonl(documents: Sequence[str]) -> bytes:
    return "".join(json.dumps({"text": text}) + "\n" for text in documents).encode()


def blocks(rows: Sequence[Ids], room: int) -> list[Ids]:
    """Return the blocks of `datasets.map`, which drops the remainder of each batch of rows."""

    def group(batch: dict[str, list[Ids]]) -> dict[str, list[Ids]]:
        tokens = [token for row in batch["ids"] for token in row]
        full = len(tokens) // room * room
        return {"ids": [tokens[first : first + room] for first in range(0, full, room)]}

    datasets.disable_progress_bars()
    grouped = datasets.Dataset.from_dict({"ids": rows}).map(group, batched=True)
    return list(grouped["ids"])


@pytest.mark.parametrize("name", ["openwebtext/mdlm", "ag_news/mdlm"])
def test_mdlm(name: str, documents: list[str], model: TokensOnly, encode: Encode) -> None:
    rows = [[*encode(text), END] for text in documents]
    expected = [([END, *block, END], BLOCK - 1) for block in blocks(rows, BLOCK - 2)]
    assert planned(name, as_jsonl(documents), model) == expected


def test_bd3lm(documents: list[str], model: TokensOnly, encode: Encode) -> None:
    rows = [encode(text) for text in documents]
    expected = [([END, *block, END], BLOCK - 1) for block in blocks(rows, BLOCK - 2)]
    assert planned("ag_news/bd3lm", as_jsonl(documents), model) == expected


@pytest.mark.parametrize("name", ["pubmed", "arxiv"])
@pytest.mark.parametrize("variant", ["mdlm", "bd3lm"])
def test_scientific_papers(
    name: str, variant: str, documents: list[str], model: TokensOnly, encode: Encode
) -> None:
    articles = [f"{text} .\n( a ) boys 's , N = 5 ' x ' , @xmath0 @-@ wave ;" for text in documents]
    after = [END] * (variant == "mdlm")
    rows = [[*encode(DETOKENIZERS["papers"](text)), *after] for text in articles]
    expected = [([END, *block, END], BLOCK - 1) for block in blocks(rows, BLOCK - 2)]
    assert planned(f"{name}/{variant}", as_jsonl(articles), model) == expected


def test_bd3lm_on_its_training_set(documents: list[str], model: TokensOnly, encode: Encode) -> None:
    rows = [[*encode(text), END] for text in documents]
    expected = [(block, BLOCK - 1) for block in blocks(rows, BLOCK)]
    assert planned("openwebtext/bd3lm", as_jsonl(documents), model) == expected


def test_nanogpt(documents: list[str], model: TokensOnly, encode: Encode) -> None:
    stream = [token for text in documents for token in [*encode(text), END]]
    inputs = [stream[first : first + BLOCK] for first in range(0, len(stream) - 1, BLOCK)]
    targets = [stream[first + 1 : first + 1 + BLOCK] for first in range(0, len(stream) - 1, BLOCK)]
    ours = planned("openwebtext/nanogpt", as_jsonl(documents), model)
    assert [tokens[:-1] for tokens, _ in ours] == [
        row[: len(target)] for row, target in zip(inputs, targets, strict=True)
    ]
    assert [tokens[1:] for tokens, _ in ours] == targets
    assert scored(ours) == len(stream) - 1
