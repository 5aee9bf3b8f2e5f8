"""Streams of joined records against plain lists, and their scores against naive loops."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval import UsageError, demo, evaluate
from gpt2eval.analysis.reproduce import rerun
from gpt2eval.config import loader
from gpt2eval.data import corpus
from gpt2eval.measurement import measure
from gpt2eval.models import registry
from gpt2eval.report.measured import read_measured
from gpt2eval.scoring import averaging, plan, streams
from gpt2eval.scoring.rolled import Rolled, Stretch
from gpt2eval.scoring.streams import KeptTokens, Packing
from gpt2eval.scoring.windows import Window, spans
from gpt2eval.types import Encoding, Ids, Model, Part, Passage, Request, Units

END, BEGIN, FINISH = 900, 901, 902
CONTEXT = 32


def ids(*tokens: int) -> Ids:
    return np.array(tokens, np.int32)


def records(lengths: Sequence[int]) -> tuple[Passage, list[Encoding]]:
    """Return records of single-character tokens, numbered through, as one passage."""
    bounds = [0, *np.cumsum(lengths).tolist()]
    parts = tuple(Part(a, b, Units()) for a, b in pairwise(bounds))
    encodings = [
        Encoding(ids(*range(a, b)), ids(*range(1, b - a + 1)), False) for a, b in pairwise(bounds)
    ]
    return Passage(0, "x" * bounds[-1], parts), encodings


def naive_blocks(lengths: Sequence[int], packing: Packing) -> list[list[int]]:
    """Return the blocks of a loader, written with lists; the last of a batch may be short."""
    bounds = [0, *np.cumsum(lengths).tolist()]
    rows = [[*range(a, b)] + [END] * (packing.after is not None) for a, b in pairwise(bounds)]
    workers = max(min(packing.workers, len(rows)), 1)
    batches: list[list[list[int]]] = [rows]
    if packing.rows is not None:
        shards = [shard.tolist() for shard in np.array_split(np.arange(len(rows)), workers)]
        batches = [
            [rows[number] for number in shard[first : first + packing.rows]]
            for shard in shards
            for first in range(0, len(shard), packing.rows)
        ]
    begin = [BEGIN] * (packing.begin is not None)
    end = [FINISH] * (packing.end is not None)
    blocks = []
    for batch in batches:
        tokens = [token for row in batch for token in row]
        size = (packing.block or len(tokens) + 2) - len(begin) - len(end)
        while tokens:
            blocks.append(begin + tokens[:size] + end)
            tokens = tokens[size:]
    return blocks


packings = st.builds(
    Packing,
    st.sampled_from([None, END]),
    st.sampled_from([None, BEGIN]),
    st.sampled_from([None, FINISH]),
    st.integers(4, 9),
    st.sampled_from([None, 1, 2, 5]),
    st.integers(1, 6),
)
lengths = st.lists(st.integers(0, 12), min_size=1, max_size=12)


@given(lengths, packings, st.booleans())
def test_blocks_are_those_of_a_loader(
    lengths: list[int], packing: Packing, drops_tail: bool
) -> None:
    assert packing.block
    encoded = streams.joined(*records(lengths), packing)
    window = Window(packing.block, packing.block, None, "restart", drops_tail=drops_tail)
    expected = [
        block
        for block in naive_blocks(lengths, packing)
        if len(block) > 1 and not (drops_tail and len(block) < packing.block)
    ]
    planned = [*plan.windows([encoded], window)]
    seen = [[*r.prefix.tolist(), *r.branches[0].tolist()] for r, _, _ in planned]
    assert seen == expected
    for request, (target,), _ in planned:
        assert len(request.prefix) == 1, "the first token of a block is not scored"
        stop = target.first + len(request.branches[0])
        assert encoded.ids[target.first : stop].tolist() == request.branches[0].tolist()
    text = [token for block in expected for token in block if token not in (BEGIN, FINISH)]
    total = sum(lengths) + len(lengths) * (packing.after is not None)
    kept = streams.kept_tokens(encoded, window)
    assert kept.total == total
    alone = kept.kept - len(text)  # a token alone in its block scores nothing
    assert alone == 0


@given(lengths, packings)
def test_tokens_of_a_stream_end_where_they_end_in_their_record(
    lengths: list[int], packing: Packing
) -> None:
    passage, encodings = records(lengths)
    encoded = streams.joined(passage, encodings, packing)
    assert encoded.inserted is not None
    text = encoded.ids[(encoded.ids < END)]
    assert text.tolist() == [*range(sum(lengths))], "every token of the text is in the stream, once"
    assert (encoded.ends[encoded.ids < END] == text + 1).all()
    assert (np.diff(encoded.ends) >= 0).all()
    assert (encoded.inserted == (encoded.ids > END)).all()
    covered = [token for segment in encoded.segments for token in segment]
    assert covered == [*range(len(encoded.ids))]


def test_the_last_token_of_a_block_may_stay_unscored() -> None:
    encoded = streams.joined(*records([7]), Packing(None, BEGIN, FINISH, 6))
    window = Window(6, 6, None, "restart", ends_unscored=True)
    branches = [request.branches[0].tolist() for request, _, _ in plan.windows([encoded], window)]
    assert branches == [[0, 1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("regular", [([99], [1, 2, 3, 4]), ([99, 3, 4], [5, 6]), ([99, 5, 6], [7, 8])]),
        ("restart", [([99], [1, 2, 3]), ([99, 3], [4, 5]), ([99, 5], [6, 7]), ([99, 7], [8])]),
        ("second_half", [([99, 1, 2], [3]), ([99, 5, 6], [7])]),
    ],
)
def test_the_start_token_replaces_the_first_one(
    kind: str, expected: list[tuple[list[int], list[int]]]
) -> None:
    window = Window(4, 2, 99, kind, replaces=True)
    planned = [*Rolled([Stretch(0, ids(*range(9)))], window)]
    seen = [(r.prefix.tolist(), r.branches[0].tolist()) for r, _, _ in planned]
    assert seen == expected
    assert [target.first for _, (target,), _ in planned] == [branch[0] for _, branch in expected]


@pytest.mark.parametrize("kind", ["regular", "once", "last_full", "restart", "second_half"])
@given(st.integers(0, 40), st.integers(4, 9))
def test_a_dropped_tail_is_the_window_that_is_not_full(
    kind: str, length: int, context: int
) -> None:
    kept = [*spans(length, Window(context, context, None, kind, drops_tail=True))]
    every = [*spans(length, Window(context, context, None, kind))]
    assert every[: len(kept)] == kept
    assert len(every) - len(kept) <= 1
    held = context + (kind not in ("restart", "second_half"))
    assert all(span.end - span.left == held for span in kept)
    if kind != "last_full":
        assert all(span.end - span.left < held for span in every[len(kept) :])


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=9),
    st.sampled_from(["windows", "batches"]),
    st.integers(1, 4),
)
def test_weights_make_a_mean_of_means(sizes: list[int], mean: Any, batch: int) -> None:
    bounds = [0, *np.cumsum(sizes).tolist()]
    size = 1 if mean == "windows" else batch
    losses = np.random.default_rng(3).random(bounds[-1])
    weights = averaging.weights_of(np.array(sizes), np.ones(len(sizes)), size).tolist()
    total = sum(
        weight * losses[a:b].sum() for weight, (a, b) in zip(weights, pairwise(bounds), strict=True)
    )
    count = sum(weight * tokens for weight, tokens in zip(weights, sizes, strict=True))
    edges = [*bounds[::size], *([bounds[-1]] if (len(sizes) % size) else [])]
    means = [losses[a:b].mean() for a, b in pairwise(edges)]
    assert math.isclose(count, sum(sizes))
    assert math.isclose(total / count, float(np.mean(means)))
    if len(set(sizes)) == 1 and len(sizes) % size == 0:
        assert {*weights} == {1.0}


# -- whole tasks ---------------------------------------------------------------------------------

COMMON = {"expect": {}, "detokenizer": None, "unit": "token", "metrics": ["ppl"], "start": "none"}
VARIANTS: dict[str, dict[str, Any]] = {
    "packed": {
        "format": "rows",
        "join": "eot",
        "block": CONTEXT,
        "pack": {"begin": "eot", "end": "eot", "score_end": True},
        "tail": "drop",
        "drop": {"rows": 10, "workers": 3},
    },
    "plain": {"format": "rows", "join": "eot", "block": CONTEXT, "tail": "drop"},
    "all": {"format": "rows", "join": "none", "block": CONTEXT, "mean": "batches", "batch": 3},
    "replaced": {"start": "replace", "context": CONTEXT, "windows": "second_half"},
    "nanogpt": {"format": "rows", "join": "eot", "context": CONTEXT},
}


@pytest.fixture(scope="module")
def include(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog whose task `mine` is PTB with the variants above."""
    folder = tmp_path_factory.mktemp("catalog")
    (folder / "tasks").mkdir()
    content = loader.load_task("ptb").model_dump(mode="json", exclude_none=True)
    for key in ("name", "variant", "published"):
        del content[key]
    content["variants"] = {name: COMMON | keys for name, keys in VARIANTS.items()}
    (folder / "tasks" / "mine.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def backend() -> Model:
    return registry.load_model("demo")


@pytest.fixture(scope="module")
def rows() -> list[str]:
    lines = Path(demo.data()["ptb"]).read_text(encoding="utf-8").removesuffix("\n").split("\n")
    return [line[1:-1] for line in lines]


def logprobs(model: Model, inputs: Sequence[int], first: int) -> np.ndarray:
    """Return the log-probabilities of `inputs[first:]`, one request."""
    request = Request(ids(*inputs[:first]), (ids(*inputs[first:]),))
    return np.asarray(model.score([request]).logprobs, np.float64)


def flat(rows: Iterable[Sequence[int]]) -> list[int]:
    return [token for row in rows for token in row]


def naive_ppl(model: Model, rows: list[str], name: str) -> tuple[float, int]:
    """Return perplexity and number of scored tokens of a variant, by its definition."""
    end = model.start
    assert end is not None
    encoded = [model.encode(row).ids.tolist() for row in rows]
    if name == "packed":
        blocks = []
        for shard in np.array_split(np.arange(len(rows)), 3):
            for first in range(0, len(shard), 10):
                batch = flat([*encoded[i], end] for i in shard[first : first + 10])
                whole = len(batch) // (CONTEXT - 2)
                parts = [batch[i * (CONTEXT - 2) :][: CONTEXT - 2] for i in range(whole)]
                blocks += [[end, *part, end] for part in parts]
        scores = np.concatenate([logprobs(model, block, 1) for block in blocks])
    elif name == "plain":
        tokens = flat([*row, end] for row in encoded)
        count = len(tokens) // CONTEXT
        scores = np.concatenate(
            [logprobs(model, tokens[i * CONTEXT : (i + 1) * CONTEXT], 1) for i in range(count)]
        )
    elif name == "all":
        tokens = flat(encoded)
        found = [
            logprobs(model, tokens[i : i + CONTEXT], 1) for i in range(0, len(tokens) - 1, CONTEXT)
        ]
        means = [np.concatenate(found[i : i + 3]).mean() for i in range(0, len(found), 3)]
        return math.exp(-float(np.mean(means))), sum(map(len, found))
    elif name == "replaced":
        tokens = model.encode("".join(f" {row} \n" for row in rows)).ids.tolist()
        pieces = [tokens[i : i + CONTEXT] for i in range(0, len(tokens) - CONTEXT + 1, CONTEXT)]
        scores = np.concatenate(
            [logprobs(model, [end, *piece[1:]], CONTEXT // 2 + 1) for piece in pieces]
        )
    else:
        tokens = flat([*row, end] for row in encoded)
        scores = np.concatenate(
            [
                logprobs(model, tokens[i : i + CONTEXT + 1], 1)
                for i in range(0, len(tokens) - 1, CONTEXT)
            ]
        )
    return math.exp(-float(scores.mean())), len(scores)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_its_naive_loop(
    name: str, include: Path, backend: Model, rows: list[str]
) -> None:
    task = loader.load_task(f"mine/{name}", [include])
    found = corpus.load_corpus(task, Path(demo.data()["ptb"]))
    measurement = measure(backend, task, found)
    assert measurement
    result = measurement.result
    perplexity, tokens = naive_ppl(backend, rows, name)
    assert result.tally.tokens == tokens
    assert math.isclose(result.ppl, perplexity, rel_tol=1e-6)


def test_a_result_states_what_is_kept(
    include: Path, tmp_path: Path, backend: Model, rows: list[str]
) -> None:
    (result,) = evaluate(
        "demo",
        "mine/packed",
        data={"mine/packed": demo.data()["ptb"]},
        include=[include],
        out=tmp_path,
    )
    total = sum(len(backend.encode(row).ids) + 1 for row in rows)
    assert result.kept is not None
    assert result.kept.total == total
    blocks = result.tally.tokens // (CONTEXT - 1)
    assert result.kept.kept == blocks * (CONTEXT - 2)
    (measured,) = read_measured(tmp_path)
    assert measured.result == result
    assert "|join:eot|pack:eot+eot|drop:10x3|ctx:32|" in result.signature
    assert "|tail:drop|start:none|" in result.signature
    table = measured.tokens()
    published = "".join(rows).encode()
    assert (table.end >= table.begin).all()
    words = [published[b:e] for b, e in zip(table.begin[:20], table.end[:20], strict=True)]
    assert b"".join(words) in published


def test_a_loader_that_keeps_nothing_is_an_error(include: Path) -> None:
    data = {"mine/packed": demo.data()["ptb"]}
    with pytest.raises(UsageError, match=r"0 of [\d,]+ tokens remain, because no window is full"):
        evaluate("demo", "mine/packed", data=data, include=[include], context=512, limit=20)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"join": "eot", "ask": "last_word"}, "join: eot: not compatible with ask last_word"),
        ({"pack": {}}, "pack: expected a block, and join eot or none beside it"),
        ({"drop": {}, "block": 9}, "drop: expected a block, and join"),
        (
            {"drop": {}, "block": 9, "join": "none"},
            "drop: not compatible with tail score; expected tail drop",
        ),
        ({"block": 9, "stride": 3}, "block: 9: expected no stride"),
        ({"mean": "batches"}, "mean: batches: expected a batch beside mean batches only"),
        ({"batch": 2}, "mean: tokens: expected a batch beside mean batches only"),
        ({"tail": "drop", "unit": "word"}, "tail: drop: not compatible with unit word"),
        ({"tail": "drop", "metrics": ["bpb"]}, "tail: drop: not compatible with unit token"),
        ({"drop": {"rows": 0}}, "drop.rows: input should be greater than 0; found 0"),
        (
            {"pack": {"end": "none", "score_end": False}, "block": 9, "join": "eot"},
            "pack: score_end: false: not compatible with end none",
        ),
        ({"pack": {"begin": "bos"}}, "pack.begin: input should be 'eot' or 'none'"),
    ],
)
def test_keys_that_do_not_fit_are_errors(
    keys: dict[str, Any], message: str, include: Path, tmp_path: Path
) -> None:
    content = yaml.safe_load((include / "tasks" / "mine.yaml").read_text(encoding="utf-8"))
    content["variants"] = {"wrong": COMMON | keys}
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "mine.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        loader.load_task("mine/wrong", [tmp_path])


def test_blocks_allow_no_stride(include: Path) -> None:
    data = {"mine/plain": demo.data()["ptb"]}
    with pytest.raises(UsageError, match="--stride 4: the task cuts its text into blocks"):
        evaluate("demo", "mine/plain", data=data, include=[include], stride=4)


@pytest.mark.parametrize("name", ["packed", "all", "replaced"])
def test_a_signature_runs_again(name: str, include: Path, tmp_path: Path) -> None:
    data = {f"mine/{name}": demo.data()["ptb"]}
    (result,) = evaluate("demo", f"mine/{name}", data=data, include=[include], context=16)
    (again,) = rerun(result.signature, data=data, include=[include], out=tmp_path)
    assert again.nll_sha256 == result.nll_sha256
    assert again.signature == result.signature


def test_no_more_workers_than_records() -> None:
    assert [*streams.loader_batches(3, 1000, 96)] == [range(0, 1), range(1, 2), range(2, 3)]
    assert [*streams.loader_batches(0, 1000, 4)] == []


def test_kept_tokens_are_counted_in_text() -> None:
    encoded = streams.joined(*records([5, 4]), Packing(END, BEGIN, FINISH, 6))
    window = Window(6, 6, None, "restart", drops_tail=True)
    assert streams.kept_tokens(encoded, window) == KeptTokens(8, 11)
