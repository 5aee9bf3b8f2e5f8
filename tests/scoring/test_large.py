"""Long texts: their arrays lie in files, are worked on in blocks, and give the same bits."""

import mmap
import tempfile
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval import UsageError, demo, evaluate
from gpt2eval.models import registry, toy
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.tokenization import tiling
from gpt2eval.scoring import array_files, encode, large, plan, sheet, token_rows
from gpt2eval.scoring.array_files import has_rows, read_arrays, write_arrays, write_rows
from gpt2eval.text import passages

TASKS = ["wikitext2", "wikitext2/s32", "lambada", "cbt_cn", "text8", "enwik8", "enwik8/hf_docs"]


def files_below(folder: Path) -> dict[str, bytes]:
    """Return the content of all files but those that state when a run was."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != "run.json"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def shorten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat every text as long."""
    monkeypatch.setattr(large, "LONG", 64)
    monkeypatch.setattr(encode, "LONG", 100)
    monkeypatch.setattr(encode, "AT_ONCE", 2)
    monkeypatch.setattr(plan, "AT_ONCE", 2)
    monkeypatch.setattr(toy, "PIECE", 37)
    monkeypatch.setattr(tiling, "SEGMENT", 90)
    monkeypatch.setattr(passages, "BLOCK", 11)
    for module in (large, sheet, token_rows):
        monkeypatch.setattr(module, "BLOCK", 53)


@pytest.mark.parametrize("model", ["toy:unigram", "demo"])
def test_long_texts_give_the_files_of_short_ones(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = TASKS if model.startswith("toy") else ["text8", "enwik8", "wikitext2"]
    evaluate(model, tasks, data=demo.data(), out=tmp_path / "short", limit=3)
    shorten(monkeypatch)
    evaluate(model, tasks, data=demo.data(), out=tmp_path / "long", limit=3)

    assert files_below(tmp_path / "short") == files_below(tmp_path / "long")


@pytest.mark.parametrize("specials", [False, True])
def test_pieces_are_the_encoding_of_the_text(
    specials: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = demo.data()["enwik8"].read_bytes()[:3000].decode("utf-8", "surrogateescape")
    text += " caf\u00e9 \U0001f600 <|endoftext|> \udcff word" * 9
    model = cast(Any, registry.load_model("demo"))
    whole = model.encode_specials(text) if specials else model.encode(text)
    monkeypatch.setattr(tiling, "SEGMENT", 50)
    pieces = [*model.encode_pieces(text, specials)]

    assert len(pieces) > 20
    assert np.concatenate([piece.ids for piece in pieces]).tolist() == whole.ids.tolist()
    assert np.concatenate([piece.ends for piece in pieces]).tolist() == whole.ends.tolist()


@given(st.lists(st.lists(st.integers(-9, 9), max_size=9), max_size=9))
def test_arrays_in_files_are_the_same_arrays(lists: list[list[int]]) -> None:
    arrays = [np.array(values, np.int32) for values in lists]
    expected = np.concatenate([np.zeros(0, np.int32), *arrays])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large, "LONG", 16)
        growing = large.Growing(np.int32)
        for array in arrays:
            growing.append(array)
        for found in (growing.array(), large.joined(arrays, np.int32)):
            files = large.files_of([found])
            assert len(files) == (found.nbytes >= 16)
            large.release(files)
            assert found.tolist() == expected.tolist()


@pytest.mark.parametrize(("count", "length", "releases"), [(1000, 3, 0), (1, 3 * large.BLOCK, 3)])
def test_memory_is_given_back_after_many_tokens_not_after_each_passage(
    count: int, length: int, releases: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = sheet.Sheet([range(length)] * count)
    released: list[object] = []
    monkeypatch.setattr(sheet, "release", released.append)
    for number in range(count):
        assert [*scores.blocks(number, range(length))]
    assert len(released) == releases


def test_many_texts_have_the_tokens_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["", "one", "zwölf", "", "and a longer one", "x"] * 3
    model = toy.load("uniform-bytes", LoadOptions())
    monkeypatch.setattr(large, "LONG", 16)
    monkeypatch.setattr(encode, "AT_ONCE", 4)
    for text, found in zip(texts, encode.encode_texts(model, texts, specials=False), strict=True):
        expected = model.encode(text)
        assert found.ids.tolist() == expected.ids.tolist()
        assert found.ends.tolist() == expected.ends.tolist()
        assert large.files_of([found.ids]) or not text


def test_a_folder_without_room_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(large.os, "posix_fallocate", full)
    with pytest.raises(UsageError, match=r"No space left on device: .* do not fit; expected more"):
        large.zeros(large.LONG, np.int8)


def test_nothing_stays_in_the_folder_for_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    array = large.zeros(large.LONG, np.int8)

    assert isinstance(large.files_of([array])[0], mmap.mmap)
    assert [*tmp_path.iterdir()] == []


@given(st.integers(0, 20), st.integers(1, 7))
def test_rows_in_blocks_are_the_file_of_whole_columns(rows: int, block: int) -> None:
    columns = {
        "b": np.arange(rows, dtype=np.int32),
        "a": np.arange(rows) / 7,
        "flag": np.arange(rows) % 2 == 0,
    }
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(array_files, "PIECE", 1 << 10)
        path = Path(folder) / "x.tokens"
        write_arrays(path, columns)
        whole = path.read_bytes()
        blocks = [
            {name: column[first : first + block] for name, column in columns.items()}
            for first in range(0, rows, block)
        ]
        write_rows(path, {name: column[:0] for name, column in columns.items()}, rows, blocks)

        assert path.read_bytes() == whole
        assert has_rows(path, [*columns])
        assert not has_rows(path, ["a", "b"])
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert has_rows(path, [*columns]) == (read_arrays(path) is not None)
