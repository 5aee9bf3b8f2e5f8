"""Files that are not the text they are taken for: other formats, and prepared forms."""

import base64
import io
import json
import pickle
import sqlite3
import zipfile
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from pyarrow import feather, parquet

from gpt2eval import demo
from gpt2eval.config.loader import load_task
from gpt2eval.data import corpus, custom, kinds
from gpt2eval.errors import UsageError

ENWIK8 = demo.data()["enwik8"].read_bytes()
TEXT8 = demo.data()["text8"].read_bytes()
WORDS = demo.data()["wikitext2"].read_bytes()
IDS = np.random.default_rng(13).integers(0, 50257, 4000)
IDS[::10] = 13  # full stops


def database() -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.execute("create table texts (text)")
    return connection.serialize()


def array() -> bytes:
    file = io.BytesIO()
    np.save(file, IDS)
    return file.getvalue()


def arrow() -> bytes:
    file = io.BytesIO()
    feather.write_feather(pyarrow.table({"text": ["a"]}), file)
    return file.getvalue()


def arrow_stream() -> bytes:
    table = pyarrow.table({"text": ["a"]})
    file = io.BytesIO()
    with pyarrow.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    return file.getvalue()


def archive(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        for name in names:
            zipped.writestr(name, "content")
    return file.getvalue()


FORMS: dict[str, tuple[bytes, str]] = {
    "7z": (b"7z\xbc\xaf\x27\x1c\0\4", "a .7z archive"),
    "rar": (b"Rar!\x1a\x07\x01\x00", "a .rar archive"),
    "lz4": (b"\x04\x22\x4d\x18\x64\x40\xa7", "an .lz4 file"),
    "compress": (b"\x1f\x9d\x90abc", "a .Z file"),
    "zlib": (b"\x78\x9c\x4b\x04\x00", "zlib data"),
    "feather": (arrow(), "an arrow or feather table"),
    "arrow stream": (arrow_stream(), "an arrow or feather table"),
    "npy": (array(), "a .npy array"),
    "npz": (archive("arr_0.npy"), "contains no "),
    "torch": (archive("model/data.pkl", "model/version"), "contains no "),
    "docx": (archive("[Content_Types].xml", "word/document.xml"), "contains no "),
    "pickle": (pickle.dumps([1, 2, 3]), "a pickle"),
    "pickle of a dict": (pickle.dumps({"text": "a"}, 2), "a pickle"),
    "sqlite": (database(), "an SQLite database"),
    "safetensors": (b'\x40\0\0\0\0\0\0\0{"weight":', "a .safetensors file"),
    "gguf": (b"GGUF\3\0\0\0", "a .gguf file"),
    "PDF": (b"%PDF-1.7\n%\xe2", "a PDF"),
    "PNG": (b"\x89PNG\r\n\x1a\n\0", "a PNG image"),
    "JPEG": (b"\xff\xd8\xff\xe0\0\x10JFIF", "a JPEG image"),
    "LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:2b49720ec4\nsize 100000000\n",
        "a Git LFS pointer instead of the file (git lfs pull fetches it)",
    ),
    "annex": (b"/annex/objects/SHA256E-s3--ab.txt\n", "a git-annex pointer"),
    "tokens of llm.c": (b"\x88\xd8\x34\x01\x01\0\0\0" + bytes(1016), "a token file of llm.c"),
}
# What only the text of a published file is not: a text of one's own may be a page or JSON.
NOT_PUBLISHED: dict[str, tuple[bytes, str]] = {
    "web page": (b"\n<!DOCTYPE html>\n<html><head>404", "a web page, perhaps the error of a"),
    "fault of a store": (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code>',
        "a web page, perhaps the error of a download",
    ),
    "JSON lines": (b'{"text": "a b c"}\n{"text": "d"}\n', "JSON"),
    "JSON array": (json.dumps([{"text": "a"}], indent=1).encode(), "JSON"),
    "CSV": (b'id,text\n0,"a b"\n', "a CSV or TSV table"),
    "TSV": (b"label\ttext\n0\ta b\n", "a CSV or TSV table"),
    "ids of 16 bits": (IDS.astype("<u2").tobytes(), "numbers of 16 bits, such as token ids"),
    "ids of 32 bits": (IDS.astype("<u4").tobytes(), "numbers of 32 bits, such as token ids"),
    "UTF-16": (WORDS[:3000].decode().encode("utf-16"), "UTF-16 text"),
    "ids": (" ".join(map(str, IDS)).encode(), "token ids as numbers"),
    "ids in lines": ("\n".join(map(str, IDS)).encode(), "token ids as numbers"),
    "ids as a list": (json.dumps(IDS.tolist()).encode(), "a list in JSON|JSON"),
    "bytes as numbers": (" ".join(map(str, ENWIK8[:2000])).encode(), "bytes as numbers"),
    "hexadecimal without blanks": (ENWIK8[:2000].hex().encode(), "bytes as hexadecimal numbers"),
    "hexadecimal with 0x": (
        b" ".join(b"0x%02x" % byte for byte in ENWIK8[:2000]),
        "bytes as hexadecimal numbers",
    ),
    "hexadecimal dump": (
        b"".join(
            b"%08x: %s  %s\n" % (place, ENWIK8[place : place + 16].hex(" ", 2).encode(), b"." * 16)
            for place in range(0, 2000, 16)
        ),
        "a hexadecimal dump",
    ),
    "base64": (base64.encodebytes(ENWIK8[:2000]), "base64"),
    "base64 in one line": (base64.b64encode(ENWIK8[:2000]), "base64"),
    "bytes as hexadecimal": (ENWIK8[:2000].hex(" ").encode(), "bytes as hexadecimal numbers"),
    "letters": (" ".join(TEXT8[:2000].decode().replace(" ", "_")).encode(), "single characters"),
    "letters, PTB": (
        b"".join(
            b" ".join(b"%c" % c for c in line).replace(b"   ", b" _ ") + b"\n"
            for line in WORDS[:3000].splitlines()
        ),
        "single characters separated by blanks",
    ),
    "joined": (TEXT8[:2000].replace(b" ", b"_"), "words joined by _ instead of blanks"),
    "byte pairs": (b"the mot@@ or ways of an@@ archi@@ sts " * 20, "subwords that end in @@"),
    "pieces": ("▁the ▁mot or ▁way s ▁of ▁an arch ist s ".encode() * 20, "tokens of a tokenizer"),
    "WordPiece": (b"the motor ##way ##s of an ##archi ##sts " * 20, "subwords that begin with ##"),
}


def error_of(name: str, content: bytes, path: Path) -> str:
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        corpus.load_corpus(load_task(name), path)
    return str(caught.value)


@pytest.mark.parametrize("form", FORMS | NOT_PUBLISHED)
@pytest.mark.parametrize("name", ["enwik8", "text8", "wikitext2", "ptb"])
def test_another_form_is_named_in_one_line(tmp_path: Path, name: str, form: str) -> None:
    content, expected = (FORMS | NOT_PUBLISHED)[form]
    message = error_of(name, content, tmp_path / "file")
    assert any(found in message for found in expected.split("|"))
    assert "\n" not in message
    assert load_task(name).source.file.name in message


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("unit", ["word", "byte"])
def test_a_text_of_ones_own_is_not_another_format(tmp_path: Path, unit: str, form: str) -> None:
    path = tmp_path / "mine"
    path.write_bytes(FORMS[form][0])
    with pytest.raises(UsageError, match=r"mine: .*(?:expected text|contains no )"):
        custom.load_text(path, unit)


def test_a_text_of_ones_own_may_look_like_anything_else(tmp_path: Path) -> None:
    for form in ("web page", "JSON lines", "ids", "letters", "CSV", "byte pairs"):
        path = tmp_path / "mine"
        path.write_bytes(NOT_PUBLISHED[form][0])
        assert custom.load_text(path).read().units.bytes == len(NOT_PUBLISHED[form][0])


def test_a_prepared_form_is_told_where_the_published_file_is(tmp_path: Path) -> None:
    numbers = NOT_PUBLISHED["bytes as numbers"][0]
    message = error_of("enwik8", numbers, tmp_path / "file")
    assert message.endswith("as published: enwik8 in http://mattmahoney.net/dc/enwik8.zip")
    assert error_of("ptb", numbers, tmp_path / "file").endswith(
        "as published: ptb.test.txt, hub:ptb-text-only/ptb_text_only"
    )


def test_a_table_is_not_a_text_of_ones_own(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"text": ["a"]}), tmp_path / "table")
    for unit in ("word", "byte"):
        with pytest.raises(UsageError, match="table: a parquet table; expected text"):
            custom.load_text(tmp_path / "table", unit)


@pytest.mark.parametrize(("name", "path"), demo.data().items())
def test_real_text_is_no_other_form(name: str, path: Path) -> None:
    content = path.read_bytes()
    for start in range(0, len(content), max(1, len(content) // 7)):
        kinds.check_is_text(content[start:], name)
        assert not kinds.prepared_form(content[start:])
    kinds.check_is_published_form(load_task(name), content, name)


def test_real_files_are_no_other_form(development_data: Path) -> None:
    tasks = {"wikitext-2": "wikitext2", "wikitext-103": "wikitext103", "enwik8": "enwik8"}
    tasks |= {name: name for name in ("ptb", "text8", "lm1b", "lambada", "webtext")}
    for folder, name in tasks.items():
        for path in (development_data / folder).iterdir():
            content = path.read_bytes()
            for piece in (content, content[len(content) // 3 :]):
                kinds.check_is_published_form(load_task(name), piece, str(path))
