"""lambada/terminated: the best word that ends the text, against exhaustive searches by strings."""

import heapq
import itertools
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_engine
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from piece_model import PieceModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from gpt2eval import demo, evaluate
from gpt2eval.config import catalog
from gpt2eval.errors import UsageError
from gpt2eval.metrics.signature import read
from gpt2eval.models import registry
from gpt2eval.models.engine import best_word
from gpt2eval.models.engine.best_word import Search, decide
from gpt2eval.models.engine.openings import Opening
from gpt2eval.models.engine.packed import PackedEngine
from gpt2eval.models.engine.padded import PaddedEngine
from gpt2eval.models.engine.terminated import TerminatedWords
from gpt2eval.models.engine.word_scores import WordScorer
from gpt2eval.report.measured import read_measured
from gpt2eval.settings import Settings
from gpt2eval.text.loader import load_detokenizer
from gpt2eval.types import Request, WordRequest

STRING = re.compile(rb' ([a-zA-Z]+)(\.|!|\?)?(")?')
BEGINNING = re.compile(rb'( ([a-zA-Z]+(\.|!|\?)?(")?)?)?')
PIECES = [
    b" a",
    b" b",
    b"a",
    b"b",
    b" ",
    b".",
    b"\n",
    b'b."',
    b'"',
    b"<end>",
    b" 1",
    b'."',
    b",",
    b"B?",
]
END = PIECES.index(b"<end>")
CPU = torch.device("cpu")
WORDS = TerminatedWords(dict(enumerate(PIECES)), [END], len(PIECES), CPU).before(END)
ANSWERS = ["a", "b", "aa", "ab", "ba", "bb", "B", "aB", "1", "c", "don't"]
LONGEST = 4
Pieces = tuple[int, ...]
Rows = dict[Pieces, np.ndarray]


def beginnings(longest: int) -> Iterator[Pieces]:
    """Yield all beginnings of strings, the shortest first, then in the order of ids."""
    found: list[Pieces] = [()]
    for _ in range(longest + 1):
        yield from found
        longer = [(*pieces, id_) for pieces in found for id_ in range(len(PIECES))]
        found = [p for p in longer if END not in p and BEGINNING.fullmatch(text_of(p))]


def text_of(pieces: Sequence[int], table: Mapping[int, bytes] | None = None) -> bytes:
    known = dict(enumerate(PIECES)) if table is None else table
    return b"".join(known[id_] for id_ in pieces)


ALL = [*beginnings(LONGEST)]


def test_the_pieces_allowed_after_a_beginning_are_those_that_go_on() -> None:
    assert len(ALL) > 150
    for pieces in ALL:
        if len(pieces) < LONGEST:
            row = WORDS.allowed[WORDS.state(pieces)].nonzero().flatten().tolist()
            assert {(*pieces, id_) for id_ in row} == {p for p in ALL if p[:-1] == pieces and p}
        match = STRING.fullmatch(text_of(pieces))
        assert WORDS.word(pieces) == (match[1].decode() if match else "")
    assert WORDS.ends.nonzero().flatten().tolist() == [END]


@pytest.mark.parametrize("word", ANSWERS)
def test_every_spelling_of_a_word_is_found(word: str) -> None:
    found: set[Pieces] = set()
    some: list[Pieces] = [()]
    for _ in range(LONGEST):
        some = [(*b, id_) for b in some for id_ in WORDS.spellings(word, b)]
        found |= {pieces for pieces in some if WORDS.word(pieces) == word}
    assert found == {pieces for pieces in ALL if WORDS.word(pieces) == word}
    assert all(WORDS.spells(pieces, word) for pieces in found)
    assert bool(found) == (word not in ("1", "c", "don't"))


def random_model(seed: int) -> Rows:
    """Return the logits of the next piece after each beginning, as float32."""
    random = np.random.default_rng(seed)
    return {pieces: random.normal(0, 2, len(PIECES)).astype(np.float32) for pieces in ALL}


def coarse_model(seed: int) -> Rows:
    """Return such a model with few different logits: many ties."""
    random = np.random.default_rng(seed)
    values = np.array([0, 0, 0, -1], np.float32)
    return {pieces: random.choice(values, len(PIECES)) for pieces in ALL}


class Tables:
    """Prefix i continues as the i-th table says; counts what is opened."""

    def __init__(self, models: Sequence[Rows]) -> None:
        self._models = models
        self.opened: list[Opening] = []

    def logits(self, openings: Sequence[Opening]) -> Iterator[torch.Tensor]:
        self.opened += openings
        yield torch.from_numpy(np.stack([self._models[o.prefix][o.pieces] for o in openings]))


def exhaustive(model: Rows, top: int) -> tuple[float, str]:
    """Return the score and the word of the best of all strings of up to `LONGEST` pieces.

    Of equally likely strings that is the shortest one, then that with the lowest ids: both follow
    from the order in which they are tried.
    """
    best = -math.inf
    word = ""
    logprobs = {}
    for pieces, logits in model.items():
        # A stable sort keeps the lowest of equal ids.
        kept = np.sort(np.argsort(-logits, kind="stable")[:top])
        row = torch.full((len(logits),), -torch.inf)
        row[kept] = torch.from_numpy(logits[kept])
        logprobs[pieces] = row.log_softmax(0)
    for pieces in ALL:
        match = STRING.fullmatch(text_of(pieces))
        if match is None:
            continue
        score = sum(logprobs[pieces[:i]][piece].item() for i, piece in enumerate(pieces))
        score += logprobs[pieces][END].item()
        if score > best:
            best = score
            word = match[1].decode()
    return best, word


def own_pieces(answer: str, number: int) -> np.ndarray:
    """Return one of the ways to spell a word alone, or pieces that spell none."""
    ways = [pieces for pieces in ALL if text_of(pieces) == f" {answer}".encode()]
    return np.array(ways[number % len(ways)] if ways else (12,), np.int32)


def searched(prefixes: Any, asked: Sequence[tuple[str, np.ndarray]]) -> list[Search]:
    searches = [
        Search(number, answer, own, WORDS, frozenset(), LONGEST)
        for number, (answer, own) in enumerate(asked)
    ]
    decide(prefixes, searches, WORDS)
    return searches


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([random_model, coarse_model]),
    st.sampled_from([3, 6, 9, len(PIECES)]),
    st.sampled_from([1, 16]),
    st.sampled_from([1, 2, 64]),
)
def test_the_search_equals_an_exhaustive_one(
    seed: int, make: Callable[[int], Rows], top: int, together: int, few: int
) -> None:
    models = [make(seed), make(seed + 1)]
    best = [exhaustive(model, top) for model in models]
    asked = [(answer, own_pieces(answer, seed)) for _ in models for answer in ANSWERS]
    tables = Tables([model for model in models for _ in ANSWERS])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(best_word, "TOGETHER", together)
        patch.setattr(best_word, "FEW", few)
        patch.setattr(TerminatedWords, "top", top)
        searches = searched(tables, asked)
    expected = [answer == word for _, word in best for answer in ANSWERS]
    assert [search.is_right for search in searches] == expected
    assert not any(search.is_undecided for search in searches)


def test_the_cases_have_right_answers_of_several_pieces_and_none_at_all() -> None:
    """So the comparison above is not one of wrong answers only."""
    made = [make(seed) for make in (random_model, coarse_model) for seed in range(40)]
    words = [exhaustive(model, 6)[1] for model in made]
    assert {"", "a", "b"} < {*words}
    assert any(len(word) > 1 for word in words)


def test_no_beginning_is_opened_that_is_not_likelier_than_the_best_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Opened one by one; the answer's own pieces come first, whatever their probability."""
    monkeypatch.setattr(best_word, "TOGETHER", 1)
    opened = 0
    for seed in range(60):
        model = random_model(seed)
        best, word = exhaustive(model, len(PIECES))
        tables = Tables([model])
        own = tuple(own_pieces(word, seed).tolist())
        (search,) = searched(tables, [(word, np.array(own, np.int32))])
        assert search.is_right
        rows = {pieces: torch.from_numpy(row).log_softmax(0) for pieces, row in model.items()}
        others = [o.pieces for o in tables.opened if o.pieces != own[: len(o.pieces)]]
        for pieces in others:
            score = sum(rows[pieces[:i]][piece].item() for i, piece in enumerate(pieces))
            assert score > best - 1e-5
        opened += len(others)
    assert 60 < opened < 60 * len(ALL) / 4


def test_a_piece_outside_the_most_likely_ones_cannot_end_the_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The end is the third most likely piece after ` a`, and the first after ` b`."""
    monkeypatch.setattr(TerminatedWords, "top", 2)
    model = dict.fromkeys(ALL, np.full(len(PIECES), -20.0, np.float32))

    def row(**likely: float) -> np.ndarray:
        values = np.full(len(PIECES), -20.0, np.float32)
        for name, p in likely.items():
            values[{"a": 0, "b": 1, "end": END, "mark": 5, "line": 6}[name]] = math.log(p)
        return values

    model[()] = row(a=0.8, b=0.1)
    model[(0,)] = row(line=0.4, mark=0.35, end=0.25)
    model[(1,)] = row(end=0.5, line=0.3)
    answers = [("a", np.array([0], np.int32)), ("b", np.array([1], np.int32))]
    assert [s.is_right for s in searched(Tables([model] * 2), answers)] == [False, True]
    # ` a.` ends the text after all.
    model[(0, 5)] = row(end=0.9, line=0.1)
    assert [s.is_right for s in searched(Tables([model] * 2), answers)] == [True, False]


def test_an_answer_that_nothing_ends_is_not_right() -> None:
    """No string has a probability: neither the answer nor any other word is the best."""
    row = np.where(np.arange(len(PIECES)) == END, -np.inf, 0).astype(np.float32)
    model = dict.fromkeys(ALL, row)
    (search,) = searched(Tables([model]), [("a", np.array([0], np.int32))])
    assert not search.is_right


# -- engines ---------------------------------------------------------------------------------------

SIZE = len(PIECES) + 5


@pytest.mark.parametrize("kind", test_engine.MODELS)
def test_engines_decide_as_a_search_by_plain_forward_passes(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TerminatedWords, "top", 12)
    plain = test_engine.random_model(kind, vocabulary=SIZE, seed=0, noise=0.15)
    model = test_engine.random_model(kind, vocabulary=SIZE, seed=0, noise=0.15)
    padded = PaddedEngine(model)
    engine = PackedEngine.if_equivalent(model, padded) or padded
    words = TerminatedWords(dict(enumerate(PIECES)), [END], SIZE, CPU).before(END)
    scorer = WordScorer(engine, words, 40, None, frozenset())
    random = np.random.default_rng(1)
    items = []
    expected = []
    for length in (1, 5, 9, 14, 20):
        prefix = random.integers(0, SIZE, length).astype(np.int32)
        (first, word), (second, _) = itertools.islice(
            best_strings(plain, prefix, dict(enumerate(PIECES)), END, 12), 2
        )
        assert first - second > 1e-4, "no near tie in this test"
        for answer in (word, "ab", "c"):
            items.append(WordRequest(Request(prefix, (own_pieces(answer, 0),)), answer))
            expected.append(answer == word)
    (scores,) = scorer.score([items])
    assert scores.is_best_word.tolist() == expected
    assert not scores.is_undecided.any()


def best_strings(
    model: Any, prefix: np.ndarray, pieces: Mapping[int, bytes], end: int, top: int
) -> Iterator[tuple[float, str]]:
    """Yield the scores and words of strings, the best first, by plain forward passes."""
    heap: list[tuple[float, Pieces]] = [(0.0, ())]
    while heap:
        negative, ids = heapq.heappop(heap)
        if ids and ids[-1] == end:
            match = STRING.fullmatch(text_of(ids[:-1], pieces))
            assert match
            yield -negative, match[1].decode()
            continue
        text = text_of(ids, pieces)
        with torch.inference_mode():
            row = model(input_ids=torch.tensor([[*prefix.tolist(), *ids]])).logits[0, -1]
        highest = row.topk(min(top, len(row)))
        logprobs = highest.values.log_softmax(0).tolist()
        for id_, logprob in zip(highest.indices.tolist(), logprobs, strict=True):
            ends = id_ == end and STRING.fullmatch(text)
            goes_on = pieces.get(id_) and id_ != end and BEGINNING.fullmatch(text + pieces[id_])
            if ends or goes_on:
                heapq.heappush(heap, (negative - logprob, (*ids, id_)))


@pytest.fixture(scope="module")
def ending(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The demo model, whose texts end about once in 5 tokens: its folder, and itself.

    So a search by plain forward passes ends soon.
    """
    source = catalog.DEMO / "model"
    model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(source)
    ids = torch.tensor([tokenizer.encode(" ".join(passages(3)), add_special_tokens=False)])
    with torch.no_grad():
        states = model.base_model(input_ids=ids).last_hidden_state[0]
        level = model(input_ids=ids).logits[0].logsumexp(1).mean() + math.log(1 / 5)
        mean = states.mean(0)
        model.get_output_embeddings().weight[tokenizer.eos_token_id] = level * mean / mean.dot(mean)
    folder = tmp_path_factory.mktemp("ending")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder, model


def passages(count: int) -> list[str]:
    lines = demo.data()["lambada"].read_text().splitlines()
    return [json.loads(line)["text"] for line in lines[:count]]


def test_the_demo_model_decides_as_a_search_by_plain_forward_passes(
    ending: tuple[Path, Any], tmp_path: Path
) -> None:
    """Over its complete vocabulary; each passage is asked with its best word and with another."""
    folder, plain = ending
    model: Any = registry.load_model(f"hf:{folder}")
    pieces = model.tokenizer.tokens.pieces
    detokenizer: Any = load_detokenizer("relm_lambada")
    texts = []
    expected = []
    for text in passages(3):
        before = detokenizer.do(text).text.rpartition(" ")[0]
        ids = np.append(model.end, model.encode(before).ids).astype(np.int32)
        found = best_strings(plain, ids, pieces, model.end, 1000)
        (first, word), (second, _) = itertools.islice(found, 2)
        assert first - second > 1e-3, "no near tie in this test"
        texts += [f"{before} {word}", f"{before} {word}s", f"{before} don't"]
        expected += [1, 0, 0]
    path = tmp_path / "lambada_test.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    evaluate(model, "lambada/terminated", data={"lambada": path}, out=tmp_path / "out")
    parts = read_measured(tmp_path / "out")[0].parts
    assert [part.correct for part in parts] == expected
    assert not any(part.undecided for part in parts)


# -- the task --------------------------------------------------------------------------------------


def test_the_signature_states_the_rule_and_a_run_resumes(tmp_path: Path) -> None:
    few = Settings(limit=4)
    first, again = (
        evaluate("demo", "lambada/terminated", data=demo.data(), settings=few, out=tmp_path)[0]
        for _ in "ab"
    )
    assert first == again
    assert [*first.metrics] == ["acc"]
    fields = read(first.signature)
    assert (fields["filter"], fields["start"]) == ("terminated.exact", "<|endoftext|>")
    assert fields["detok"] == "relm_lambada.1(published,one-way)"


def test_a_model_that_cannot_search_is_refused() -> None:
    with pytest.raises(
        UsageError,
        match=r"^task lambada/terminated: model pieces does not search for words that end the text;"
        " expected a checkpoint whose tokenizer states the bytes of its tokens$",
    ):
        evaluate(PieceModel(), "lambada/terminated", data=demo.data(), limit=1)


def test_texts_are_prepared_as_relm_prepares_them() -> None:
    """Its replacements, written down in the order of its script."""
    pairs = ['“ "', '” "', "'' \"", '`` "', "’ '", "‘ '", "– -"]
    plain = [(pair[:-2], pair[-1]) for pair in pairs]
    rest = [(" ,", ","), (" .", "."), ("é", "e"), ("—", "-"), ("\xa0", " "), ("\u200a", "")]
    detokenizer: Any = load_detokenizer("relm_lambada")
    texts = ["“A’’ —\xa0b , ``c'' . ‘d’ – é…ñ\u200a .", "\n a\xa0, b .. \xa0", *passages(60)]
    for text in texts:
        expected = text
        for old, new in [*plain, *rest, ("…", "..."), ("ñ", "n")]:
            expected = expected.replace(old, new)
        assert detokenizer.do(text).text == expected.strip()
