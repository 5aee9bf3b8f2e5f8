"""Answers under the stop-word filter: the best whole word decides, not the greedy tokens."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gpt2eval import evaluate
from gpt2eval.config.loader import load_filter, load_task
from gpt2eval.errors import UsageError
from gpt2eval.metrics.result import Result
from gpt2eval.models import registry
from gpt2eval.models.engine.best_word import Vocabulary, _highest, best_words
from gpt2eval.models.options import LoadOptions
from gpt2eval.types import Encoding, Ids, ModelIdentity, Request, TokenScores

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

    def best_words(
        self, prefixes: Sequence[Ids], banned: frozenset[str], width: int, depth: int
    ) -> list[str]:
        def next_token_logprobs(batch: Sequence[Request]) -> torch.Tensor:
            return torch.stack(
                [self.row([*prefix, *branch[:-1]]) for prefix, bs in batch for branch in bs]
            )

        return best_words(prefixes, banned, next_token_logprobs, VOCABULARY, width, depth)

    def identity(self) -> ModelIdentity:
        return ModelIdentity("spelled", "1", "pieces", "float64", "none", "cpu")


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


def test_an_answer_of_more_tokens_than_the_depth_can_be_the_best_word(tmp_path: Path) -> None:
    pieces = (" p", "ian", *["o"] * 6)
    path: Distributions = {
        **{pieces[:i]: {piece: 0.98} for i, piece in enumerate(pieces)},
        pieces: {".": 0.98},
    }
    assert len(pieces) > load_task("lambada").filter_depth
    for answer, acc in (("pianoooooo", 100), ("pianooooooo", 0)):
        result = result_for(path, answer, tmp_path)
        assert result.acc == acc, answer


@pytest.mark.parametrize("context", [1, 2, 5, 6, 7])
def test_the_search_never_feeds_more_than_the_context(context: int) -> None:
    model: Any = registry.load_model("demo", LoadOptions())
    row = torch.full((1, 2560), -20.0)
    row[0, model._vocabulary.starts] = -8.0
    row[0, model._vocabulary.continues.nonzero()[0]] = -0.01  # longer words are likelier
    model._engine = Uniform(model._engine, row)
    model.context = context
    model.best_words([np.arange(5, 5 + context, dtype=np.int32)], frozenset(), 5, 6)
    assert model._engine.longest == context


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
        assert model.best_words([prefix], banned.banned, 20, 4) == [expected]


def test_equal_values_at_the_edge_of_the_beam_are_taken_in_the_order_of_ids() -> None:
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


def test_with_all_weights_zero_the_best_word_is_the_one_with_the_lowest_id() -> None:
    model: Any = registry.load_model("demo", LoadOptions())
    model._engine = Uniform(model._engine, torch.full((1, 2560), -math.log(2560)))
    banned = load_filter(load_task("lambada"))
    assert banned
    # Only words of one token are in question: each further token lowers the probability.
    words = [model._vocabulary.word([id_]) for id_ in range(2560) if model._vocabulary.starts[id_]]
    expected = next(word for word in words if word and word.lower() not in banned.banned)
    rank = words.index(expected)
    assert rank > 0, "a stop word has a lower id"
    for width in (rank, rank + 1, rank + 100):
        best = model.best_words([np.array([5], np.int32)], banned.banned, width, 1)
        assert best == ["" if width == rank else expected]


class Uniform:
    """An engine that gives the same log-probabilities after every input."""

    def __init__(self, engine: Any, row: torch.Tensor) -> None:
        self.model = engine.model
        self._row = row
        self.longest = 0

    def next_token_logprobs(self, batch: Sequence[Request]) -> torch.Tensor:
        lengths = [len(prefix) + len(b) - 1 for prefix, branches in batch for b in branches]
        self.longest = max([self.longest, *lengths])
        return self._row.repeat(sum(len(branches) for _, branches in batch), 1)


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
    """An engine whose word search runs out of memory above `holds` branches, or a long prefix."""

    def __init__(
        self, engine: Any, error: Callable[[], Exception], holds: int, longest: int
    ) -> None:
        self._engine = engine
        self._error = error
        self._holds = holds
        self._longest = longest
        self.model = engine.model
        self.score = engine.score
        self.largest = 0

    def next_token_logprobs(self, batch: Sequence[Request]) -> torch.Tensor:
        count = sum(len(branches) for _, branches in batch)
        if count > self._holds or max(len(prefix) for prefix, _ in batch) > self._longest:
            raise self._error()
        self.largest = max(self.largest, count)
        return self._engine.next_token_logprobs(batch)


def passages(path: Path) -> Path:
    texts = ["He opened the door", "It was dark and cold and " + "very " * 30 + "quiet", "She left"]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


@pytest.mark.parametrize("kind", ERRORS)
def test_a_search_that_does_not_fit_into_memory_is_halved_down_to_a_branch(kind: str) -> None:
    model: Any = registry.load_model("demo", LoadOptions())
    assert hasattr(model, "best_words")
    prefixes = [model.encode(text).ids for text in ("\nHe opened the", "\nShe looked", "\nIt")]
    expected = model.best_words(prefixes, frozenset({"the"}), 5, 3)
    for holds in (7, 1):
        small = SmallMemory(model._engine, ERRORS[kind], holds, 99)
        model._engine = small
        assert model.best_words(prefixes, frozenset({"the"}), 5, 3) == expected
        assert small.largest == min(holds, 5), "a request has at most 5 branches"
        model._engine = small._engine


@pytest.mark.slow
@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("context", [64, 24])
def test_a_record_whose_search_does_not_fit_is_one_line(
    kind: str, context: int, tmp_path: Path
) -> None:
    """Also where the search shortens the prefix to leave room for the word."""
    model: Any = registry.load_model("demo", LoadOptions())
    model.context = context
    model._engine = SmallMemory(model._engine, ERRORS[kind], 99, 15)
    with pytest.raises(
        UsageError,
        match=r"^task lambada, record 1: its \d+ tokens do not fit into memory in the search for "
        "the best word; expected a smaller --context, or a variant without a stop-word filter$",
    ):
        evaluate(model, ["lambada"], data={"lambada": passages(tmp_path / "lambada_test.jsonl")})


def test_another_error_of_the_search_is_not_taken_for_memory() -> None:
    model: Any = registry.load_model("demo", LoadOptions())
    model._engine = SmallMemory(model._engine, lambda: RuntimeError("a size of 2"), 0, 0)
    with pytest.raises(RuntimeError, match="a size of 2"):
        model.best_words([np.array([5], np.int32)], frozenset(), 5, 3)
