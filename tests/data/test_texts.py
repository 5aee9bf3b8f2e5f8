"""Local texts and documents: every storage form, equal numbers for equal texts, errors."""

import bz2
import csv
import gzip
import json
import lzma
import math
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from conftest import Run
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from gpt2eval import demo, pipeline
from gpt2eval.config import catalog, loader
from gpt2eval.data import corpus, custom, documents, records
from gpt2eval.errors import UsageError
from gpt2eval.metrics.result import Result
from gpt2eval.models import registry
from gpt2eval.pipeline import Settings, evaluate
from gpt2eval.planning import jobs
from gpt2eval.planning.task_plan import prepare
from gpt2eval.report import store
from gpt2eval.report.notes import notes
from gpt2eval.settings import Worker
from gpt2eval.text.detokenizer import RoundTrip
from gpt2eval.types import Encoding, Model, Request, TokenScores

UNIFORM = "toy:uniform-bytes"
PLAIN = "Once upon a time\nthere wäs a cat.\n\nIt slept"
DOCUMENTS = [
    "Ein Wörtchen\r\nund noch eins.\n",
    "",
    "zwei drei \u2028 vier",
    "x" * 100,
    '"{}" \\ \0',
]


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def jsonl(path: Path, documents: Sequence[str], key: str = "text", **columns: Any) -> Path:
    return write(
        path,
        "".join(json.dumps({"id": n, key: d} | columns) + "\n" for n, d in enumerate(documents)),
    )


def one(*given: str | Path | custom.Text, model: str | Model = UNIFORM, **arguments: Any) -> Result:
    (result,) = evaluate(model, texts=given, **arguments)
    return result


def numbers(result: Result) -> dict[str, float]:
    return {measured.name: measured.value for measured in result.metrics.values()}


class Watched:
    """A toy model that records its requests."""

    def __init__(self, *, lossy: bool = False) -> None:
        self.model: Model = registry.load_model("toy:unigram")
        self.context = 1024
        self.start = self.model.start
        self.identity = self.model.identity
        self.requests: list[Request] = []
        self.lossy = lossy

    def encode(self, text: str) -> Encoding:
        return self.model.encode(text)._replace(lossy=self.lossy)

    def score(self, batch: Sequence[Request]) -> TokenScores:
        self.requests += batch
        return self.model.score(batch)


# -- numbers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [PLAIN, "ein Wort", "a\n" * 5000, "\n\n ok \n", "猫" * 700])
def test_uniform_bytes_match_the_closed_form(tmp_path: Path, content: str) -> None:
    path, size = write(tmp_path / "a.txt", content), len(content.encode())
    word, byte, char = (one(custom.load_text(path, unit)) for unit in ("word", "byte", "char"))
    assert numbers(byte)["bpb"] == pytest.approx(8, rel=1e-14)
    assert numbers(char)["bpc"] == pytest.approx(8 * size / len(content), rel=1e-14)
    expected = (
        256 ** (size / len(content.split())) if size / len(content.split()) < 125 else math.inf
    )
    assert numbers(word)["ppl"] == pytest.approx(expected, rel=1e-12)
    assert [numbers(r)["nats_per_token"] for r in (word, byte, char)] == [
        pytest.approx(math.log(256))
    ] * 3
    assert len({r.nll_sha256 for r in (word, byte, char)}) == 1


TASK = """\
title: Mine
citation: me
licence: MIT
version: 1
source: {file: {name: mine.txt}}
format: stream
ends: anywhere
ask: everything
unit: word
metrics: [ppl, nats_per_token]
"""


@pytest.mark.parametrize("detokenizer", [None, "ptb+question"])
def test_a_text_scores_as_an_equivalent_task_file(tmp_path: Path, detokenizer: str | None) -> None:
    write(
        tmp_path / "tasks" / "mine.yaml",
        TASK + (f"detokenizer: {detokenizer}\n" if detokenizer else ""),
    )
    path = write(tmp_path / "mine.txt", " the <unk> did n't sleep \n no it did N times")
    by_file = evaluate("demo", ["mine"], data={"mine": path}, include=[tmp_path])[0]
    by_text = one(custom.load_text(path, "word", detokenizer), model="demo")
    assert (by_text.nll_sha256, numbers(by_text)) == (by_file.nll_sha256, numbers(by_file))
    assert (by_text.data, by_text.detokenizer) == (by_file.data, by_file.detokenizer)
    signatures = [
        [m.signature.partition("|")[2] for m in result.metrics.values()]
        for result in (by_text, by_file)
    ]
    assert signatures[0] == signatures[1]


def every_way(folder: Path) -> list[str]:
    """Write the same documents in every storage form; plain files allow no CR and no NUL."""
    documents = [d.replace("\r", "").replace("\0", "") for d in DOCUMENTS]
    for number, document in enumerate(documents):
        write(folder / "folder" / f"{number}.txt", document)
    lines = jsonl(folder / "a.jsonl", documents, "body", length=3)
    write(folder / "a.jsonl.gz", gzip.compress(lines.read_bytes()))
    write(
        folder / "unnamed",
        "".join(json.dumps({"meta": {"body": d}}) + "\n" for d in documents).removesuffix("\n"),
    )
    table = pyarrow.table(
        {"n": range(len(documents)), "body": documents, "meta": [{"body": d} for d in documents]}
    )
    parquet.write_table(table, folder / "a.parquet", row_group_size=2)
    write(folder / "rows", (folder / "a.parquet").read_bytes())
    return [
        f"{folder}/folder",
        f"{folder}/a.jsonl:body",
        f"jsonl:body:{folder}/a.jsonl",
        f"{folder}/a.jsonl.gz:body",
        f"jsonl:meta.body:{folder}/unnamed",
        f"{folder}/a.parquet:body",
        f"{folder}/a.parquet:meta.body",
        f"parquet:body:{folder}/rows",
    ]


def test_every_storage_form_gives_the_same_text(tmp_path: Path) -> None:
    loaded = [custom.load_text(text) for text in every_way(tmp_path)]
    assert len({text.content for text in loaded}) == 1
    results = [one(text, model="toy:unigram") for text in (loaded[0], loaded[1], loaded[5])]
    assert (
        len({(r.nll_sha256, r.data.sha256, r.tally.records, *numbers(r).values()) for r in results})
        == 1
    )
    assert results[0].data.sha256 == sha256(loaded[0].content).hexdigest()


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5).filter(any)
)
def test_serialized_documents_parse_back(documents: list[str]) -> None:
    content = custom.serialize_documents(documents)
    read = records.parse_corpus(loader.load_task("webtext"), content, "here")
    assert [(r.index, r.text) for r in read.records] == list(enumerate(documents))
    assert custom.serialize_documents(r.text for r in read.records) == content


def test_a_folder_is_read_in_path_order_without_hidden_files(tmp_path: Path) -> None:
    for name in ("b/1", "a", "b.txt", ".hidden", "b/.git/x", "c/d/e", "B"):
        write(tmp_path / "f" / name, f"this is {name}")
    read = custom.load_text(tmp_path / "f").read()
    assert [record.text.removeprefix("this is ") for record in read.records] == [
        "B",
        "a",
        "b.txt",
        "b/1",
        "c/d/e",
    ]


def test_a_plain_text_is_never_changed(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbfna\xefve\r\n\0caf\xc3\xa9"
    path = write(tmp_path / "a.txt", content)
    result = one(custom.load_text(path, "byte"))
    assert (result.tally.units.bytes, result.data.sha256) == (
        len(content),
        sha256(content).hexdigest(),
    )
    assert custom.load_text(write(tmp_path / "b.txt", PLAIN)).content == PLAIN.encode()
    compressed = {".bz2": bz2.compress, ".xz": lzma.compress}
    compressed[".zst"] = lambda data: pyarrow.Codec("zstd").compress(data, asbytes=True)
    for suffix, compress in compressed.items():
        file = write(tmp_path / f"c.txt{suffix}", compress(PLAIN.encode()))
        assert custom.load_text(file).content == PLAIN.encode()
        lines = write(tmp_path / f"c.jsonl{suffix}", compress(b'{"text": "a b"}\n'))
        assert custom.load_text(f"{lines}:text").content == b'{"text": "a b"}\n'
    assert (
        custom.load_text(write(tmp_path / "b.txt.gz", gzip.compress(PLAIN.encode()))).content
        == PLAIN.encode()
    )


# -- documents -------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [None, 7])
def test_documents_are_independent_and_each_token_is_scored_once(
    tmp_path: Path, stride: int | None
) -> None:
    path, model = jsonl(tmp_path / "a.jsonl", DOCUMENTS), Watched()
    result = one(f"{path}:text", model=model, settings=Settings(context=16, stride=stride))
    sizes = [len(d.encode()) for d in DOCUMENTS]
    assert (
        sum(len(branch) for request in model.requests for branch in request.branches)
        == sum(sizes)
        == result.tally.tokens
    )
    assert (result.tally.unscored, result.tally.records) == (0, len(DOCUMENTS))
    beginnings = sorted(
        bytes(r.branches[0].tolist()) for r in model.requests if r.prefix.tolist() == [model.start]
    )
    assert beginnings == sorted(d.encode()[:16] for d in DOCUMENTS if d)


def test_documents_csv_adds_up_to_the_totals(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", DOCUMENTS)
    result = one(f"{path}:text", model="demo", out=tmp_path / "out")
    (file,) = tmp_path.rglob("documents.csv")
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert list(rows[0]) == [
        "record",
        "tokens",
        "words",
        "bytes",
        "chars",
        "nats",
        "ppl",
        "bpb",
        "reason",
    ]
    assert file.parent == tmp_path / "out" / "demo" / result.full_name
    assert [row["record"] for row in rows] == ["0", "1", "2", "3", "4"]
    units = result.tally.units
    summed = [sum(int(row[name]) for row in rows) for name in ("tokens", "words", "bytes", "chars")]
    assert summed == [result.tally.tokens, units.words, units.bytes, units.chars]
    assert math.fsum(float(row["nats"]) for row in rows) == pytest.approx(
        result.tally.nats, rel=1e-14
    )
    assert [int(row["bytes"]) for row in rows] == [len(d.encode()) for d in DOCUMENTS]
    assert (rows[1]["nats"], rows[1]["ppl"], rows[1]["bpb"]) == ("0.0", "", "")
    for row in (row for row in rows if row["ppl"]):
        nats = float(row["nats"])
        assert float(row["ppl"]) == pytest.approx(math.exp(nats / int(row["tokens"])))
        assert float(row["bpb"]) == pytest.approx(nats / math.log(2) / int(row["bytes"]))


def test_intervals_resample_complete_documents(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [f"{'aber ' * n}\n" * 50 for n in range(1, 9)])
    result = one(f"{path}:text", model="toy:unigram")
    read = loader.load_task("webtext"), custom.load_text(f"{path}:text").read()
    measurement = pipeline.measure(registry.load_model("toy:unigram"), *read)
    assert measurement is not None
    assert [part.units.lines for part in measurement.parts] == [50] * 8
    assert measurement.result.nll_sha256 == result.nll_sha256


def test_many_documents_cost_linear_time_and_little_memory(tmp_path: Path) -> None:
    def cost(count: int) -> tuple[int, int]:
        """Return the parts that are scored, and the peak memory of preparing them."""
        path = jsonl(tmp_path / f"{count}.jsonl", ["one line of six words here"] * count)
        text = custom.load_text(f"{path}:text")
        records = text.read().records
        tracemalloc.start()
        passages = prepare(text.task, records, None, RoundTrip())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return sum(len(passage.parts) for passage in passages), peak

    few, many = cost(200), cost(800)
    assert (few[0], many[0]) == (200, 800)
    # Four times as many; work that grows with the square would take 16 times as much.
    assert many[1] < 6 * few[1]
    assert few[1] < 200 * 2000  # 2 kB for each document


def test_the_unit_of_an_interval_is_the_document(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [f"{'aber ' * n}nie\n" * 5 for n in range(1, 41)])
    metric = one(f"{path}:text", model="toy:unigram").primary
    assert (metric.resampled, metric.resampled_units) == ("document", 40)
    assert metric.interval
    assert not metric.why_no_interval


def test_the_unit_of_an_interval_is_the_article_of_a_text(tmp_path: Path) -> None:
    for count, reason in ((35, ""), (12, "12 articles; no interval can be trusted below 30")):
        words = [f"word{n * n % 17} " * (n % 5 + 3) for n in range(count)]
        text = "".join(f" = Title {n} = \n\n{line}\n" for n, line in enumerate(words))
        (tmp_path / "a.txt").write_text(text, encoding="utf-8")
        result = one(tmp_path / "a.txt", model="toy:unigram")
        assert (result.primary.resampled, result.primary.resampled_units) == ("article", count)
        assert (result.primary.interval is None, result.primary.why_no_interval) == (
            bool(reason),
            reason,
        )
        assert (f"{result.full_name}: {reason}" in notes([result])) == bool(reason)


def test_bits_per_byte_require_tokens_that_tile_the_bytes(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", DOCUMENTS)
    one(f"{path}:text", model=Watched(lossy=True), out=tmp_path / "out")
    (file,) = tmp_path.rglob("documents.csv")
    assert {row["bpb"] for row in csv.DictReader(file.read_text().splitlines())} == {""}
    with pytest.raises(
        UsageError, match=r"^task webtext: the model's tokens do not tile the text's bytes"
    ):
        evaluate(Watched(lossy=True), ["webtext"], data={"webtext": path})


def test_a_repeated_run_scores_nothing_and_shards_add_up(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [f"{n} {PLAIN * 40}" for n in range(90)])
    alone = Watched()
    again = Watched()
    first = one(f"{path}:text", model=alone, out=tmp_path / "out")
    assert one(f"{path}:text", model=again, out=tmp_path / "out") == first
    assert (len(alone.requests) > 90, again.requests) == (True, [])
    workers = [Settings(worker=Worker(rank, 2)) for rank in (0, 1)]
    results = [
        evaluate(Watched(), texts=[f"{path}:text"], out=tmp_path / "two", settings=s)
        for s in workers
    ]
    assert [[r.nll_sha256 for r in part] for part in results] == [[], [first.nll_sha256]]
    limited = one(f"{path}:text", model=Watched(), settings=Settings(limit=2))
    assert (limited.tally.records, "|limit:2|" in limited.signature) == (2, True)


# -- WebText ---------------------------------------------------------------------------------------


def test_webtext_and_its_samples_share_one_protocol() -> None:
    task = loader.load_task("webtext")
    assert len(task.variants) == 8
    for name in ("webtext", *(f"webtext/{variant}" for variant in task.variants)):
        variant = loader.load_task(name)
        file = f"{variant.variant or 'webtext'}.test.jsonl"
        assert variant.source.archive is not None
        assert (
            variant.source.file.name,
            variant.source.archive.url.rpartition("/")[2],
            variant.expect.records,
        ) == (file, file, 5000)
        assert (variant.format, variant.unit, variant.metrics) == (
            "documents",
            "token",
            ("ppl", "bpb", "byte_ppl", "nats_per_token"),
        )
    columns = loader.load_suite("webtext-samples").columns
    assert [(c.task, c.metric) for c in columns] == [
        (name, metric)
        for name in ("webtext", *(f"webtext/{v}" for v in task.variants))
        for metric in ("ppl", "bpb")
    ]
    assert len({column.title for column in columns}) == 18
    assert set(catalog.files("tasks")) & set(catalog.files("tasks/suites")) == set()


def test_webtext_reads_its_documents(development_data: Path) -> None:
    path = development_data / "webtext" / "webtext.valid.head63.jsonl"
    result = evaluate(UNIFORM, ["webtext"], data={"webtext": path})[0]
    documents = [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]
    assert (result.tally.records, result.tally.units.bytes) == (
        len(documents),
        sum(len(d.encode()) for d in documents),
    )
    assert numbers(result) == pytest.approx(
        {"ppl": 256, "bpb": 8, "byte_ppl": 256, "nats_per_token": math.log(256)}
    )
    assert "|data:" in result.signature
    assert "!|ask:everything|records:documents|detok:none|unit:token@" in result.signature
    assert one(f"{path}:text").nll_sha256 == result.nll_sha256


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            '{"text": "a"}\n{"txt": "b"}\n',
            'line 2: expected {"text": "..."}, found \'{"txt": "b"}\'',
        ),
        ('{"text": "a"}\n\n', 'line 2: expected {"text": "..."}, found \'\''),
        ('{"text": "a"}\n{"text": 3}\n', 'line 2: expected {"text": "..."}, found'),
        ('{"text": "a"}\n{"text": "\\ud800"}\n', 'line 2: expected {"text": "..."}, found'),
        ("[" * 100_000 + "\n", 'line 1: expected {"text": "..."}, found'),
        ('{"text": ""}\n{"text": ""}\n', "every document is empty; expected text"),
        ('{"text": "a"}\n{"te', "line 2: no line ending; truncated?"),
    ],
)
def test_a_corrupt_document_is_a_one_line_error(
    tmp_path: Path, content: str, expected: str
) -> None:
    path = write(tmp_path / "a.jsonl", content)
    with pytest.raises(UsageError) as caught:
        corpus.load_corpus(loader.load_task("webtext"), path)
    assert str(caught.value).startswith(f"{path}: {expected}")


# -- names -----------------------------------------------------------------------------------------


def test_different_texts_have_different_names(tmp_path: Path) -> None:
    a, b, c = (
        write(tmp_path / n / "x.txt", content)
        for n, content in (("a", " one "), ("b", "two"), ("c", " one "))
    )
    one, two = (sha256(text).hexdigest()[:8] for text in (b" one ", b"two"))
    for text in (a, b, c, custom.load_text(a, "byte"), custom.load_text(a, "word+eol", "ptb+one")):
        evaluate(UNIFORM, texts=[text], out=tmp_path / "out")
    names = {result.full_name for result in store.read_results(tmp_path / "out")}
    assert names == {
        f"text/x.txt-{n}" for n in (one, two, f"byte-{one}", f"word+eol-ptb+one-{one}")
    }
    assert len(evaluate(UNIFORM, texts=[a, b, a, c])) == 2, "the same text is scored once"
    assert [result.full_name for result in evaluate(UNIFORM, texts=str(a))] == [f"text/x.txt-{one}"]


def test_the_word_eol_unit_equals_the_unit_of_the_task() -> None:
    path = demo.data()["wikitext2"]
    by_task = evaluate(UNIFORM, ["wikitext2"], data={"wikitext2": path})[0].primary
    by_text = one(custom.load_text(path, "word+eol", "wikitext")).primary
    assert replace(by_text, signature=by_task.signature) == by_task


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("a b|c%.txt", "a-b-c-.txt"),
        ("result.json", "result.json"),
        ("journal", "journal"),
        ("..a", "a"),
        ("çà 猫.txt", "çà-猫.txt"),
        ("'\"'", "text"),
        ("n" * 200, "n" * 60),
        ("a:b.txt", "a-b.txt"),
        ("jsonl:text:x.txt", "jsonl-text-x.txt"),
    ],
)
def test_the_name_of_a_text_is_a_valid_folder_name(tmp_path: Path, name: str, variant: str) -> None:
    path = write(tmp_path / name, "some words\n")
    first, result = (one(path, out=tmp_path / "out") for _ in range(2))
    assert first == result
    variant = f"{variant}-{sha256(b'some words' + bytes([10])).hexdigest()[:8]}"
    assert result.full_name == f"text/{variant}"
    assert list(store.read_results(tmp_path / "out")) == [result]
    assert (tmp_path / "out" / "toy-uniform-bytes" / "text" / variant / "result.json").is_file()


def test_relative_folders_are_named_after_their_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "books" / "one.txt", "a text\n")
    write(tmp_path / "books" / "sub" / "two.txt", "a text\n")
    monkeypatch.chdir(tmp_path / "books")
    assert custom.load_text(".").task.full_name.startswith("text/books-")
    monkeypatch.chdir(tmp_path / "books" / "sub")
    assert custom.load_text("..").task.full_name.startswith("text/books-")


# -- the command line ------------------------------------------------------------------------------


@pytest.fixture
def gpt2eval(gpt2eval: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run the command in `tmp_path`."""
    monkeypatch.chdir(tmp_path)
    return gpt2eval


def test_run_prints_the_metrics_and_signatures_of_a_text(gpt2eval: Run, tmp_path: Path) -> None:
    write(tmp_path / "my.txt", "one two\n")
    alone = gpt2eval("run", "--model", UNIFORM, "--text", "my.txt", "--unit", "byte")
    assert (alone.code, alone.out.splitlines()[0].split("|")[2].strip()) == (
        0,
        "text/my.txt-byte-2dbb4a50 bpb",
    )
    assert "| toy:uniform-bytes | 8.000! " in alone.out
    assert (
        "\ntext/my.txt-byte-2dbb4a50 bpb, toy:uniform-bytes: 8.0000 "
        "task:text/my.txt-byte-2dbb4a50|data:" in alone.out
    )
    assert "|unit:byte@8|" in alone.out
    again = gpt2eval("table", "results")
    assert again.out == alone.out
    both = gpt2eval(
        "run",
        "--model",
        UNIFORM,
        "--text",
        "my.txt",
        "--tasks",
        "text8",
        "--data",
        "demo",
        "--limit",
        "1",
    )
    assert [c.strip() for c in both.out.splitlines()[0].split("|")[2:-1]] == [
        "text8 BPC",
        "text/my.txt-2dbb4a50 ppl",
        "text/my.txt-2dbb4a50 nats_per_token",
    ]
    rows = list(csv.DictReader((tmp_path / "results" / "results.csv").read_text().splitlines()))
    named = {("text", "my.txt-2dbb4a50"), ("text", "my.txt-byte-2dbb4a50"), ("text8", "")}
    assert {(row["task"], row["variant"]) for row in rows} == named
    shard = gpt2eval(
        "run", "--model", UNIFORM, "--text", "my.txt", "--shard", "2/2", "--out", "other"
    )
    assert (shard.code, shard.out) == (0, "")
    assert "chunks missing: 0; they belong to shard 1/2" in shard.err


def test_rerun_and_diff_of_a_texts_signature(gpt2eval: Run, tmp_path: Path) -> None:
    write(tmp_path / "my.txt", "one two\n")
    gpt2eval("run", "--model", UNIFORM, "--text", "my.txt")
    (result,) = store.read_results(tmp_path / "results")
    signature = result.signature
    ended = gpt2eval("rerun", signature)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert (
        "signature: task: text/my.txt-2dbb4a50 is a custom text; expected gpt2eval run --text"
        in ended.err
    )
    assert gpt2eval("diff", signature, "results").out == "comparable: yes, one protocol\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--text nothing", f"--text nothing: no such file or folder; {documents.FORMS}"),
        ("--text my.txt:text", "--text my.txt:text: no such file or folder; expected FILE, DIR,"),
        ("--text a.jsonl", "--text a.jsonl: no key given; expected a.jsonl:KEY"),
        ("--text a.parquet", "--text a.parquet: no key given; expected a.parquet:COLUMN"),
        ("--text a.jsonl:", "--text a.jsonl:: no such file or folder"),
        ("--text jsonl:text", "--text jsonl:text: no such file or folder"),
        ("--text jsonl::a.jsonl", "--text jsonl::a.jsonl: no such file or folder"),
        ("--text jsonl:text:nothing", "--text jsonl:text:nothing: no such file or folder"),
        ("--text parquet:text:folder", "no such file or folder"),
        ("--text " + "n" * 5000, "no such file or folder"),
        ("--text a.jsonl:txt", 'a.jsonl: line 1: expected {"txt": "..."}, found'),
        ("--text a.jsonl:id", 'a.jsonl: line 1: expected {"id": "..."}, found'),
        ("--text a.jsonl:text.x", 'a.jsonl: line 1: expected {"text.x": "..."}, found'),
        ("--text a.parquet:txt", "a.parquet: expected a column 'txt', found 'text', 'n'"),
        ("--text a.parquet:n", "a.parquet: row 1: expected text in column n, found 7"),
        ("--text a.parquet:holes", "a.parquet: row 2: expected text in column holes, found None"),
        ("--text a.parquet:text.x", "a.parquet: "),
        ("--text parquet:text:my.txt", "my.txt: cannot be read: "),
        ("--text parquet:text:a.jsonl", "a.jsonl: cannot be read: "),
        ("--text bare", "--text bare: contains no files (hidden files are ignored)"),
        (
            "--text folder",
            "--text folder: folder/b.jsonl: contains several texts; "
            "give it separately as folder/b.jsonl:KEY",
        ),
        ("--text latin", "latin/a.txt: line 1: byte 0xef is not UTF-8"),
        ("--text latin/a.txt", "latin/a.txt: line 1: byte 0xef is not UTF-8"),
        ("--text crlf.txt", "crlf.txt: line 1: CRLF line endings"),
        ("--text bom.txt", "bom.txt: line 1: begins with a byte-order mark"),
        ("--text binary", "binary: line 1: binary; expected plain UTF-8 text"),
        ("--text empty.txt", "empty.txt: empty; expected"),
        ("--text empty.jsonl:text", 'empty.jsonl: line 1: expected {"text": "..."}, found \'\''),
        (
            "--text hollow.jsonl:text",
            "hollow.jsonl:text: every document is empty; expected text",
        ),
        ("--text damaged.gz", "damaged.gz: cannot be read: "),
        ("--text my.txt --unit wrod", "unknown unit 'wrod'; did you mean 'word'?"),
        ("--text my.txt --detokenizer ptbb", "unknown detokenizer 'ptbb'; did you mean 'ptb'?"),
        ("--text my.txt --detokenizer ptb+x", "unknown option of detokenizer ptb 'x'"),
        (
            "--text my.txt --strict-data",
            "my.txt: checksum mismatch: not the published my.txt (--strict-data)",
        ),
        ("--unit byte", "--unit byte: applies to --text only; expected a --text"),
        (
            "--tasks ptb --data demo --detokenizer ptb",
            "--detokenizer ptb: applies to --text only",
        ),
        ("--text blank.jsonl:text", "--text blank.jsonl:text: contains no words; expected text"),
    ],
)
def test_text_errors(gpt2eval: Run, tmp_path: Path, arguments: str, expected: str) -> None:
    write(tmp_path / "my.txt", "one two\n")
    jsonl(tmp_path / "a.jsonl", ["one", "two"])
    jsonl(tmp_path / "folder" / "b.jsonl", ["one"])
    parquet.write_table(
        pyarrow.table({"text": ["a", "b"], "n": [7, 8], "holes": ["a", None]}),
        tmp_path / "a.parquet",
    )
    write(tmp_path / "bare" / ".hidden", "x")
    write(tmp_path / "latin" / "a.txt", "na\u00efve".encode("latin-1"))
    write(tmp_path / "crlf.txt", "a\r\nb\r\n")
    write(tmp_path / "bom.txt", "\ufeffa\n")
    write(tmp_path / "binary", bytes(range(256)))
    write(tmp_path / "empty.txt", "")
    write(tmp_path / "empty.jsonl", "")
    jsonl(tmp_path / "hollow.jsonl", ["", ""])
    jsonl(tmp_path / "blank.jsonl", ["", " \n"])
    write(tmp_path / "damaged.gz", b"\x1f\x8b\x08" + bytes(40))
    ended = gpt2eval("run", "--model", UNIFORM, *arguments.split())
    assert (ended.code, ended.out) == (2, "")
    assert expected in ended.err.splitlines()[-1]
    assert ended.err.count("gpt2eval: ") == 1
    assert not list(tmp_path.rglob("result.json"))


def test_the_default_tasks_are_the_papers_unless_a_text_is_given() -> None:
    assert jobs.listed(None) == catalog.PAPER
    assert jobs.listed(None, ["a.txt"]) == ()
    assert jobs.listed("ptb", ["a.txt"]) == "ptb"
