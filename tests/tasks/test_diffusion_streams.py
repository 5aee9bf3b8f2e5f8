"""The variants of diffusion language models feed and score exactly the tokens of their loaders."""

import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import datasets
import numpy as np
import pytest
from diffusion_loaders import (
    DETOKENIZERS,
    Ids,
    Loader,
    bd3lm,
    blocks_by_map,
    blocks_by_rule,
    chunks,
    encoded_rows,
    kept_share,
    mdlm,
    sedd,
    stripped_rows,
    wikitext_rows,
)
from hypothesis import given
from hypothesis import strategies as st
from piece_model import PieceModel
from tokenizers import Tokenizer

from gpt2eval.analysis.explain import explain
from gpt2eval.config.loader import load_task
from gpt2eval.config.schema import Drop, Task
from gpt2eval.config.source_schema import Expect
from gpt2eval.data.formats import parse
from gpt2eval.data.records import Corpus, parse_corpus
from gpt2eval.errors import UsageError
from gpt2eval.models.tokenization.loaded import LoadedTokenizer
from gpt2eval.models.tokenization.loading import from_place
from gpt2eval.planning.task_plan import TaskPlan, plan_task
from gpt2eval.settings import Settings
from gpt2eval.text.passages import total_units
from gpt2eval.types import Encoding, ModelIdentity, Request, TokenScores

END = 50256
WORKERS = [1, 8, 32, 96]
LOADERS: dict[str, Callable[[int], Loader]] = {
    "sedd": sedd,
    "radd": sedd,
    "mdlm": mdlm,
    "bd3lm": bd3lm,
}


class TokensOnly:
    """GPT-2's tokenizer with fixed scores in place of a model; each text is encoded once."""

    context = 1024
    start: int | None = END

    def __init__(self, tokenizer: LoadedTokenizer) -> None:
        self._encode = cache(tokenizer.tokens.encode)

    def encode(self, text: str) -> Encoding:
        return self._encode(text)

    def encode_specials(self, text: str) -> Encoding:
        return self._encode(text, specials=True)

    def score(self, batch: Sequence[Request]) -> TokenScores:
        ids = np.concatenate([branch for request in batch for branch in request.branches])
        return TokenScores(
            -1.0 - (ids % 97) / 7, ids % 3 == 0, is_tied=np.zeros(len(ids), np.bool_)
        )

    def identity(self) -> ModelIdentity:
        return ModelIdentity("tokens", "1", "gpt2", "float32", "none", "cpu")


@pytest.fixture(scope="module")
def gpt2(real_models: Path) -> TokensOnly:
    return TokensOnly(from_place(str(real_models / "gpt2-tokenizer" / "tokenizer.json")))


@pytest.fixture(scope="module", autouse=True)
def no_bars() -> None:
    datasets.disable_progress_bars()


class Window(NamedTuple):
    """A forward pass: its tokens, how many of them are scored (the last ones), their weight."""

    tokens: Ids
    scored: int
    weight: float


def windows(plan: TaskPlan) -> list[Window]:
    """The forward passes of a plan, in the order of the text."""
    items = [item for chunk in plan.work.chunks for batch in chunk for item in batch]
    found = []
    for item in sorted(items, key=lambda item: item.targets[0]):
        (branch,) = item.request.branches
        tokens = [*item.request.prefix.tolist(), *branch.tolist()]
        found.append(Window(tokens, len(branch), item.weight))
    return found


def planned(name: str, content: bytes, model: TokensOnly, workers: int | None = None) -> TaskPlan:
    """The plan of a task on a file, with another number of workers."""
    task = load_task(name)
    if workers is not None:
        assert task.drop is not None
        task = task.model_copy(update={"drop": Drop(rows=task.drop.rows, workers=workers)})
    return plan_task(model, task, parse_corpus(task, content, "file"))


class Case(NamedTuple):
    """A task's file, and how the loaders read and detokenize it."""

    task: str
    file: str
    detokenizer: str


CASES = [
    Case("ptb", "ptb/ptb.valid.txt", "ptb"),
    Case("ptb", "test/ptb/ptb.test.txt", "ptb"),
    Case("wikitext2", "wikitext-2/wiki.valid.tokens", "wikitext"),
    Case("wikitext103", "test/wikitext-2-raw/wiki.test.raw", "wikitext"),
    Case("lambada", "test/lambada/lambada_test.jsonl", "lambada"),
    Case("lm1b", "lm1b/news.en.heldout-00010-and-00011.txt", "lm1b"),
]


def rows_of(case: Case, text: str) -> list[str]:
    if case.task == "lambada":
        return [json.loads(line)["text"] for line in text.splitlines()]
    return wikitext_rows(text) if case.detokenizer == "wikitext" else stripped_rows(text)


class Rows:
    """The detokenized, encoded rows of the development files, each made once."""

    def __init__(self, folder: Path, model: TokensOnly) -> None:
        self.folder = folder
        self._encode = lambda text: model.encode(text).ids.tolist()
        self.of = cache(self._of)

    def _of(self, case: Case, variant: str) -> list[Ids]:
        text = (self.folder / case.file).read_text(encoding="utf-8")
        loader = LOADERS[variant](END)
        rows = rows_of(case, text)
        return encoded_rows(rows, DETOKENIZERS[case.detokenizer], self._encode, loader)


@pytest.fixture(scope="module")
def rows(development_data: Path, gpt2: TokensOnly) -> Rows:
    return Rows(development_data, gpt2)


@pytest.mark.parametrize(
    "case",
    # The other files take some seconds each for the detokenizer, at each number of workers.
    [pytest.param(case, marks=() if case == CASES[0] else pytest.mark.slow) for case in CASES],
    ids=lambda case: f"{case.task}-{Path(case.file).name}",
)
@pytest.mark.parametrize("variant", ["sedd", "mdlm", "bd3lm"])
def test_every_fed_and_scored_token_is_the_loaders(
    case: Case, variant: str, rows: Rows, gpt2: TokensOnly
) -> None:
    content = (rows.folder / case.file).read_bytes()
    encoded = rows.of(case, variant)
    for workers in WORKERS:
        plan = planned(f"{case.task}/{variant}", content, gpt2, workers)
        loader = LOADERS[variant](END)
        expected = blocks_by_rule(encoded, loader, workers)
        found = windows(plan)
        assert [window.tokens for window in found] == expected
        # A block's first token is context only; every other one is scored, MDLM's last one, too.
        assert {window.scored for window in found} == {1023}
        assert {window.weight for window in found} == {1.0}
        share = plan.kept.kept / plan.kept.total if plan.kept else 1.0
        assert share == pytest.approx(kept_share(encoded, loader, workers))


@pytest.mark.parametrize(
    ("task", "line", "row"),
    [
        ("ptb/mdlm", " a <|endoftext|> b", "a <|endoftext|> b"),
        ("ptb/mdlm", "\u00a0 a b \t", "a b"),
        ("lm1b/bd3lm", "a <|endoftext|> b", "a <|endoftext|> b"),
        ("lambada/sedd", '{"text": "a <|endoftext|> b"}', "\na <|endoftext|> b"),
        ("wikitext2/mdlm", " \u00a0 ", ""),
        ("wikitext2/radd", " a <|endoftext|> b ", " a <|endoftext|> b\n"),
    ],
)
def test_rows_are_read_as_the_loaders_read_them(
    task: str, line: str, row: str, gpt2: TokensOnly, real_models: Path
) -> None:
    """White space of any kind is stripped, and `<|endoftext|>` in a text is the token."""
    tokenizer = Tokenizer.from_file(str(real_models / "gpt2-tokenizer" / "tokenizer.json"))
    own = load_task(task).model_copy(
        update={"block": None, "pack": None, "drop": None, "tail": "score", "expect": Expect()}
    )
    records = parse(own, f"{line}\n{line}\n", "file")
    corpus = Corpus(records, total_units(records), "0" * 64, published=False, origin="file")
    plan = plan_task(gpt2, own, corpus, Settings(allow_kept=True))
    (encoded,) = plan.work.encoded
    end = [] if own.join == "none" else [END]
    assert encoded.ids.tolist() == [*tokenizer.encode(row).ids, *end] * 2


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize(
    "variant", ["mdlm", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sedd", "bd3lm"))]
)
def test_the_rule_of_contiguous_shards_is_that_of_datasets(
    variant: str, workers: int, rows: Rows
) -> None:
    encoded = rows.of(CASES[0], variant)
    loader = LOADERS[variant](END)
    by_map = blocks_by_map(encoded, loader, workers)
    assert by_map == blocks_by_rule(encoded, loader, workers)
    assert len(by_map) > 0


def test_the_mean_of_radd_is_the_mean_of_batches_of_four_blocks(
    rows: Rows, gpt2: TokensOnly
) -> None:
    case = CASES[1]
    content = (rows.folder / case.file).read_bytes()
    found = windows(planned("ptb/radd", content, gpt2))
    expected = blocks_by_rule(rows.of(case, "radd"), sedd(END), 8)
    assert [window.tokens for window in found] == expected
    rest = len(found) % 4
    assert rest
    # With losses of 0 and 1 per block, the weighted mean is the mean of the batches' means.
    losses = np.arange(len(found)) % 3 == 0
    weights = np.array([window.weight for window in found])
    groups = [losses[first : first + 4].mean() for first in range(0, len(found), 4)]
    assert (weights * losses).sum() / weights.sum() == pytest.approx(np.mean(groups))


@pytest.mark.parametrize(
    ("name", "file", "cut", "detokenizer"),
    [
        ("ptb/plaid", "test/ptb/ptb.test.txt", slice(None, -1), "ptb"),
        ("wikitext2/plaid", "test/wikitext-2/wiki.test.tokens", slice(1, None), "wikitext"),
        ("wikitext103/plaid", "test/wikitext-103/wiki.test.tokens", slice(1, None), "wikitext"),
        ("text8/plaid", "text8/text8.first2M", slice(None), "none"),
    ],
)
def test_plaids_chunks_are_those_of_the_complete_text(
    name: str, file: str, cut: slice, detokenizer: str, development_data: Path, gpt2: TokensOnly
) -> None:
    content = (development_data / file).read_bytes()
    text = DETOKENIZERS[detokenizer](content.decode()[cut])
    found = windows(planned(name, content, gpt2))
    expected = chunks(gpt2.encode(text).ids.tolist())
    assert [window.tokens for window in found] == [chunk for chunk in expected if len(chunk) > 1]
    assert all(window.scored == len(window.tokens) - 1 for window in found)


def test_plaids_units_are_the_pieces_between_spaces(development_data: Path) -> None:
    for name, file, cut, more in (
        ("wikitext2/plaid", "test/wikitext-2/wiki.test.tokens", slice(1, None), 0),
        ("ptb/plaid", "test/ptb/ptb.test.txt", slice(None, -1), 1),
    ):
        content = (development_data / file).read_bytes()
        units = parse_corpus(load_task(name), content, "file").units
        pieces = len(content.decode()[cut].split(" "))
        assert pieces == units.words + units.lines + more


def test_blocks_of_text8_hold_every_character(development_data: Path) -> None:
    content = (development_data / "text8/text8.first2M").read_bytes()[:100_000]
    model = PieceModel()
    for name, size, after in (("text8/sedd", 256, []), ("text8/bd3lm", 254, [0])):
        task = load_task(name)
        found = windows(plan_task(model, task, parse_corpus(task, content, "file")))
        ids = model.encode(content.decode()).ids.tolist()
        assert [w.tokens for w in found] == [[0, *c, *after] for c in chunks(ids, size)]
        assert sum(w.scored - len(after) for w in found) == len(ids)


# What is left of the text: counted once with datasets 4, and stated in the documentation.
SHARES = {
    ("ptb/ptb.valid.txt", "mdlm"): [96.2, 95.0, 90.0, 80.0, 80.0, 6.2, 0, 0],
    ("ptb/ptb.valid.txt", "bd3lm"): [96.5, 95.2, 88.6, 83.4, 82.1, 2.6, 0, 0],
    ("test/ptb/ptb.test.txt", "mdlm"): [96.4, 96.4, 90.8, 79.6, 68.4, 37.0, 0, 0],
    ("test/ptb/ptb.test.txt", "sedd"): [96.6, 96.6, 91.0, 79.8, 68.5, 36.0, 0, 0],
    ("wikitext-2/wiki.valid.tokens", "mdlm"): [99.3, 98.0, 96.8, 93.1, 86.8, 80.2, 72.3, 60.7],
    ("test/wikitext-2-raw/wiki.test.raw", "sedd"): [99.5, 98.4, 96.9, 95.0, 88.3, 82.7, 77.1, 65.2],
    ("test/lambada/lambada_test.jsonl", "mdlm"): [99.4, 98.9, 98.4, 97.0, 91.5, 91.5, 91.5, 91.5],
    ("test/lambada/lambada_test.jsonl", "bd3lm"): [99.4, 99.4, 98.0, 95.8, 92.6, 92.6, 92.6, 92.4],
}


@pytest.mark.parametrize(("file", "variant"), SHARES)
def test_shares_of_tokens_that_remain(file: str, variant: str, rows: Rows) -> None:
    case = next(case for case in CASES if case.file == file)
    encoded = rows.of(case, variant)
    counts = [1, 8, 16, 32, 64, 96, 128, 192]
    shares = [100 * kept_share(encoded, LOADERS[variant](END), count) for count in counts]
    assert [round(share, 1) for share in shares] == SHARES[file, variant]


def test_a_text_of_which_nothing_remains_is_an_error(
    development_data: Path, gpt2: TokensOnly
) -> None:
    content = (development_data / "ptb/ptb.valid.txt").read_bytes()
    with pytest.raises(UsageError, match="task ptb/mdlm: 0 of 81,773 tokens remain"):
        planned("ptb/mdlm", content, gpt2, 128)


@pytest.mark.slow
def test_explain_shows_what_the_number_of_workers_makes_of_ptb(
    development_data: Path, gpt2: TokensOnly
) -> None:
    files = {
        "ptb": development_data / "test/ptb/ptb.test.txt",
        "ptb/mdlm": development_data / "ptb/ptb.valid.txt",
    }
    counts = [1, 8, 32, 96, 128]
    rows = explain(gpt2, "ptb", data=files, protocols=["mdlm"], workers=counts)
    base, complete, *limited = rows
    assert [round(100 * row.kept, 1) for row in limited[:-1]] == [96.2, 95.0, 80.0, 6.2]
    assert base.kept == complete.kept == 1
    assert "0 of 81,773 tokens remain" in limited[-1].reason_omitted
    for row in (complete, *limited[:-1]):
        total = base.nats + sum(step.nats for step in row.steps)
        assert row.nats == pytest.approx(total, abs=1e-12)


# -- small texts -----------------------------------------------------------------------------------

SMALL = 16  # tokens of a block


def small(variant: str, rows: int, workers: int) -> Task:
    update = {"block": SMALL, "drop": Drop(rows=rows, workers=workers), "detokenizer": None}
    return load_task(f"ptb/{variant}").model_copy(update=update)


@pytest.mark.parametrize("variant", ["sedd", "mdlm", "bd3lm"])
@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=30),
    batch=st.integers(1, 9),
    workers=st.integers(1, 12),
)
def test_any_rows_batches_and_workers(
    variant: str, lengths: list[int], batch: int, workers: int
) -> None:
    model = PieceModel()
    texts = [
        (f"row {number} of the file, " * 3)[:length].rstrip()
        for number, length in enumerate(lengths)
    ]
    content = "".join(f" {text} \n" for text in texts).encode()
    loader = LOADERS[variant](0)._replace(block=SMALL)
    encoded = encoded_rows(texts, str, lambda text: model.encode(text).ids.tolist(), loader)
    expected = blocks_by_rule(encoded, loader, workers, batch)
    task = small(variant, batch, workers)
    corpus = parse_corpus(task, content, "file")
    if not expected:
        with pytest.raises(UsageError, match="tokens remain"):
            plan_task(model, task, corpus)
        return
    plan = plan_task(model, task, corpus)
    assert [window.tokens for window in windows(plan)] == expected
    assert {window.scored for window in windows(plan)} == {SMALL - 1}


def test_the_real_map_with_small_batches() -> None:
    rows = [[number] * (1 + number % 7) for number in range(50)]
    loader = mdlm(99, SMALL)
    for workers, batch in ((1, 4), (3, 5), (7, 1000), (60, 2)):
        expected = blocks_by_rule(rows, loader, workers, batch)
        assert blocks_by_map(rows, loader, workers, batch) == expected
