"""Answers under the stop-word filter: the best whole word decides, not the greedy tokens."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gpt2eval import evaluate
from gpt2eval.analysis.reproduce import compare, rerun
from gpt2eval.config.loader import load_filter, load_task
from gpt2eval.errors import UsageError
from gpt2eval.metrics.result import Result
from gpt2eval.models import registry
from gpt2eval.models.engine import best_word
from gpt2eval.models.engine.best_word import Search, decide
from gpt2eval.models.engine.openings import Opening, _highest
from gpt2eval.models.engine.vocabulary import Vocabulary
from gpt2eval.models.options import LoadOptions
from gpt2eval.report.notes import notes
from gpt2eval.report.store import read_results
from gpt2eval.settings import Settings
from gpt2eval.types import Encoding, Ids, ModelIdentity, Request, TokenScores, WordRequest

PIECES = [b"\nhe", b" he", b" p", b" table", b" the", b"ian", b"o", b"ink", b".", b" in", b"side"]
ID = {piece.decode(): id_ for id_, piece in enumerate(PIECES)}
VOCABULARY = Vocabulary(dict(enumerate(PIECES)), [], len(PIECES), torch.device("cpu"))
Distributions = Mapping[tuple[str, ...], Mapping[str, float]]


class Spelled:
    """A backend over these pieces whose next piece depends on the pieces since ` he`.

    Pieces that are not listed share the rest of the probability equally.
    """

    context = 64
    start: int | None = None

    def __init__(self, distributions: Distributions) -> None:
        self._rows = distributions

    def encode(self, text: str) -> Encoding:
        ids = []
        ends = []
        rest = text
        while rest:
            piece = max((p for p in ID if rest.startswith(p)), key=len)
            ids.append(ID[piece])
            rest = rest.removeprefix(piece)
            ends.append(len(text) - len(rest))
        return Encoding(np.array(ids, np.int32), np.array(ends, np.int32), lossy=False)

    def row(self, ids: Sequence[int]) -> torch.Tensor:
        last = max((i for i, id_ in enumerate(ids) if id_ == ID[" he"]), default=-1)
        listed = self._rows.get(tuple(PIECES[id_].decode() for id_ in ids[last + 1 :]), {})
        rest = (1 - sum(listed.values())) / (len(PIECES) - len(listed))
        return torch.tensor([listed.get(piece, rest) for piece in ID]).log()

    def score(self, batch: Sequence[Request]) -> TokenScores:
        rows = [
            (self.row([*prefix, *branch[:i]]), int(branch[i]))
            for prefix, branches in batch
            for branch in branches
            for i in range(len(branch))
        ]
        return TokenScores(
            np.array([row[id_] for row, id_ in rows]),
            np.array([int(row.argmax()) == id_ for row, id_ in rows]),
        )

    def score_words(
        self, batches: Sequence[Sequence[WordRequest]], banned: frozenset[str]
    ) -> list[TokenScores]:
        results = []
        for batch in batches:
            searches = [
                Search(number, answer, request.branches[0], VOCABULARY, banned, 12)
                for number, (request, answer) in enumerate(batch)
            ]
            decide(Prefixes(self, batch), searches, VOCABULARY)
            scores = self.score([item.request for item in batch])
            is_best = np.array([search.is_right for search in searches])
            results.append(scores._replace(is_best_word=is_best))
        return results

    def identity(self) -> ModelIdentity:
        return ModelIdentity("spelled", "1", "pieces", "float64", "none", "cpu")


class Prefixes:
    """The prefixes of a batch, after which a backend over pieces opens beginnings."""

    def __init__(self, model: Spelled, batch: Sequence[WordRequest]) -> None:
        self._model = model
        self._batch = batch

    def logits(self, openings: Sequence[Opening]) -> Iterator[torch.Tensor]:
        for opening in openings:
            prefix = self._batch[opening.prefix].request.prefix
            yield self._model.row([*prefix, *opening.pieces])[None]


PIANO: Distributions = {
    (): {" p": 0.4, " table": 0.35, " the": 0.1},
    (" p",): {"ian": 0.6, "ink": 0.3},
    (" p", "ian"): {"o": 0.6, "side": 0.2},
    (" p", "ian", "o"): {".": 0.9},
    (" table",): {".": 0.9},
    (" the",): {".": 0.9},
}
# The best word begins with the second most likely piece, and its own pieces are not greedy.
INSIDE: Distributions = {
    (): {" p": 0.5, " in": 0.4},
    (" p",): {"ian": 0.3, "ink": 0.3, "o": 0.3},
    (" in",): {"side": 0.45, ".": 0.5},
    (" in", "side"): {".": 0.99},
}
# The best of all words is a stop word.
STOPPED: Distributions = {
    (): {" the": 0.6, " table": 0.3},
    (" the",): {".": 0.9},
    (" table",): {".": 0.9},
}


def result_for(distributions: Distributions, answer: str, folder: Path) -> Result:
    path = folder / "lambada_test.jsonl"
    path.write_text(json.dumps({"text": f"he he {answer}"}) + "\n")
    return evaluate(Spelled(distributions), ["lambada"], data={"lambada": path})[0]


@pytest.mark.parametrize(
    ("distributions", "answer", "acc", "greedy"),
    [
        (PIANO, "piano", 0, 100),  # 0.4 * 0.6 * 0.6 * 0.9 = 0.13, and ` table` has 0.32
        (PIANO, "table", 100, 0),
        (PIANO, "pink", 0, 0),
        (INSIDE, "inside", 100, 0),  # 0.4 * 0.45 * 0.99 = 0.18; `in`, 0.2, is in the list
        (INSIDE, "in", 0, 0),
        (STOPPED, "the", 0, 100),
        (STOPPED, "table", 100, 0),
    ],
)
def test_the_best_whole_word_outside_the_list_decides(
    distributions: Distributions, answer: str, acc: float, greedy: float, tmp_path: Path
) -> None:
    result = result_for(distributions, answer, tmp_path)
    assert (result.acc, result.acc_unfiltered) == (acc, greedy)


def test_an_answer_of_many_tokens_can_be_the_best_word(tmp_path: Path) -> None:
    pieces = (" p", "ian", *["o"] * 6)
    path: Distributions = {
        **{pieces[:i]: {piece: 0.98} for i, piece in enumerate(pieces)},
        pieces: {".": 0.98},
    }
    for answer, acc in (("pianoooooo", 100), ("pianooooooo", 0)):
        result = result_for(path, answer, tmp_path)
        assert result.acc == acc, answer


@pytest.mark.parametrize("attn", ["packed", "sdpa"])
@pytest.mark.parametrize("context", [1, 2, 3, 5, 16, 17, 18, 40])
def test_the_search_fills_the_context_and_never_feeds_more(
    context: int, attn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer fills the context, and of all other beginnings none is a word."""
    monkeypatch.setattr(best_word, "MOST", 60)
    model: Any = registry.load_model("demo", LoadOptions(attn=attn))
    model.context = context
    longest = 0

    def note(module: Any, args: Any, kwargs: Any) -> None:
        nonlocal longest
        row = kwargs.get("position_ids")
        length = args[0].shape[1] if row is None else int(row.max()) + 1
        longest = max(longest, length)

    model._engine.model.base_model.register_forward_pre_hook(note, with_kwargs=True)
    vocabulary = model._vocabulary
    letters = "piano" * 4
    further = vocabulary._further
    own = [vocabulary._first[b"p"][0], *(further[letter.encode()][0] for letter in letters[1:])]
    own = own[: max(1, context - 1)]
    answer = vocabulary.word(own)
    whole_word = Vocabulary.word
    monkeypatch.setattr(
        Vocabulary,
        "word",
        lambda self, pieces: answer if whole_word(self, pieces) == answer else "",
    )
    prefix = np.arange(5, 5 + context + 1 - len(own), dtype=np.int32)
    item = WordRequest(Request(prefix, (np.array(own, np.int32),)), answer)
    (scores,) = model.score_words([[item]], frozenset())
    assert longest == context
    assert scores.is_best_word.tolist() == [context > 1]


def test_a_backend_that_counts_no_ties_resumes(tmp_path: Path) -> None:
    path = tmp_path / "lambada_test.jsonl"
    path.write_text('{"text": "he he table"}\n')
    first, again = (
        evaluate(Spelled(PIANO), ["lambada"], data={"lambada": path}, out=tmp_path / "out")[0]
        for _ in range(2)
    )
    assert first.tally == again.tally
    assert (again.tally.ties, again.tally.correct, again.tally.unfiltered) == (0, 1, 0)


def test_the_cases_are_what_an_exhaustive_search_finds() -> None:
    banned = load_filter(load_task("lambada"))
    assert banned
    for distributions, expected in ((PIANO, "table"), (INSIDE, "inside"), (STOPPED, "table")):
        model = Spelled(distributions)
        prefix = model.encode("\nhe he").ids
        found: dict[tuple[int, ...], float] = {}
        paths: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
        for allowed in (VOCABULARY.starts, *[VOCABULARY.continues] * 3):
            longer = [
                ((*path, id_), logprob + float(model.row([*prefix, *path])[id_]))
                for path, logprob in paths
                for id_ in allowed.nonzero().flatten().tolist()
            ]
            for path, logprob in longer:
                end = model.row([*prefix, *path])[VOCABULARY.ends].logsumexp(0)
                found[path] = logprob + float(end)
            paths = longer
        words = {VOCABULARY.word(path): p for path, p in sorted(found.items(), key=lambda i: i[1])}
        allowed_words = {word: p for word, p in words.items() if word not in banned.banned}
        assert max(allowed_words, key=lambda word: allowed_words[word]) == expected
        asked = [WordRequest(Request(prefix, (np.array([2], np.int32),)), w) for w in words if w]
        (scores,) = model.score_words([asked], banned.banned)
        assert [w for (_, w), best in zip(asked, scores.is_best_word, strict=True) if best] == [
            expected
        ]


def test_equal_values_at_the_edge_are_taken_in_the_order_of_ids() -> None:
    random = np.random.default_rng(0)
    for count in (1, 3, 20, 199, 200, 400):
        rows = torch.from_numpy(random.integers(-3, 0, (7, 200)).astype(np.float32))
        rows[:, random.integers(0, 200, 60)] = -torch.inf
        values, ids = _highest(rows, count)
        for row, row_values, row_ids in zip(rows, values.tolist(), ids.tolist(), strict=True):
            expected = np.argsort(-row.numpy(), kind="stable")[:count]
            possible = [i for i in expected if row[i] > -torch.inf]
            chosen = [i for i, v in zip(row_ids, row_values, strict=True) if v > -math.inf]
            assert sorted(chosen) == sorted(possible)
            assert [float(row[i]) for i in row_ids] == row_values


def test_with_all_logits_equal_the_best_word_is_the_one_with_the_lowest_id() -> None:
    model: Any = registry.load_model("demo", LoadOptions())
    final = model._engine.model.base_model.ln_f  # without it every logit is 0
    final.weight.data.zero_()
    final.bias.data.zero_()
    banned = load_filter(load_task("lambada"))
    assert banned
    # Only words of one token are in question: each further token lowers the probability.
    words = {id_: model._vocabulary.word([id_]) for id_ in range(2560)}
    allowed = [
        (id_, word)
        for id_, word in words.items()
        if model._vocabulary.starts[id_] and word and word.lower() not in banned.banned
    ]
    prefix = np.array([5], np.int32)
    items = [WordRequest(Request(prefix, (np.array([i], np.int32),)), w) for i, w in allowed[:40]]
    (scores,) = model.score_words([items], banned.banned)
    assert scores.is_best_word.tolist() == [True] + [False] * 39


# -- memory ----------------------------------------------------------------------------------------

ERRORS: dict[str, Callable[[], Exception]] = {
    "torch": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "cpu": lambda: RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"),
    "mps": lambda: RuntimeError("MPS backend out of memory (MPS allocated: 9.00 GB"),
    "cublas": lambda: RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"),
    "numpy": lambda: MemoryError((1024, 50257)),
    "python": lambda: MemoryError(),
}


class SmallMemory:
    """An engine that runs out of memory while it keeps or opens more than it holds.

    It holds `requests` prefixes at once, none of more than `longest` tokens.
    """

    def __init__(
        self,
        engine: Any,
        error: Callable[[], Exception],
        requests: int,
        longest: int = 99,
        *,
        opening: bool = False,
    ) -> None:
        self._engine = engine
        self._error = error
        self._requests = requests
        self._longest = longest
        self._opening = opening
        self.model = engine.model
        self.score = engine.score
        self.largest = 0

    def score_and_keep(self, batch: Sequence[Request]) -> Any:
        if not self._opening:
            self._check([request.prefix for request in batch])
        scores, kept = self._engine.score_and_keep(batch)
        return scores, (kept, [request.prefix for request in batch])

    def prefixes(self, blocks: Sequence[Any]) -> Any:
        self._check([prefix for _, prefixes in blocks for prefix in prefixes])
        return self._engine.prefixes([kept for kept, _ in blocks])

    def _check(self, prefixes: Sequence[Ids]) -> None:
        if len(prefixes) > self._requests or max(map(len, prefixes)) > self._longest:
            raise self._error()
        self.largest = max(self.largest, len(prefixes))


def passages(path: Path) -> Path:
    texts = ["He opened the door", "It was dark and cold and " + "very " * 30 + "quiet", "She left"]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


@pytest.mark.parametrize("opening", [False, True])
@pytest.mark.parametrize("kind", ERRORS)
def test_a_search_that_does_not_fit_into_memory_is_halved(kind: str, opening: bool) -> None:
    model: Any = registry.load_model("demo", LoadOptions())
    texts = ("\nHe opened the door", "\nShe looked at him", "\nIt was dark", "\nThey ran away")
    items = []
    for text in texts:
        ids = model.encode(text).ids
        word = text.split()[-1]
        count = len(model.encode(f" {word}").ids)
        items.append(WordRequest(Request(ids[:-count], (ids[-count:],)), word))
    batches = [items[:3], items[3:], items[1:2]]
    expected = model.score_words(batches, frozenset({"the"}))
    engine = model._engine
    for holds in (3, 2, 1):
        model._engine = SmallMemory(engine, ERRORS[kind], holds, opening=opening)
        results = model.score_words(batches, frozenset({"the"}))
        assert model._engine.largest == holds
        for result, whole in zip(results, expected, strict=True):
            assert all((a == b).all() for a, b in zip(result, whole, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("context", [64, 24])
def test_a_record_whose_search_does_not_fit_is_one_line(
    kind: str, context: int, tmp_path: Path
) -> None:
    """Also where the search shortens the prefix to leave room for the word."""
    model: Any = registry.load_model("demo", LoadOptions())
    model.context = context
    model._engine = SmallMemory(model._engine, ERRORS[kind], 99, 7)
    with pytest.raises(
        UsageError,
        match=r"^task lambada, record 1: its \d+ tokens do not fit into memory with the search for "
        "the best word; expected a smaller --context, or a variant without a stop-word filter$",
    ):
        evaluate(model, ["lambada"], data={"lambada": passages(tmp_path / "lambada_test.jsonl")})


def test_another_error_of_the_search_is_not_taken_for_memory() -> None:
    model: Any = registry.load_model("demo", LoadOptions())
    model._engine = SmallMemory(model._engine, lambda: RuntimeError("a size of 2"), 0, 0)
    item = WordRequest(Request(np.array([5], np.int32), (np.array([6], np.int32),)), "x")
    with pytest.raises(RuntimeError, match="a size of 2"):
        model.score_words([[item]], frozenset())


# -- the limit of openings -------------------------------------------------------------------------


def test_records_that_reach_the_limit_are_counted_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(best_word, "MOST", 1)
    few = Settings(limit=12)
    result, again = (evaluate("demo", ["lambada"], out=tmp_path, settings=few)[0] for _ in "ab")
    assert result.tally == again.tally
    assert 0 < result.tally.undecided <= 12
    (note,) = [line for line in notes([result]) if "stopped at its limit" in line]
    assert note.startswith(f"lambada, demo: in {result.tally.undecided} of 12 records the search")
    (stored,) = read_results(tmp_path)
    assert stored.tally.undecided == result.tally.undecided


# -- signatures of the older search ----------------------------------------------------------------


def test_a_signature_of_the_older_search_is_refused(tmp_path: Path) -> None:
    few = Settings(limit=3)
    new = evaluate("demo", ["lambada"], out=tmp_path, settings=few)[0].signature
    old = new.replace("nltk127.exact", "nltk127.w20.d6")
    with pytest.raises(
        UsageError,
        match=r"^signature: filter: nltk127\.w20\.d6 is the beam search of an older gpt2eval; "
        r"expected nltk127\.exact, the search of this version$",
    ):
        rerun(old, settings=few)
    assert str(compare(old, new)).splitlines()[-1] == (
        "comparable: no, the protocols differ in filter; nltk127.w20.d6 is the beam search of an "
        "older gpt2eval"
    )
    assert compare(old, old).is_comparable
