"""Exported records, tokens and words: read back with each format's own reader, and summed."""

import csv
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import Run
from piece_model import CONTEXT, PieceModel
from pyarrow import parquet

from gpt2eval import demo, evaluate
from gpt2eval.analysis.export_rows import RowFiles, export_rows
from gpt2eval.analysis.published_texts import published_texts
from gpt2eval.errors import UsageError
from gpt2eval.report.measured import Measured, read_measured
from gpt2eval.report.row_files import merged, row_file

TASKS = ["wikitext2", "ptb", "lm1b", "lambada", "cbt_cn", "text8", "wikitext2/s32"]
LN2 = math.log(2)
Rows = list[dict[str, Any]]


def read(path: Path) -> Rows:
    """Return the rows of a file, by the reader of its format."""
    if path.suffix == ".parquet":
        return parquet.read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().split("\n") if line]
    with path.open(newline="") as file:
        return [*csv.DictReader(file)]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> list[Measured]:
    out = tmp_path_factory.mktemp("export")
    evaluate("toy:unigram", TASKS, data=demo.data(), out=out, limit=12)
    evaluate(PieceModel(), TASKS[:4], data=demo.data(), out=out, limit=12, context=CONTEXT)
    return read_measured(out)


@pytest.fixture(scope="module")
def tables(
    measured: list[Measured], tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Mapping[str, Rows]]:
    """The rows of every table, in every format."""
    out = tmp_path_factory.mktemp("tables")
    found: dict[str, dict[str, Rows]] = {}
    for suffix in ("csv", "jsonl", "parquet"):
        files = RowFiles(*(out / f"{name}.{suffix}" for name in RowFiles._fields))
        export_rows(measured, files)
        found[suffix] = {name: read(out / f"{name}.{suffix}") for name in RowFiles._fields}
    return found


def of(rows: Rows, one: Measured) -> Rows:
    names = (one.result.model.name, one.result.full_name)
    return [row for row in rows if (row["model"], row["task"]) == names]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_every_table_adds_up_to_the_results(
    measured: list[Measured], tables: Mapping[str, Mapping[str, Rows]], suffix: str
) -> None:
    for one in measured:
        tally = one.result.tally
        records = of(tables[suffix]["records"], one)
        assert len(records) == len(one.parts)
        assert math.fsum(float(row["nats"]) for row in records) == pytest.approx(tally.nats)
        for column, total in (
            ("tokens", tally.tokens),
            ("words", tally.units.words),
            ("bytes", tally.units.bytes),
            ("correct", tally.correct),
        ):
            assert sum(int(row[column]) for row in records) == total
        assert {row["signature"] for row in records} == {one.result.signature}
        tokens = [
            row for row in of(tables[suffix]["tokens"], one) if str(row["is_right"]) == "True"
        ]
        assert len(tokens) == tally.tokens
        words = of(tables[suffix]["words"], one)
        for rows in (tokens, words):
            total = math.fsum(float(row["nats"]) for row in rows)
            assert total == pytest.approx(tally.nats, rel=1e-7)
            bits = math.fsum(float(row["bits"]) for row in rows)
            assert bits * LN2 == pytest.approx(total)


def test_every_format_has_the_same_rows(tables: Mapping[str, Mapping[str, Rows]]) -> None:
    for name in RowFiles._fields:
        assert tables["jsonl"][name] == tables["parquet"][name]
        assert len(tables["csv"][name]) == len(tables["jsonl"][name])
        for ours, theirs in zip(tables["csv"][name], tables["jsonl"][name], strict=True):
            assert ours.keys() == theirs.keys()
            numbers = {k: v for k, v in theirs.items() if isinstance(v, float)}
            assert {key: float(ours[key]) for key in numbers} == numbers


def test_tokens_have_their_published_text(
    measured: list[Measured], tables: Mapping[str, Mapping[str, Rows]]
) -> None:
    for one in measured:
        texts = published_texts(one)
        rows = of(tables["jsonl"]["tokens"], one)
        table = one.tokens()
        assert [row["id"] for row in rows] == table.id.tolist()
        assert [row["is_greedy"] for row in rows] == table.is_greedy.tolist()
        for row in rows:
            piece = texts[row["record"], row["choice"]][row["begin"] : row["end"]]
            assert row["text"] == piece.decode()
        for rows_ in table.passages():
            numbers = [row["number"] for row in rows[rows_]]
            assert numbers == [*range(len(numbers))]


def test_words_are_those_of_the_published_text(
    measured: list[Measured], tables: Mapping[str, Mapping[str, Rows]]
) -> None:
    """Against a loop over the bytes of each word, with the white space before it."""
    for one in measured:
        texts = published_texts(one)
        tokens = one.tokens().select(one.tokens().is_right)
        bits: dict[tuple[int, int], float] = {}
        holders: dict[tuple[int, int], int] = {}
        held, record = 0.0, -1
        last: list[tuple[int, int]] = []
        for row in range(len(tokens)):
            if tokens.record[row] != record:
                held, record, last = 0.0, int(tokens.record[row]), []
            begin, end = int(tokens.begin[row]), int(tokens.end[row])
            held += -float(tokens.logprob[row]) * float(tokens.weight[row]) / LN2
            if begin < end:
                last = [(record, byte) for byte in range(begin, end)]
                holders.update(dict.fromkeys(last, row))
            for byte in last:
                bits[byte] = bits.get(byte, 0.0) + held / len(last)
            held *= not last
        choices = dict(zip(tokens.record.tolist(), tokens.choice.tolist(), strict=True))
        rows = of(tables["jsonl"]["words"], one)
        assert rows
        words: dict[int, tuple[list[str], list[int]]] = {}
        for record, choice in choices.items():
            text = texts[record, choice].decode()
            pieces = re.findall(r"\s*\S+|\s+\Z", text)
            ends = [0]
            for piece in pieces:
                ends.append(ends[-1] + len(piece.encode()))
            words[record] = ([piece.strip() for piece in pieces], ends)
        for row in rows:
            record = row["record"]
            spelled, ends = words[record]
            number = row["number"]
            low, high = ends[number], ends[number + 1]
            assert row["word"] == spelled[number]
            assert row["end"] == high
            assert row["begin"] == high - len(row["word"].encode())
            inside = [byte for byte in range(low, high) if (record, byte) in bits]
            assert row["bits"] == pytest.approx(sum(bits[record, byte] for byte in inside))
            mine = {holders[record, byte] for byte in inside}
            assert row["tokens"] == len(mine)
            shared = {
                holders[record, byte] for byte in (low - 1, high) if (record, byte) in holders
            }
            assert row["is_whole"] == (len(inside) == high - low and not shared & mine)


def test_the_pieces_of_a_model_cross_words(
    measured: list[Measured], tables: Mapping[str, Mapping[str, Rows]]
) -> None:
    flags: dict[str, set[bool]] = {}
    for row in tables["jsonl"]["words"]:
        flags.setdefault(row["model"], set()).add(row["is_whole"])
    assert flags["pieces"] == {True, False}


@pytest.mark.parametrize("variant", ["llama_cpp", "hf_docs"])
def test_words_between_scored_tokens_are_left_out(variant: str, tmp_path: Path) -> None:
    """These protocols leave the tokens at the beginning of each window unscored."""
    task = f"wikitext2/{variant}"
    evaluate("demo", task, data=demo.data(), out=tmp_path, limit=30, context=64, word_starts=True)
    (one,) = read_measured(tmp_path)
    path = tmp_path / "words.jsonl"
    export_rows([one], RowFiles(words=path), "demo")
    tokens = one.tokens()
    scored = {
        byte
        for begin, end in zip(tokens.begin.tolist(), tokens.end.tolist(), strict=True)
        for byte in range(begin, end)
    }
    rows = {row["number"]: row for row in read(path)}
    low, cut = 0, 0
    for number, word in enumerate(re.finditer(rb"\s*\S+", published_texts(one, "demo")[0, 0])):
        inside = [byte for byte in range(low, word.end()) if byte in scored]
        assert (number in rows) == bool(inside)
        if 0 < len(inside) < word.end() - low:
            assert not rows[number]["is_whole"]
            assert rows[number]["corrected_nats"] is None
            cut += 1
        low = word.end()
    assert cut
    assert math.fsum(row["nats"] for row in rows.values()) == pytest.approx(one.result.tally.nats)
    assert any(row["corrected_nats"] for row in rows.values())


def test_no_cell_starts_a_formula(tmp_path: Path) -> None:
    text = tmp_path / "sheet.txt"
    text.write_text('=1+1 @cmd +2 -3 plain\n\t=x "quoted", and\n' * 3)
    evaluate("toy:unigram", texts=text, out=tmp_path / "out")
    files = RowFiles(*(tmp_path / f"{name}.csv" for name in RowFiles._fields))
    export_rows(read_measured(tmp_path / "out"), files, texts=text)
    for path in files:
        assert path is not None
        for row in read(path):
            for value in row.values():
                assert not value.lstrip().startswith(("=", "+", "@")), row
                assert not value.lstrip().startswith("-") or float(value) < 0
    words = [row["word"] for row in read(tmp_path / "words.csv")]
    assert words[:5] == ["'=1+1", "'@cmd", "'+2", "'-3", "plain"]


def test_without_its_text_a_result_has_offsets_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = tmp_path / "mine.txt"
    text.write_text("one two\n" * 5)
    evaluate("toy:unigram", texts=text, out=tmp_path / "out")
    measured = read_measured(tmp_path / "out")
    tokens = tmp_path / "tokens.jsonl"
    export_rows(measured, RowFiles(tokens=tokens))
    assert caplog.text.count("its tokens are written with offsets and without text") == 1
    assert {row["text"] for row in read(tokens)} == {None}
    export_rows(measured, RowFiles(tokens=tokens), texts=text)
    assert "".join(row["text"] for row in read(tokens)) == text.read_text()
    with pytest.raises(UsageError, match="expected --text with the text that was measured"):
        export_rows(measured, RowFiles(words=tmp_path / "words.csv"))
    assert not (tmp_path / "words.csv").exists()


def test_wrong_files_are_one_line(measured: list[Measured], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--tokens .*x\.txt: expected a name that ends in \.csv"):
        export_rows(measured, RowFiles(tokens=tmp_path / "x.txt"))
    same = tmp_path / "x.csv"
    with pytest.raises(UsageError, match="one file named for two tables"):
        export_rows(measured, RowFiles(same, same))
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written: File exists"):
        export_rows(measured, RowFiles(tmp_path / "file" / "x.csv"))


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_text("before")

    def fails() -> None:
        with row_file(path) as table:
            table.write({"a": ["x", "y"]})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert path.read_text() == "before"
    assert [*tmp_path.iterdir()] == [path]


def test_small_batches_are_merged(measured: list[Measured]) -> None:
    import numpy as np

    batches = [{"m": "x", "n": np.arange(3), "t": ["a", None, "b"]} for _ in range(5)]
    found = [*merged(batches, rows=6)]
    assert [len(columns["n"]) for columns in found] == [6, 6, 3]
    assert found[0]["t"] == ["a", None, "b"] * 2
    assert all(columns["m"] == "x" for columns in found)
    assert [*merged([])] == []


def test_command(gpt2eval: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    evaluate("toy:unigram", "ptb", data=demo.data(), out=out, limit=3)
    words = tmp_path / "words.csv"
    done = gpt2eval("export", str(out), "--words", str(words))
    assert done.code == 0, done
    assert len(read(words)) > 10
    done = gpt2eval("export", str(out))
    assert done.code == 2
    assert "nothing to write; expected --records, --tokens, --words" in done.err
    done = gpt2eval("export", str(out), "--tokens", "x.xlsx")
    assert done.code == 2
    assert "--tokens x.xlsx: expected a name that ends in .csv, .jsonl, .parquet" in done.err
