"""The stop-word filter: the best-first search against an exhaustive search, and its lists."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_engine
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2eval import demo, evaluate
from gpt2eval.config import catalog
from gpt2eval.config.loader import load_filter, load_task
from gpt2eval.errors import UsageError
from gpt2eval.models.engine import best_word, word_scores
from gpt2eval.models.engine.best_word import Search, decide
from gpt2eval.models.engine.openings import Opening
from gpt2eval.models.engine.packed import PackedEngine
from gpt2eval.models.engine.padded import PaddedEngine
from gpt2eval.models.engine.vocabulary import Vocabulary
from gpt2eval.models.engine.word_scores import WordScorer
from gpt2eval.pipeline import Settings
from gpt2eval.types import Request, WordRequest

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
    b" AB",
    b"b ",
]
END = PIECES.index(b"<end>")
VOCABULARY = Vocabulary(dict(enumerate(PIECES)), [END], len(PIECES), torch.device("cpu"))
STARTS = {0, 1, 4, 8, 11, 13}
CONTINUES = {2, 3, 9, 14}
ENDS = {0, 1, 4, 5, 6, 7, 8, 10, 11, 12, 13}
WORDS = ["a", "b", "é", "aa", "ab", "ba", "bb", "aab", "AB", "éb"]
LONGEST = 3
Rows = dict[tuple[int, ...], np.ndarray]


def test_punctuation_split_into_pieces_ends_a_word() -> None:
    """GPT-2 splits ’ and ” into a common first piece and a piece for the last byte."""
    pieces = [b" home", b"\xe2\x80", b"\x99", b"s", b".", b"\xc3", b"\xe2"]
    masks = Vocabulary(dict(enumerate(pieces)), [], len(pieces), torch.device("cpu"))
    assert masks.ends.tolist() == [True, True, False, False, True, False, False]
    assert masks.continues.tolist() == [False, False, True, True, False, True, True]


def test_the_masks_follow_the_rule() -> None:
    masks = (VOCABULARY.starts, VOCABULARY.continues, VOCABULARY.ends)
    assert [set(mask.nonzero().flatten().tolist()) for mask in masks] == [STARTS, CONTINUES, ENDS]


def words_of_up_to(longest: int) -> Iterator[tuple[int, ...]]:
    """Yield the pieces of every word, the shortest first, then in the order of ids."""
    for length in range(1, longest + 1):
        for pieces in itertools.product(range(len(PIECES)), repeat=length):
            if pieces[0] in STARTS and set(pieces[1:]) <= CONTINUES:
                yield pieces


@pytest.mark.parametrize("word", WORDS)
def test_every_spelling_of_a_word_is_found(word: str) -> None:
    found: set[tuple[int, ...]] = set()
    beginnings: list[tuple[int, ...]] = [()]
    for _ in range(4):
        beginnings = [(*b, id_) for b in beginnings for id_ in VOCABULARY.spellings(word, b)]
        found |= {pieces for pieces in beginnings if VOCABULARY.word(pieces) == word}
    expected = {pieces for pieces in words_of_up_to(4) if VOCABULARY.word(pieces) == word}
    assert found == expected
    assert all(VOCABULARY.spells(pieces, word) for pieces in expected)
    assert len(expected) > (word != "AB"), "all but AB have several"


# -- small tables of probabilities -----------------------------------------------------------------


def random_model(seed: int) -> Rows:
    """Return log P of the next piece after each sequence of up to three pieces, as float32."""
    random = np.random.default_rng(seed)
    sequences = [s for n in range(4) for s in itertools.product(range(len(PIECES)), repeat=n)]
    rows = torch.from_numpy(random.normal(0, 2, (len(sequences), len(PIECES))).astype(np.float32))
    return dict(zip(sequences, rows.log_softmax(1).numpy(), strict=True))


def coarse_model(seed: int) -> Rows:
    """Return such a model in which 9 pieces follow, all equally likely: many ties."""
    random = np.random.default_rng(seed)
    logprobs = np.array([-math.log(9)] * 9 + [-np.inf] * (len(PIECES) - 9), np.float32)
    return {sequence: random.permutation(logprobs) for sequence in random_model(seed)}


class Tables:
    """Prefix i continues as the i-th table says; counts what is opened."""

    def __init__(self, models: Sequence[Rows]) -> None:
        self._models = models
        self.opened: list[tuple[int, tuple[int, ...]]] = []

    def logits(self, openings: Sequence[Opening]) -> Iterator[torch.Tensor]:
        self.opened += [(opening.prefix, opening.pieces) for opening in openings]
        for start in range(0, len(openings), 4):
            part = openings[start : start + 4]
            yield torch.from_numpy(np.stack([self._models[o.prefix][o.pieces] for o in part]))


def exhaustive(model: Rows, banned: frozenset[str], longest: int) -> str:
    """Return the best word of all; of equally likely ones the shortest, then the lowest ids.

    Both follow from the order in which the words are tried.
    """
    best = -math.inf
    word = ""
    for pieces in words_of_up_to(longest):
        text = VOCABULARY.word(pieces)
        if not text or text.lower() in banned:
            continue
        rows = [torch.from_numpy(model[pieces[:i]]).log_softmax(0) for i in range(len(pieces) + 1)]
        end = rows[-1].masked_fill(~VOCABULARY.ends, -torch.inf).logsumexp(0).clamp(max=0).item()
        score = sum(rows[i][piece].item() for i, piece in enumerate(pieces)) + end
        if score > best:
            best = score
            word = text
    return word


def spelled(word: str, number: int) -> np.ndarray:
    """Return one of the ways to spell a word, or pieces that spell none."""
    ways = [pieces for pieces in words_of_up_to(LONGEST) if VOCABULARY.word(pieces) == word]
    return np.array(ways[number % len(ways)] if ways else (5,), np.int32)


def decisions(
    prefixes: Any, asked: Sequence[tuple[str, np.ndarray]], banned: frozenset[str]
) -> list[Search]:
    searches = [
        Search(number, answer, own, VOCABULARY, banned, LONGEST)
        for number, (answer, own) in enumerate(asked)
    ]
    decide(prefixes, searches, VOCABULARY)
    return searches


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sets(st.sampled_from([word.lower() for word in WORDS])),
    st.sampled_from([random_model, coarse_model]),
    st.sampled_from([1, 2, 16, 100]),
    st.sampled_from([1, 2, 64]),
)
def test_the_search_equals_an_exhaustive_one(
    seed: int, banned: set[str], make: Callable[[int], Rows], together: int, few: int
) -> None:
    models = [make(seed), make(seed + 1)]
    best = [exhaustive(model, frozenset(banned), LONGEST) for model in models]
    answers = [*WORDS, "c", "-"]
    tables = Tables([model for model in models for _ in answers])
    asked = [(answer, spelled(answer, seed)) for _ in models for answer in answers]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(best_word, "TOGETHER", together)
        patch.setattr(best_word, "FEW", few)
        searches = decisions(tables, asked, frozenset(banned))
    expected = [answer == word for word in best for answer in answers]
    assert [search.is_right for search in searches] == expected
    assert not any(search.is_undecided for search in searches)
    once = len(set(tables.opened)) == len(tables.opened)
    assert once or few < 64, "nothing is opened twice, unless for more pieces"


def test_another_spelling_of_the_answer_can_be_the_best_word() -> None:
    """The answer's own pieces ` a` `a` lose to ` b`; a lone space, `a` and `a` win over it."""

    def row(likely: dict[bytes, float]) -> np.ndarray:
        values = np.full(len(PIECES), -20.0, np.float32)
        for piece, p in likely.items():
            values[PIECES.index(piece)] = math.log(p)
        return values

    model = dict.fromkeys(random_model(0), row({})) | {
        (): row({b" a": 0.1, b" b": 0.3, b" ": 0.6}),
        (0,): row({b"a": 0.9, b".": 0.1}),
        (0, 2): row({b".": 1.0}),
        (1,): row({b".": 1.0}),
        (4,): row({b"a": 0.9}),
        (4, 2): row({b"a": 0.9}),
        (4, 2, 2): row({b".": 1.0}),
    }
    own = np.array([0, 2], np.int32)
    (search,) = decisions(Tables([model]), [("aa", own)], frozenset())
    assert search.is_right
    (search,) = decisions(Tables([model]), [("b", np.array([1], np.int32))], frozenset())
    assert not search.is_right


def test_a_search_that_stops_at_its_limit_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    model = dict.fromkeys(random_model(0), np.zeros(len(PIECES), np.float32))
    asked = [("aab", spelled("aab", 0))]
    banned = frozenset({"a", "b", "é", "ab"})
    (search,) = decisions(Tables([model]), asked, banned)
    assert not search.is_undecided
    monkeypatch.setattr(best_word, "MOST", 5)
    tables = Tables([model])
    (search,) = decisions(tables, asked, banned)
    assert search.is_undecided
    assert len(tables.opened) == 5


class Unsteady(Tables):
    """Opening a beginning again exchanges the probabilities of two pieces, as rounding may."""

    def __init__(self, model: Rows, exchanged: tuple[int, int]) -> None:
        super().__init__([model])
        self._exchanged = exchanged

    def logits(self, openings: Sequence[Opening]) -> Iterator[torch.Tensor]:
        again = [(opening.prefix, opening.pieces) in self.opened for opening in openings]
        first, second = self._exchanged
        rows = torch.cat([*super().logits(openings)])
        for row, is_again in zip(rows, again, strict=True):
            if is_again:
                row[[first, second]] = row[[second, first]]
        yield rows


def test_no_piece_is_lost_where_an_opening_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second and third most likely pieces, ` b` and ` é`, change places."""
    monkeypatch.setattr(best_word, "FEW", 2)
    third = PIECES.index(" é".encode())
    answer = PIECES.index(b" AB")
    first = np.full(len(PIECES), -20.0, np.float32)
    first[[0, 1, third, answer]] = [-1.0, -1.1, -1.1001, -5.0]
    ending = np.where(np.arange(len(PIECES)) == END, 0, -20).astype(np.float32)
    model = dict.fromkeys(random_model(0), ending) | {(): first}
    tables = Unsteady(model, (1, third))
    own = np.array([answer], np.int32)
    (search,) = decisions(tables, [("AB", own)], frozenset({"a", "b"}))
    assert not search.is_right, "é is likelier"
    (search,) = decisions(tables, [("AB", own)], frozenset({"a", "b", "é"}))
    assert search.is_right


# -- engines ---------------------------------------------------------------------------------------

SIZE = len(PIECES) + 5


def random_lm(kind: str, seed: int) -> Any:
    """Return a causal LM with random weights, whose distributions are far from flat."""
    return test_engine.random_model(kind, vocabulary=SIZE, seed=seed, noise=0.15)


def engine_of(kind: str, seed: int) -> PackedEngine | PaddedEngine:
    model = random_lm(kind, seed)
    padded = PaddedEngine(model)
    return PackedEngine.if_equivalent(model, padded) or padded


def brute_force(
    model: Any, prefix: np.ndarray, vocabulary: Vocabulary, banned: frozenset[str], longest: int
) -> list[tuple[float, str]]:
    """Return the scores of all words that are likelier than some word, by plain forward passes."""
    found: list[tuple[float, str]] = []
    beginnings = [((), 0.0)]
    bound = -math.inf
    while beginnings:
        longer = []
        for pieces, logprob in beginnings:
            inputs = torch.tensor([[*prefix.tolist(), *pieces]])
            with torch.inference_mode():
                row = model(input_ids=inputs).logits[0, -1].log_softmax(0)
            word = vocabulary.word(pieces)
            if word and word.lower() not in banned:
                score = logprob + row[vocabulary.ends].logsumexp(0).item()
                found.append((score, word))
                bound = max(bound, score)
            if len(pieces) < longest:
                allowed = vocabulary.continues if pieces else vocabulary.starts
                for id_ in allowed.nonzero().flatten().tolist():
                    longer.append(((*pieces, id_), logprob + row[id_].item()))
        beginnings = [item for item in longer if item[1] >= bound - 1e-3]
    return sorted(found, reverse=True)


@pytest.mark.parametrize("kind", test_engine.MODELS)
@pytest.mark.parametrize("seed", range(3))
def test_engines_decide_as_a_search_by_plain_forward_passes(
    kind: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(word_scores, "ROOM", 3)
    context = 24
    engine = engine_of(kind, seed)
    assert isinstance(engine, PackedEngine) == (kind in ("gpt2", "llama"))
    vocabulary = Vocabulary(dict(enumerate(PIECES)), [END], SIZE, torch.device("cpu"))
    plain = random_lm(kind, seed)
    random = np.random.default_rng(seed)
    banned = frozenset({"a", "ab"})
    scorer = WordScorer(engine, vocabulary, context, None, banned)
    prefixes = [random.integers(0, SIZE, n).astype(np.int32) for n in (1, 9, 9, 14, 21, 24)]
    batches: list[list[WordRequest]] = [[], [], []]
    expected: list[list[bool]] = [[], [], []]
    for number, prefix in enumerate(prefixes):
        cut = prefix[-21:]  # three places remain for the word
        found = brute_force(plain, cut, vocabulary, banned, min(context - len(cut), 6))
        scores: dict[str, float] = {}
        for score, word in found:
            scores.setdefault(word, score)
        (first, word), (second, other) = [(s, w) for w, s in scores.items()][:2]
        assert first - second > 1e-4, "no near tie in this test"
        for answer in (word, other, "c", "a"):
            fits = prefix if len(prefix) < context else prefix[1:]
            item = WordRequest(Request(fits, (spelled(answer, number),)), answer)
            batches[number % 3].append(item)
            expected[number % 3].append(answer == word)
    results = scorer.score(batches)
    assert [result.is_best_word.tolist() for result in results] == expected
    for batch, result in zip(batches, results, strict=True):
        alone = engine.score([item.request for item in batch])
        assert result.logprobs.tobytes() == alone.logprobs.tobytes()
        assert result.is_greedy.tolist() == alone.is_greedy.tolist()


@pytest.mark.parametrize("kind", test_engine.MODELS)
def test_openings_have_the_logits_of_a_plain_forward_pass(kind: str) -> None:
    """Also several of one prefix in a call, long ones, and those that follow earlier ones."""
    engine: Any = engine_of(kind, 0)
    plain = random_lm(kind, 0)
    random = np.random.default_rng(0)
    requests = [
        Request(
            random.integers(0, SIZE, n).astype(np.int32), (random.integers(0, SIZE, k, np.int32),)
        )
        for n, k in ((7, 1), (4, 3), (12, 2), (1, 1), (5, 1))
    ]
    kept = [engine.score_and_keep(batch)[1] for batch in (requests[:2], requests[2:])]
    prefixes = engine.prefixes(kept)
    own = [tuple(request.branches[0].tolist()) for request in requests]
    calls: list[list[tuple[int, tuple[int, ...]]]] = [
        [(i, pieces[:n]) for i, pieces in enumerate(own) for n in range(len(pieces) + 1)],
        [(0, (3,)), (0, (4,)), (0, (4, 5)), (1, (6,)), (1, (*own[1][:2], 8)), (4, (9,))],
        [(1, (6, *range(n))) for n in range(1, 14)],
        [(2, (*own[2], 1)), (2, (7,)), (3, (2,)), (4, (9, 1)), (4, (9, 2)), (4, (9, 2, 2))],
    ]
    for call in calls:
        with torch.inference_mode():
            logits = torch.cat([*prefixes.logits([Opening(i, p, [], 1) for i, p in call])])
        assert len(logits) == len(call)
        for row, (number, pieces) in zip(logits.log_softmax(1), call, strict=True):
            inputs = torch.tensor([[*requests[number].prefix.tolist(), *pieces]])
            with torch.inference_mode():
                expected = plain(input_ids=inputs).logits[0, -1].log_softmax(0)
            assert (row - expected).abs().max() < 1e-4, (number, pieces)


# -- lists and results -----------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "count"), [("nltk127", 127), ("nltk179", 179), ("spacy", 326)])
def test_the_lists_have_the_length_in_their_name(name: str, count: int) -> None:
    content = catalog.find("tasks/stopwords", name).read_text(encoding="utf-8").splitlines()
    assert content[0].startswith("# source: ")
    assert content[1].startswith("# licence: ")
    assert len(set(content[2:])) == len(content[2:]) == count
    words = load_filter(load_task("lambada").model_copy(update={"filter": name}))
    assert words
    assert {"the", "i", "not"} < words.banned == set(content[2:])


@pytest.mark.parametrize("list_", ["lambada", "lambada/spacy"])
def test_the_unfiltered_accuracy_is_the_greedy_one(list_: str, tmp_path: Path) -> None:
    few = Settings(limit=12)
    results = evaluate("demo", [list_, "lambada/no_filter"], out=tmp_path, settings=few)
    words = load_filter(load_task(list_))
    assert words
    assert results[0].acc_unfiltered == results[1].acc
    assert results[0].nll_sha256 == results[1].nll_sha256
    assert f"|filter:{words.name}.exact|" in results[0].metrics["acc"].signature
    assert "|filter:none|" in results[1].metrics["acc"].signature
    again = evaluate("demo", [list_], out=tmp_path, settings=few)[0]
    assert again.tally == results[0].tally


def test_a_backend_without_a_search_reports_the_plain_accuracy() -> None:
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
