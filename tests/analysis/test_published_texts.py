"""The published text of a result: found as a run finds it, checked, and tiled by the tokens."""

import re
from pathlib import Path

import pytest

from gpt2eval import demo, evaluate
from gpt2eval.analysis.published_texts import published_texts
from gpt2eval.data.custom import load_text
from gpt2eval.errors import UsageError
from gpt2eval.report.measured import Measured, read_measured

TASKS = ["wikitext2", "ptb", "lm1b", "lambada", "cbt_cn", "text8", "enwik8", "wikitext2/s32"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Measured]:
    out = tmp_path_factory.mktemp("texts")
    evaluate("toy:unigram", TASKS, data=demo.data(), out=out, limit=12)
    return {one.result.full_name: one for one in read_measured(out)}


@pytest.mark.parametrize("task", TASKS)
def test_every_passage_has_its_text(measured: dict[str, Measured], task: str) -> None:
    one = measured[task]
    texts = published_texts(one)
    tokens = one.tokens()
    rows = [tokens.select(rows) for rows in tokens.passages()]
    assert {(int(passage.record[0]), int(passage.choice[0])) for passage in rows} == {*texts}
    for passage in rows:
        text = texts[int(passage.record[0]), int(passage.choice[0])]
        assert passage.end[-1] == len(text)
        assert passage.begin[0] == 0 or task in ("lambada", "cbt_cn")
    if task not in ("lambada", "cbt_cn"):
        assert sum(map(len, texts.values())) == one.result.tally.units.bytes


def test_text_of_local_files_and_of_the_cache(
    measured: dict[str, Measured], tmp_path: Path
) -> None:
    one = measured["ptb"]
    expected = published_texts(one)
    assert published_texts(one, {"ptb": demo.data()["ptb"]}) == expected
    assert published_texts(one, "demo") == expected
    # A folder with other files only: the demo's records are still found.
    assert published_texts(one, {"text8": demo.data()["text8"]}, cache=tmp_path) == expected


def test_another_file_is_refused(measured: dict[str, Measured], tmp_path: Path) -> None:
    other = tmp_path / "ptb.txt"
    other.write_text(" another text of some words \n")
    with pytest.raises(UsageError, match=r"ptb: ptb.txt has the sha256 \w{8}, the result \w{8}"):
        published_texts(measured["ptb"], {"ptb": other})


def test_a_text_that_is_nowhere_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "ptb.txt"
    file.write_text(" a text of some words \n" * 5)
    evaluate("toy:unigram", "ptb", data={"ptb": file}, out=tmp_path / "out")
    one = read_measured(tmp_path / "out")[0]
    assert published_texts(one, {"ptb": file})[0, 0] == file.read_bytes()
    with pytest.raises(UsageError, match=re.escape("ptb: its text is not in the cache; expected")):
        published_texts(one, cache=tmp_path / "cache")


def test_own_texts(tmp_path: Path) -> None:
    stream = tmp_path / "plain.txt"
    stream.write_bytes("Ein Wörtchen\nund noch eins.\n\nEnde".encode())
    raw = tmp_path / "raw.bin"
    raw.write_bytes(b"caf\xe9 one two\n\xff\xfe three\n" * 3)
    documents = tmp_path / "texts.jsonl"
    documents.write_text('{"text": "one two"}\n{"text": "thr\\u00e9\\u00e9"}\n')
    places = [stream, f"{documents}:text", load_text(raw, "byte")]
    evaluate("toy:uniform-bytes", texts=places, out=tmp_path / "out")
    named = {one.result.full_name: one for one in read_measured(tmp_path / "out")}
    found = {
        name.partition("/")[2].partition("-")[0]: published_texts(one, texts=places)
        for name, one in named.items()
    }
    assert found["plain.txt"] == {(0, 0): stream.read_bytes()}
    assert found["raw.bin"] == {(0, 0): raw.read_bytes()}
    assert found["texts.jsonl"] == {(0, 0): b"one two", (1, 0): "thréé".encode()}
    for one in named.values():
        with pytest.raises(UsageError, match="expected --text with the text that was measured"):
            published_texts(one)
    with pytest.raises(UsageError, match=r"is not .*plain\.txt \(\w{8}\); expected --text"):
        published_texts(next(o for n, o in named.items() if "raw" in n), texts=[stream])


def test_a_limit_is_that_of_the_result(measured: dict[str, Measured]) -> None:
    text = published_texts(measured["wikitext2"])[0, 0]
    assert demo.data()["wikitext2"].read_bytes().startswith(text)
    assert text.count(b"\n") == 12
    assert len(published_texts(measured["lm1b"])) == 12
