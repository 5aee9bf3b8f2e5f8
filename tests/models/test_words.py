"""The stop-word filter: the beam search against an exhaustive search, and its lists."""

import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2eval import demo, evaluate
from gpt2eval.config import catalog
from gpt2eval.config.loader import load_filter, load_task
from gpt2eval.errors import UsageError
from gpt2eval.models import registry
from gpt2eval.models.engine.best_word import Vocabulary, best_words
from gpt2eval.models.engine.packed import PackedEngine
from gpt2eval.models.engine.padded import PaddedEngine
from gpt2eval.models.options import LoadOptions
from gpt2eval.pipeline import Settings
from gpt2eval.types import FindsBestWords, Request

PIECES = [
    b" a",
    b" b",
    b"a",
    b"b",
    b" ",
    b".",
    b"\n",
    b",b",
    b" \xc3",
    b"\xa9",
    b"<end>",
    " é".encode(),
    "“".encode(),
]
END = PIECES.index(b"<end>")
VOCABULARY = Vocabulary(dict(enumerate(PIECES)), [END], len(PIECES), torch.device("cpu"))
STARTS = {0, 1, 4, 8, 11}
CONTINUES = {2, 3, 9}
ENDS = {0, 1, 4, 5, 6, 7, 8, 10, 11, 12}


def test_punctuation_split_into_pieces_ends_a_word() -> None:
    """GPT-2 splits ’ and ” into a common first piece and a piece for the last byte."""
    pieces = [b" home", b"\xe2\x80", b"\x99", b"s", b".", b"\xc3", b"\xe2"]
    masks = Vocabulary(dict(enumerate(pieces)), [], len(pieces), torch.device("cpu"))
    assert masks.ends.tolist() == [True, True, False, False, True, False, False]
    assert masks.continues.tolist() == [False, False, True, True, False, True, True]


def random_model(seed: int) -> dict[tuple[int, ...], np.ndarray]:
    """Return log P of the next piece after each sequence of up to three pieces."""
    random = np.random.default_rng(seed)
    sequences = [s for n in range(4) for s in itertools.product(range(len(PIECES)), repeat=n)]
    rows = random.normal(0, 2, (len(sequences), len(PIECES)))
    return dict(zip(sequences, rows - np.log(np.exp(rows).sum(1, keepdims=True)), strict=True))


def coarse_model(seed: int) -> dict[tuple[int, ...], np.ndarray]:
    """Return such a model in which 9 of the 13 pieces follow, all equally likely: many ties."""
    random = np.random.default_rng(seed)
    logprobs = np.array([-math.log(9)] * 9 + [-np.inf] * 4)
    return {sequence: random.permutation(logprobs) for sequence in random_model(seed)}


def exhaustive(model: dict[tuple[int, ...], np.ndarray], banned: frozenset[str], depth: int) -> str:
    """Return the best word of all; of equally likely ones the shortest, then the lowest ids.

    Both follow from the order in which the words are tried.
    """
    best = -math.inf
    word = ""
    for n in range(1, depth + 1):
        for pieces in itertools.product(range(len(PIECES)), repeat=n):
            if pieces[0] not in STARTS or not set(pieces[1:]) <= CONTINUES:
                continue
            try:
                text = b"".join(PIECES[i] for i in pieces).decode().strip(" ")
            except UnicodeDecodeError:
                continue
            if not any(c.isalnum() for c in text) or text.lower() in banned:
                continue
            end = torch.from_numpy(model[pieces])[sorted(ENDS)].logsumexp(0).item()
            score = sum(float(model[pieces[:i]][pieces[i]]) for i in range(n)) + end
            if score > best:
                best = score
                word = text
    return word


def test_the_masks_follow_the_rule() -> None:
    masks = (VOCABULARY.starts, VOCABULARY.continues, VOCABULARY.ends)
    assert [set(mask.nonzero().flatten().tolist()) for mask in masks] == [STARTS, CONTINUES, ENDS]


@settings(max_examples=30)
@given(
    st.integers(0, 10**6),
    st.sets(st.sampled_from(["a", "b", "é", "aa", "ab", "ba", "bb", "aab"])),
    st.integers(1, 3),
    st.sampled_from([random_model, coarse_model]),
)
def test_a_wide_beam_equals_an_exhaustive_search(
    seed: int,
    banned: set[str],
    depth: int,
    make: Callable[[int], dict[tuple[int, ...], np.ndarray]],
) -> None:
    models_ = [make(seed), make(seed + 1)]
    prefixes = [np.array([0], np.int32), np.array([1], np.int32)]

    def next_token_logprobs(batch: Sequence[Request]) -> torch.Tensor:
        rows = [
            models_[prefix[0]][tuple(branch[:-1].tolist())]
            for prefix, branches in batch
            for branch in branches
        ]
        return torch.from_numpy(np.stack(rows))

    words = best_words(
        prefixes, frozenset(banned), next_token_logprobs, VOCABULARY, width=200, depth=depth
    )
    assert words == [exhaustive(model, frozenset(banned), depth) for model in models_]


@pytest.mark.parametrize(("name", "count"), [("nltk127", 127), ("nltk179", 179), ("spacy", 326)])
def test_the_lists_have_the_length_in_their_name(name: str, count: int) -> None:
    content = catalog.find("tasks/stopwords", name).read_text(encoding="utf-8").splitlines()
    assert content[0].startswith("# source: ")
    assert content[1].startswith("# licence: ")
    assert len(set(content[2:])) == len(content[2:]) == count
    words = load_filter(load_task("lambada").model_copy(update={"filter": name}))
    assert words
    assert {"the", "i", "not"} < words.banned == set(content[2:])


@pytest.mark.parametrize("attn", ["packed", "eager"])
def test_next_token_logprobs_equal_a_plain_forward_pass(attn: str) -> None:
    model = registry.load_model("demo", LoadOptions(attn=attn))
    engine: PackedEngine | PaddedEngine = model._engine  # type: ignore[attr-defined]
    ids = model.encode("It was the best of times, it was the worst of times, it was the age of").ids
    batch = [Request(ids[:9], (ids[9:10],)), Request(ids[:12], (ids[12:15], ids[3:5], ids[5:9]))]
    logprobs = engine.next_token_logprobs(batch)
    row = 0
    demo_model: Any = registry.load_model("demo", LoadOptions(attn="eager"))
    plain = demo_model._engine.model
    for prefix, branches in batch:
        for branch in branches:
            inputs = torch.from_numpy(np.concatenate([prefix, branch[:-1]]).astype(np.int64))[None]
            with torch.inference_mode():
                expected = plain(input_ids=inputs).logits[0, -1].log_softmax(0)
            assert (logprobs[row] - expected).abs().max() < 1e-4
            row += 1


def test_one_prefix_or_several_give_the_same_words() -> None:
    model = registry.load_model("demo", LoadOptions())
    texts = ["\nHe opened the", "\nShe looked at him and", "\nThere was nothing in the old"]
    prefixes = [model.encode(text).ids for text in texts]
    banned = load_filter(load_task("lambada"))
    assert banned
    assert isinstance(model, FindsBestWords)
    many = model.best_words(prefixes, banned.banned, 20, 6)
    assert many == [model.best_words([prefix], banned.banned, 20, 6)[0] for prefix in prefixes]
    assert all(word and word.lower() not in banned.banned and " " not in word for word in many)
    unfiltered = model.best_words(prefixes[1:2], frozenset(), 20, 6)[0]
    assert unfiltered != many[1] or many[1] not in banned.banned


@pytest.mark.parametrize("list_", ["lambada", "lambada/spacy"])
def test_the_unfiltered_accuracy_is_the_greedy_one(list_: str, tmp_path: Path) -> None:
    few = Settings(limit=12)
    results = evaluate("demo", [list_, "lambada/no_filter"], out=tmp_path, settings=few)
    words = load_filter(load_task(list_))
    assert words
    assert results[0].acc_unfiltered == results[1].acc
    assert f"|filter:{words.name}.w20.d6|" in results[0].metrics["acc"].signature
    assert "|filter:none|" in results[1].metrics["acc"].signature
    again = evaluate("demo", [list_], out=tmp_path, settings=few)[0]
    assert again.tally == results[0].tally


def test_a_backend_without_best_words_reports_the_plain_accuracy() -> None:
    result = evaluate("toy:unigram", ["lambada"], data=demo.data())[0]
    accuracies = {m.name: m.value for m in result.metrics.values() if m.name.startswith("acc")}
    assert accuracies["acc"] == accuracies["acc_unfiltered"]
    assert "|filter:none|" in result.metrics["acc"].signature


def test_a_filter_requires_last_word(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    text = (
        catalog.find("tasks", "lambada")
        .read_text()
        .replace("ask: last_token\n    filter: none", "ask: last_token")
    )
    (tmp_path / "tasks" / "lambada.yaml").write_text(text)
    with pytest.raises(
        UsageError,
        match="filter: nltk127: not compatible with ask last_token; "
        "expected ask last_word or after_last_blank",
    ):
        load_task("lambada/last_token", [tmp_path])
