"""8-gram counts equal Python sets, the filter keeps its bound, and metrics equal their runs."""

import bz2
import csv
import gzip
import json
import lzma
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from gpt2eval import demo, files, pipeline
from gpt2eval.cli.main import app
from gpt2eval.config import loader
from gpt2eval.data import corpus
from gpt2eval.data.compression import PIECE
from gpt2eval.data.documents import Location, locate, stream_documents, training_files
from gpt2eval.errors import UsageError
from gpt2eval.metrics import metrics
from gpt2eval.overlap import blocks, bloom, estimate, index, ngrams, remeasure, report
from gpt2eval.overlap.bloom import Bloom
from gpt2eval.pipeline import Settings
from gpt2eval.report import store
from gpt2eval.scoring import journal, tally_columns
from gpt2eval.types import Tally, Units

Gram = tuple[str, ...]
TEXT = st.text(st.sampled_from("aAbz09 \n.-_éßİ\u212a\u03a3\u0000\udc80"), max_size=60)
DATA = dict(demo.data())


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check fewer random 8-grams and bits, except in the tests of the filter."""
    monkeypatch.setattr(index, "CHECKED", 10_000)
    monkeypatch.setattr(bloom, "SAMPLED_BITS", 50_000)


def naive(text: str) -> list[Gram]:
    """Return the 8-grams by the definition."""
    words = re.findall(r"[a-z0-9]+", text.lower())
    return [tuple(words[i : i + 8]) for i in range(len(words) - 7)]


def hashes(documents: Sequence[Sequence[str]]) -> list[int]:
    return [value for grams in ngrams.grams(documents) for value in grams.hashes.tolist()]


# -- 8-grams ---------------------------------------------------------------------------------------


@given(st.lists(st.lists(TEXT, max_size=4), max_size=4), st.sampled_from([1, 2, 7, 1 << 16]))
def test_grams_match_the_definition(documents: list[list[str]], block: int) -> None:
    """Check their number, equality and pieces, for blocks of any length."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK", block)
        ngrams._tables.cache_clear()
        batches = list(ngrams.grams(documents))
    ngrams._tables.cache_clear()
    expected = [gram for document in documents for gram in naive("".join(document))]
    values = [value for grams in batches for value in grams.hashes.tolist()]
    assert len(values) == len(expected)
    assert len(set(zip(values, expected, strict=True))) == len(set(values)) == len(set(expected))
    first = [
        place
        for number, text in enumerate(documents)
        for place in begins(text, sum(map(len, documents[:number])))
    ]
    assert [piece for grams in batches for piece in grams.pieces.tolist()] == first


def begins(pieces: list[str], before: int) -> list[int]:
    """Return for each 8-gram of a document the piece in which its first word begins."""
    owners = [before + number for number, piece in enumerate(pieces) for _ in piece.lower()]
    starts = [match.start() for match in re.finditer(r"[a-z0-9]+", "".join(pieces).lower())]
    return [owners[start] for start in starts[:-7]]


@given(TEXT, st.integers(1, 9))
def test_splitting_a_document_into_pieces_changes_no_hash(text: str, size: int) -> None:
    pieces = [text[i : i + size] for i in range(0, len(text), size)]
    assert hashes([pieces]) == hashes([[text]])


@given(TEXT)
def test_word_counts_match_the_definition(text: str) -> None:
    assert ngrams.count_words(text) == len(re.findall(r"[a-z0-9]+", text.lower()))


def test_a_word_longer_than_many_blocks_is_one_word() -> None:
    long = "x" * (3 * blocks.BLOCK + 17)
    text = f"{long} b c d e f g h i"
    assert len(hashes([[text]])) == 2
    assert hashes([[text]])[1] == hashes([["b c d e f g h i"]])[0]
    assert hashes([[text]])[0] != hashes([[text[1:]]])[0]
    assert hashes([[text[:1000], text[1000:]]]) == hashes([[text]])


# -- the filter ------------------------------------------------------------------------------------


def absent(count: int) -> np.ndarray:
    text = ngrams.random_text(count + 7, seed=1)
    return np.concatenate([grams.hashes for grams in ngrams.grams([[text]])])


def test_random_strings_keep_the_false_positive_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Added items always match; others as often as the set bits predict, and never at 1e-8."""
    monkeypatch.undo()
    absent_hashes = absent(1_000_000)
    assert len(np.unique(absent_hashes)) == 1_000_000
    random_ = np.random.default_rng(5)
    for bound, items in ((1e-3, 200_000), (1e-8, 1_000_000)):
        known = random_.integers(1 << 63, size=items, dtype=np.uint64)
        index_filter = Bloom.empty(items, bound)
        index_filter.add(known)
        expected = bloom.false_positive_bound(
            index_filter.fill_bound(), items, index_filter.bits, index_filter.hashes
        )
        false = int(index_filter.contains(absent_hashes).sum())
        assert index_filter.contains(known).all()
        assert expected <= bound
        assert false <= 1e6 * bound + 4 * (1e6 * bound) ** 0.5
        assert abs(false - 1e6 * expected) <= 0.1 * 1e6 * expected + 4 * (1e6 * expected) ** 0.5


@given(st.integers(1, 10**10), st.floats(bloom.LOWEST_BOUND, bloom.HIGHEST_BOUND))
def test_filter_sizes_match_the_formula(items: int, bound: float) -> None:
    bits = bloom.filter_bits(bloom.capacity(items, bound), bound)
    assert bits >= max(-items * np.log(bound) / np.log(2) ** 2, 4 / bound * (1 - 1e-9))
    hashes = round(bits / bloom.capacity(items, bound) * np.log(2) + 0.5)
    assert (
        bloom.false_positive_bound(-np.expm1(-hashes * items / bits), items, bits, hashes) <= bound
    )


def test_the_filter_has_the_predicted_size() -> None:
    for items, bound in ((1, 1e-8), (123_457, 1e-3), (10**9, 1e-4)):
        assert Bloom.empty(items, bound).bits == bloom.filter_bits(
            bloom.capacity(items, bound), bound
        )


@given(st.integers(10**6, 10**10), st.integers(10**8, 10**11))
def test_the_lowest_bound_fits_into_memory(items: int, available: int) -> None:
    least = bloom.lowest_bound(items, available)
    if least <= bloom.HIGHEST_BOUND:
        assert (
            bloom.filter_bits(bloom.capacity(items, least), least) / 8
            <= available * (1 + 1e-6) + 100
        )
        if least > bloom.LOWEST_BOUND:  # a lower bound does not fit
            assert bloom.filter_bits(
                bloom.capacity(items, 0.8 * least), 0.8 * least
            ) / 8 > available * (1 - 1e-6)


# -- training files --------------------------------------------------------------------------------

LINES = [
    "The cat sat on the mat, and the dog\nlay down.",
    "",
    "Nothing \x00 else: 1 2 3 4 5 6 7 8 nine",
]


def training_file(path: Path) -> Location:
    return locate(str(path), "--train", "text")


def read(path: Path) -> list[str]:
    return ["".join(document) for document in stream_documents(training_file(path))]


def test_all_training_formats_have_the_same_documents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "".join(json.dumps({"id": 1, "text": text}) + "\n" for text in LINES) + "\n"
    plain = "é".join(LINES).encode() + b"\xff\xc3"
    packers = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
    packers[".zst"] = lambda data: pa.Codec("zstd").compress(data, asbytes=True)
    for suffix, pack in packers.items():
        for form, content, expected in (
            ("jsonl", lines.encode(), LINES),
            ("txt", plain, [plain.decode(errors="replace")]),
        ):
            path = tmp_path / f"some.{form}{suffix}"
            path.write_bytes(pack(content))
            assert read(path) == expected, path
            with monkeypatch.context() as patch:
                patch.setattr("gpt2eval.data.documents.PIECE", 3)
                assert read(path) == expected, path
            count = sum(len(re.findall(r"[a-z0-9]+", text.lower())) for text in expected)
            assert (
                count
                < estimate.expected_words([training_file(path)])
                <= 1.1 * (count + 12 * (form == "jsonl")) + 1
            )
    pq.write_table(pa.table({"id": [1, 2, 3], "text": LINES}), tmp_path / "some.parquet")
    assert read(tmp_path / "some.parquet") == [text for text in LINES if text]
    assert estimate.expected_words([training_file(tmp_path / "some.parquet")]) > 18
    assert len(training_files([tmp_path, tmp_path / "some.txt"])) == 11


def test_training_files_take_a_key(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"body": "in a body"}\n')
    pq.write_table(pa.table({"meta": [{"body": "in a struct"}]}), tmp_path / "a.parquet")
    places = [Path(f"{tmp_path}/a.jsonl:body"), Path(f"{tmp_path}/a.parquet:meta.body")]
    documents = [
        "".join(document) for file in training_files(places) for document in stream_documents(file)
    ]
    assert documents == ["in a body", "in a struct"]


def test_words_of_large_files_are_sampled(tmp_path: Path) -> None:
    content = ngrams.random_text(600_000).encode()
    (tmp_path / "a.txt").write_bytes(content)
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(content, 1))
    assert (tmp_path / "b.txt.gz").stat().st_size > 1.5 * estimate.SAMPLED_BYTES
    for name in ("a.txt", "b.txt.gz"):
        assert 600_000 < estimate.expected_words([training_file(tmp_path / name)]) < 720_000


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.jsonl",
            b'{"text": "x"}\n{"txt": 1}\n',
            r"a.jsonl: line 2: expected {\"text\": \"...\"}, found '{\"txt\": 1}",
        ),
        ("a.jsonl", b"[" * 100_000, r"a.jsonl: line 1: expected"),
        (
            "a.jsonl.gz",
            gzip.compress(b'{"text": "x"}\n' * 99, mtime=0)[:-9],
            "a.jsonl.gz: cannot be read: .*truncated or corrupt",
        ),
        ("a.txt.gz", b"no gzip", "a.txt.gz: cannot be read"),
        ("a.txt.xz", b"no xz", "a.txt.xz: cannot be read"),
        ("a.txt.bz2", b"no bz2", "a.txt.bz2: cannot be read"),
        ("a.txt.zst", b"no zst", "a.txt.zst: cannot be read"),
        ("a.parquet", b"no parquet", "a.parquet: cannot be read"),
    ],
)
def test_an_unreadable_file_is_a_one_line_error(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read(path)


def test_errors_report_what_was_expected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a b c d e f g h")
    (tmp_path / "short.txt").write_text(
        "seven words are not yet an 8-gram".replace("8-gram", "eightgram")
    )
    (tmp_path / "hidden" / ".git").mkdir(parents=True)
    (tmp_path / "hidden" / ".git" / "a.txt").write_text("a b c d e f g h")
    for options, message in (
        (
            {"train": [tmp_path / "short.txt"]},
            "these files contain no 8-gram",
        ),
        ({"train": [tmp_path / "hidden"]}, "contains no files"),
        ({"above": 1.0}, "--above 1: expected a share"),
        ({"bound": 1e-12}, "--false-positives 1e-12: expected 1e-09 to 0.1"),
        ({"train": []}, "--train: expected files"),
        ({"train": [tmp_path / "none"]}, "none: no such file"),
    ):
        arguments: dict[str, Any] = {"train": [path]} | options
        with pytest.raises(UsageError, match=message):
            report.overlap("ptb", arguments.pop("train"), DATA, out=tmp_path / "out", **arguments)
    pq.write_table(pa.table({"words": ["x"]}), tmp_path / "a.parquet")
    with pytest.raises(UsageError, match=r"a\.parquet: expected a column 'text', found 'words'"):
        read(tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "a.parquet")
    with pytest.raises(UsageError, match="row 1: expected text in column text, found 1"):
        read(tmp_path / "a.parquet")
    text = "x" * (PIECE + 257) + "ustar " + "y" * PIECE  # a later "ustar" is text
    (tmp_path / "ustar.txt").write_text(text)
    assert "".join(read(tmp_path / "ustar.txt")) == text
    (tmp_path / "a.zip").write_bytes(b"PK\3\4 and more")
    with pytest.raises(
        UsageError, match="an archive or table without its usual suffix; expected text"
    ):
        read(tmp_path / "a.zip")
    monkeypatch.setattr(estimate, "available_memory", lambda: 10_000_000)
    with pytest.raises(UsageError, match=r"filter of 0.1 GB does not fit .* expected .* or more"):
        index.build_index([training_file(path)], 1e-8)


def test_a_link_is_read_by_its_own_name_and_only_once(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "0123").write_text('{"text": "in a line"}\n')
    (tmp_path / "snapshot").mkdir()
    for name in ("train.JSONL", "again.jsonl"):
        (tmp_path / "snapshot" / name).symlink_to(tmp_path / "blobs" / "0123")
    (file,) = training_files([tmp_path / "snapshot"])
    assert read(file.path) == ["in a line"]


def test_an_exceeded_bound_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.txt").write_text(ngrams.random_text(20_000))
    monkeypatch.setattr(estimate, "expected_words", lambda paths: 5_000)
    monkeypatch.setattr(index, "CHECKED", 20_000)
    row = report.overlap("ptb", [tmp_path / "a.txt"], DATA, out=tmp_path / "out", bound=1e-3)[0]
    assert 0.01 < float(str(row["false_positives"])) < 1
    assert ", not 0.001: the files have more 8-grams than estimated" in caplog.text


# -- shares ----------------------------------------------------------------------------------------


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def check_shares(name: str, text: Path, train: Sequence[Path], out: Path) -> None:
    """Compare all counts of a stream with Python sets."""
    known = {
        gram for path in train for gram in naive(path.read_text(encoding="utf-8", errors="replace"))
    }
    grams = naive(text.read_text(encoding="utf-8"))
    row = report.overlap(name, train, {name: text}, out=out)[0]
    assert (row["ngrams"], row["found"]) == (len(grams), sum(gram in known for gram in grams))
    assert (row["distinct"], row["distinct_found"]) == (len(set(grams)), len(set(grams) & known))
    blocks = rows_of(out / "overlap" / f"{name}.csv")
    assert sum(int(block["ngrams"]) for block in blocks) == len(grams)
    assert sum(int(block["found"]) for block in blocks) == row["found"]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("wikitext2", "wikitext-2/wiki.valid.tokens"),
        ("wikitext103", "wikitext-103/wiki.valid.tokens"),
        ("ptb", "ptb/ptb.valid.txt"),
    ],
)
def test_shares_of_real_text_match_python_sets(
    name: str, file: str, development_data: Path, tmp_path: Path
) -> None:
    """The training text is books, the other columns, and the second half of the text itself."""
    text = development_data / file
    half = tmp_path / "half.txt"
    half.write_bytes(text.read_bytes()[text.stat().st_size // 2 :])
    others = [
        development_data / "ptb/ptb.valid.txt",
        development_data / "wikitext-2/wiki.valid.tokens",
    ]
    books = sorted((development_data / "books").glob("a*.txt"))
    check_shares(
        name, text, [half, *books, *(other for other in others if other != text)], tmp_path / "out"
    )


def test_shares_are_counted_per_record(tmp_path: Path) -> None:
    """Each line is a record; no 8-gram spans two."""
    passages = [json.loads(line)["text"] for line in DATA["lambada"].read_text().splitlines()]
    train = tmp_path / "train.jsonl"
    train.write_text(
        "".join(
            json.dumps({"text": passage[: 20 * i]}) + "\n" for i, passage in enumerate(passages)
        )
    )
    known = {gram for i, passage in enumerate(passages) for gram in naive(passage[: 20 * i])}
    row = report.overlap("lambada", [train], DATA, out=tmp_path)[0]
    items = rows_of(tmp_path / "overlap" / "lambada.csv")
    matches = [sum(gram in known for gram in naive(passage)) for passage in passages]
    assert [(int(item["ngrams"]), int(item["found"])) for item in items] == [
        (len(naive(passage)), count) for passage, count in zip(passages, matches, strict=True)
    ]
    assert row["overlapping"] == sum(map(bool, matches))
    half = report.overlap("lambada", [train], DATA, out=tmp_path, above=0.5)[0]
    assert half["overlapping"] == sum(
        count > len(naive(text)) / 2 for count, text in zip(matches, passages, strict=True)
    )


def test_a_question_is_looked_up_with_its_answer(tmp_path: Path) -> None:
    record = corpus.load_corpus(loader.load_task("cbt_ne"), DATA["cbt_ne"]).records[0]
    train = tmp_path / "a.txt"
    train.write_text(record.text.replace("XXXXX", record.answer))
    report.overlap("cbt_ne", [train], DATA, out=tmp_path)
    item = rows_of(tmp_path / "overlap" / "cbt_ne.csv")[0]
    assert item["ngrams"] == item["found"] != "0"


# -- metrics without the overlapping records -------------------------------------------------------

MEASURED = ["lambada", "cbt_cn", "wikitext2", "wikitext2/lm_eval", "text8", "lm1b"]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    pipeline.evaluate("toy:unigram", MEASURED, data=DATA, out=folder)
    return folder


def values(rows: Sequence[dict[str, Any]], column: str) -> dict[str, Any]:
    return {f"{row['task']} {row['metric']}": row[column] for row in rows}


def test_without_overlap_the_metric_is_unchanged(out: Path, tmp_path: Path) -> None:
    nothing = tmp_path / "a.txt"
    nothing.write_text("zq " * 50)
    rows = report.overlap(MEASURED, [nothing], DATA, out=out)
    results = store.read_results(out)
    expected = {f"{r.full_name} {m.name}": m.value for r in results for m in r.metrics.values()}
    assert values(rows, "value") == values(rows, "value_without") == expected
    assert len(expected) > len(MEASURED)


@pytest.mark.parametrize("name", ["lambada", "cbt_cn", "lm1b"])
def test_one_retained_record_gives_the_metric_of_that_record(
    out: Path, tmp_path: Path, name: str
) -> None:
    records = corpus.load_corpus(loader.load_task(name), DATA[name]).records
    train = tmp_path / "a.jsonl"
    texts = [record.text.replace("XXXXX", record.answer) for record in records[1:]]
    first_grams = set(naive(records[0].text.replace("XXXXX", records[0].answer)))
    texts = [text for text in texts if not first_grams & set(naive(text))]
    train.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    rows = report.overlap(name, [train], DATA, out=out)
    alone = pipeline.evaluate("toy:unigram", [name], data=DATA, settings=Settings(limit=1))[0]
    short = sum(len(naive(record.text)) == 0 for record in records[1:])
    if rows[0]["left"] == 1:
        expected = {m.name: m.value for m in alone.metrics.values()}
        assert {row["metric"]: row["value_without"] for row in rows} == pytest.approx(
            expected, rel=1e-12
        )
    else:
        assert name != "lambada"
        assert rows[0]["left"] == 1 + short + len(records) - 1 - len(texts)


def test_metrics_without_overlap_are_sums_over_the_retained(out: Path) -> None:
    """Check every metric on the retained tallies; it is None where none is retained."""
    random_ = random.Random(3)
    for result in store.read_results(out):
        path = store.result_folder(out, "toy:unigram", result.full_name) / "result.json"
        task = loader.load_task(result.full_name)
        groups = remeasure.read_groups(
            path, result, blocks=task.format == "stream" and task.ask == "everything"
        )
        assert groups is not None
        retained = [group for group in groups if random_.random() < 0.3]
        flat = [tally for group in retained for tally in group]
        for measured in result.metrics.values():
            name = measured.name
            recomputed = remeasure.metric_without(name, groups, retained, task.unit, "m")
            # Tallies do not say which articles they belong to, so intervals may differ.
            again = recomputed.metric
            assert (again.name, again.value, again.unit, again.units) == (
                name,
                measured.value,
                measured.unit,
                measured.units,
            )
            assert recomputed.retained == len(retained)
            assert recomputed.value_without == metrics.measure(name, flat, task.unit).value
            assert remeasure.metric_without(name, groups, [], task.unit, "m").value_without is None
            if name == "acc_unfiltered":
                assert recomputed.value_without == 100 * sum(t.unfiltered for t in flat) / sum(
                    t.records for t in flat
                )


def test_the_limit_of_a_run_is_respected(tmp_path: Path) -> None:
    for name in ("wikitext2", "lambada"):
        result = pipeline.evaluate(
            "toy:unigram", [name], data=DATA, out=tmp_path, settings=Settings(limit=7)
        )[0]
        row = report.overlap(name, [DATA["ptb"]], DATA, out=tmp_path)[0]
        assert row["value"] == result.primary.value
        assert row["left"] == {"wikitext2": 4, "lambada": 7}[name], (
            "seven lines are four blocks of complete lines"
        )


@pytest.mark.parametrize("change", ["corrupt", "missing", "another run", "other data"])
def test_an_unsuitable_result_is_skipped_with_a_notice(
    tmp_path: Path, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The same run restores the tallies without scoring anything."""
    pipeline.evaluate("toy:unigram", ["lambada"], data=DATA, out=tmp_path)
    path = next(tmp_path.rglob("*.tallies"))
    message = "no tallies in its journal; repeat its 'gpt2eval run' to write them"
    if change == "corrupt":
        content = bytearray(path.read_bytes())
        content[-3] ^= 1
        path.write_bytes(content)
    elif change == "missing":
        path.unlink()
    elif change == "another run":
        run_journal = journal.of_folder(path.parent)
        assert run_journal
        run_journal.files.write_tallies([Tally(nats=1.0, units=Units(1), records=1)])
    else:
        result = path.parents[1] / "result.json"
        content = json.loads(result.read_text())
        content["data"]["sha256"] = "0" * 64
        del content["sha256"]  # as in results of 0.1.0, which have no checksum
        files.write_atomic(result, json.dumps(content).encode())
        message = "data checksum 00000000, expected"
    rows = report.overlap("lambada", [DATA["ptb"]], DATA, out=tmp_path)
    assert [row["model"] for row in rows] == [None]
    assert message in caplog.text
    before = {unit: unit.stat().st_mtime_ns for unit in tmp_path.rglob("*.safetensors")}
    pipeline.evaluate("toy:unigram", ["lambada"], data=DATA, out=tmp_path)
    assert {unit: unit.stat().st_mtime_ns for unit in tmp_path.rglob("*.safetensors")} == before
    assert report.overlap("lambada", [DATA["ptb"]], DATA, out=tmp_path)[0]["model"] == "toy:unigram"


counts = st.integers(0, 2**40)


@given(
    st.lists(
        st.builds(Tally, st.floats(0, 1e9), counts, st.builds(Units, *[counts] * 6), *[counts] * 7),
        min_size=1,
    )
)
def test_tallies_survive_the_round_trip(tallies: list[Tally]) -> None:
    names = tally_columns._flat(tallies[0])
    assert [tally_columns._tally(tally_columns._flat(tally)) for tally in tallies] == tallies
    assert len(names) == 15


# -- the command -----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["markdown", "csv", "json", "latex"])
def test_the_command_takes_several_files_after_one_option(
    out: Path, form: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    command = [
        "overlap",
        "--train",
        str(DATA["ptb"]),
        str(DATA["text8"]),
        "--tasks",
        "text8,lambada",
        "--data",
        "demo",
    ]
    if form == "json":
        monkeypatch.undo()
    ended = CliRunner().invoke(
        app, [*command, "--out", str(out), "--format", form], catch_exceptions=False
    )
    assert ended.exit_code == 0
    if form == "json":
        rows = json.loads(ended.stdout)
        assert [(row["task"], row["share_%"], row["value_without"]) for row in rows[:1]] == [
            ("text8", 100, None)
        ]
        assert {row["task"]: row["overlapping"] for row in rows} == {"text8": 200, "lambada": 0}
        assert "0 of 1,000,000 random 8-grams match" in caplog.text


def test_an_unknown_format_is_reported_before_reading() -> None:
    ended = CliRunner().invoke(app, ["overlap", "--train", "x", "--format", "xls"])
    assert isinstance(ended.exception, UsageError)
    assert "unknown format 'xls'" in str(ended.exception)
