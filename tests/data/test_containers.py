"""Files in compressions, archives and tables: opened by content, to the end, within limits."""

import bz2
import gzip
import io
import json
import lzma
import random
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from gpt2eval.config.loader import load_task
from gpt2eval.config.schema import Task
from gpt2eval.data import archives, corpus, custom, documents, limits, pages, tables, tars
from gpt2eval.errors import UsageError

LINES = [f" line {n} of the text , {n * n} in all \n" for n in range(120)]
TEXT = "".join(LINES).encode()
MEMBER = "enwik8"
ENWIK8 = load_task("enwik8")


def gz(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def zstd(content: bytes) -> bytes:
    return pyarrow.Codec("zstd").compress(content, asbytes=True)


def tarred(content: bytes, name: str = f"folder/{MEMBER}") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for member, text in (("folder/readme", b"no\n"), (name, content), ("z", b"last\n")):
            info = tarfile.TarInfo(member)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))
    return file.getvalue()


def zipped(content: bytes, name: str = f"folder/{MEMBER}", method: int = 8) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("folder/readme", b"no\n")
        archive.writestr(name, content)
    return file.getvalue()


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gz,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstd,
    "zip": zipped,
    "zip of bzip2": lambda text: zipped(text, method=zipfile.ZIP_BZIP2),
    "zip of xz": lambda text: zipped(text, method=zipfile.ZIP_LZMA),
    "zip, stored": lambda text: zipped(text, method=zipfile.ZIP_STORED),
    "tar": tarred,
    "tar.gz": lambda text: gz(tarred(text)),
    "tar.bz2": lambda text: bz2.compress(tarred(text)),
    "tar.xz": lambda text: lzma.compress(tarred(text)),
    "tar.zst": lambda text: zstd(tarred(text)),
    "two streams of gz": lambda text: gz(text[:999]) + gz(text[999:]),
    "two streams of bz2": lambda text: bz2.compress(text[:999]) + bz2.compress(text[999:]),
    "two streams of xz": lambda text: lzma.compress(text[:999]) + lzma.compress(text[999:]),
    "two frames of zst": lambda text: zstd(text[:999]) + zstd(text[999:]),
    "bz2 in a zip": lambda text: zipped(bz2.compress(text), f"{MEMBER}.bz2"),
    "gz in a tar.xz": lambda text: lzma.compress(tarred(gzip.compress(text), f"{MEMBER}.gz")),
}


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def read(path: Path, max_size: int | None = None) -> bytes:
    """Return the bytes that a run of enwik8 scores."""
    (record,) = corpus.load_corpus(ENWIK8, path, max_size=max_size).records
    return record.text.encode("utf-8", "surrogateescape")


@pytest.mark.parametrize("packing", PACKINGS)
def test_every_container_is_opened_by_its_content(tmp_path: Path, packing: str) -> None:
    path = write(tmp_path / "named otherwise", PACKINGS[packing](TEXT))
    assert read(path) == TEXT
    path = write(tmp_path / f"{MEMBER}.{packing.partition(' ')[0]}", PACKINGS[packing](TEXT))
    assert custom.load_text(path, "byte").content == TEXT


@pytest.mark.parametrize("name", ["wikitext2", "ptb", "lambada", "cbt_cn", "webtext", "lm1b"])
def test_a_table_with_the_rows_of_the_hub_is_the_published_file(tmp_path: Path, name: str) -> None:
    task = load_task(name)
    options = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    sentences = [f"It was day {day} ." for day in range(1, 21)]
    rows: dict[str, list[dict[str, object]]] = {
        "wikitext2": [{"text": ""}, {"text": " = A title = \n"}, {"text": ""}],
        "ptb": [{"sentence": "no it was n't"}, {"sentence": "black <unk>"}],
        "lambada": [{"text": "He said “no”\nand left"}],
        "cbt_cn": [
            {
                "sentences": sentences,
                "question": "the XXXXX",
                "answer": "two",
                "options": options,
            }
        ],
        "webtext": [{"id": 7, "text": "A document."}],
        "lm1b": [{"text": "A line ."}, {"text": "Another ."}],
    }
    files = {
        "wikitext2": " \n = A title = \n \n",
        "ptb": " no it was n't \n black <unk> \n",
        "lambada": json.dumps({"text": "He said “no”\nand left"}) + "\n",
        "cbt_cn": "".join(f"{n} {line}\n" for n, line in enumerate(sentences, 1))
        + f"21 the XXXXX\ttwo\t\t{'|'.join(options)}\n\n",
        "webtext": '{"text": "A document."}\n',
        "lm1b": "A line .\nAnother .\n",
    }
    path = tmp_path / "test-00000-of-00001"
    parquet.write_table(pyarrow.Table.from_pylist(rows[name]), path)
    plain = write(tmp_path / "plain", files[name].encode())
    assert corpus.load_corpus(task, path).sha256 == corpus.load_corpus(task, plain).sha256
    assert corpus.load_corpus(task, path).records == corpus.load_corpus(task, plain).records


@pytest.mark.parametrize(
    ("name", "rows", "expected"),
    [
        ("ptb", {"text": ["a"]}, "expected a column 'sentence', found 'text'"),
        ("ptb", {"sentence": [7]}, "row 1: expected text in column sentence"),
        ("wikitext2", {"text": [["a"]]}, "row 1: expected text in column text"),
        ("wikitext2", {"text": []}, "empty"),
        ("cbt_cn", {"sentences": ["a"], "question": ["b"]}, "expected a column 'answer'"),
        (
            "cbt_cn",
            {
                "sentences": [[*"abcdefghijklmnopqrs", None]],
                "question": ["XXXXX"],
                "answer": ["a"],
                "options": [[*"abcdefghij"]],
            },
            "row 1: expected text in column sentences, question, answer, options",
        ),
        (
            "cbt_cn",
            {
                "sentences": ["abcdefghijklmnopqrst"],
                "question": ["XXXXX"],
                "answer": ["a"],
                "options": ["abcdefghij"],
            },
            "row 1: expected text in column sentences, question, answer, options",
        ),
    ],
)
def test_a_table_with_other_rows_is_a_one_line_error(
    tmp_path: Path, name: str, rows: dict[str, list[object]], expected: str
) -> None:
    parquet.write_table(pyarrow.table(rows), tmp_path / "t.parquet")
    with pytest.raises(UsageError, match=expected) as caught:
        corpus.load_corpus(load_task(name), tmp_path / "t.parquet")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (zipped(TEXT) + zipped(TEXT[::-1]), "something other than a member precedes the first"),
        (zipped(TEXT) + b"more", "something other than the archive follows it"),
        (zipped(TEXT) + bytes(512), ""),
    ],
)
def test_an_archive_fills_its_file(tmp_path: Path, content: bytes, expected: str) -> None:
    found = read_or_error(write(tmp_path / "a", content))
    assert expected in str(found) if expected else found == TEXT


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_two_members_of_the_wanted_name_are_an_error_that_names_both(
    tmp_path: Path, kind: str
) -> None:
    names = (f"wikitext-2/{MEMBER}", f"wikitext-103/{MEMBER}")
    file = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as archive:
            for name in names:
                archive.writestr(name, name)
    else:
        with tarfile.open(fileobj=file, mode="w") as archive:
            for name in names:
                archive.addfile(tarfile.TarInfo(name))
    found = read_or_error(write(tmp_path / "a", file.getvalue()))
    assert found == (
        f"{tmp_path / 'a'}: contains '{names[0]}' and '{names[1]}'; expected one of them"
    )


def test_a_table_with_two_columns_of_one_name_is_refused(tmp_path: Path) -> None:
    columns = [pyarrow.array([" a \n"]), pyarrow.array([" b \n"])]
    table = pyarrow.Table.from_arrays(columns, names=["text", "text"])
    parquet.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(UsageError, match="several columns 'text'; expected one"):
        corpus.load_corpus(load_task("wikitext2"), tmp_path / "t.parquet")


def read_or_error(path: Path) -> bytes | str:
    """Return what a run of enwik8 scores, or the message of the error."""
    try:
        return read(path)
    except UsageError as error:
        return str(error)


# -- damage ----------------------------------------------------------------------------------------


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Flip a bit, cut the end or a piece, or insert something."""
    place = chance.randrange(len(content))
    match chance.randrange(5):
        case 0:
            return content[:place]
        case 1:
            return content[:place] + content[place + chance.randrange(1, 40) :]
        case 2:
            return content[:place] + chance.randbytes(chance.randrange(1, 40)) + content[place:]
        case 3:
            return content + chance.randbytes(chance.randrange(1, 40))
        case _:
            flipped = content[place] ^ (1 << chance.randrange(8))
            return content[:place] + bytes([flipped]) + content[place + 1 :]


# Plain tar files and the frames of pyarrow's zstd carry no checksum.
@pytest.mark.parametrize(
    "packing", sorted({*PACKINGS} - {"tar"} - {p for p in PACKINGS if "zst" in p})
)
def test_a_damaged_container_is_refused_or_gives_the_same_bytes(
    tmp_path: Path, packing: str
) -> None:
    chance = random.Random(13)
    complete = PACKINGS[packing](TEXT)
    refused = 0
    for number in range(200):
        content = damaged(complete, chance)
        if content in [PACKINGS[name](TEXT[:999]) for name in ("gz", "bz2", "xz")]:
            continue  # cut between two streams: a complete file
        path = write(tmp_path / f"{number}.{packing}", content)
        outcome = read_or_error(path)
        refused += isinstance(outcome, str)
        assert outcome == TEXT or (isinstance(outcome, str) and "\n" not in outcome), number
    assert refused > 50


@pytest.mark.parametrize("packing", ["tar", "tar.zst", "zst"])
def test_a_cut_container_is_refused_at_every_length(tmp_path: Path, packing: str) -> None:
    complete = PACKINGS[packing](TEXT)
    step = max(1, len(complete) // 60)
    end = len(complete) - (9000 if packing == "tar" else 0)  # the last blocks are all zeros
    for length in range(600 if packing == "tar" else 4, end, step):
        with pytest.raises(UsageError):
            read(write(tmp_path / "cut", complete[:length]))


def test_something_after_the_end_of_an_archive_is_refused(tmp_path: Path) -> None:
    for content in (tarred(TEXT) + b"more", gzip.compress(tarred(TEXT) + tarred(TEXT))):
        with pytest.raises(UsageError, match="follows the last one"):
            read(write(tmp_path / "a", content))
    for packing in ("gz", "bz2", "xz", "zst"):
        with pytest.raises(UsageError, match="cannot be read"):
            read(write(tmp_path / "a", PACKINGS[packing](TEXT) + b"more"))


def test_a_damaged_table_is_a_one_line_error(tmp_path: Path) -> None:
    chance = random.Random(13)
    table = pyarrow.table({"text": [line.strip() for line in LINES]})
    file = io.BytesIO()
    parquet.write_table(table, file, write_page_checksum=True)
    for number in range(100):
        path = write(tmp_path / str(number), damaged(file.getvalue(), chance))
        outcome = read_or_error(path)
        assert isinstance(outcome, bytes) or "\n" not in outcome


@pytest.mark.parametrize("packing", ["gz", "tar", "zip"])
def test_a_member_or_link_that_is_not_the_file_is_refused(tmp_path: Path, packing: str) -> None:
    twice = io.BytesIO()
    if packing == "zip":
        with zipfile.ZipFile(twice, "w") as archive:
            link = zipfile.ZipInfo(MEMBER)
            link.external_attr = 0o120777 << 16
            archive.writestr(link, "/etc/passwd")
        expected = "contains no enwik8; it contains no files"
    else:
        with tarfile.open(fileobj=twice, mode="w:gz" if packing == "gz" else "w") as archive:
            for text in (b"one", b"two"):
                info = tarfile.TarInfo(MEMBER)
                info.size = len(text)
                archive.addfile(info, io.BytesIO(text))
        expected = "contains 'enwik8' twice"
    with pytest.raises(UsageError, match=expected):
        read(write(tmp_path / "a", twice.getvalue()))


# -- size ------------------------------------------------------------------------------------------

SMALL = 1 << 22  # stands for the least that any file may unpack to, so that the tests are quick
ZEROS = 8 * SMALL


def sparse() -> bytes:
    """Return a tar whose member of 3 GiB has no data, as GNU tar writes it."""
    info = tarfile.TarInfo(MEMBER)
    info.type = tarfile.GNUTYPE_SPARSE
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[483:495] = b"%011o\0" % (3 << 30)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + bytes(1024)


def pax_header(content: bytes, size: int | None = None) -> bytes:
    """Return a tar that begins with an extended header of the given content."""
    info = tarfile.TarInfo("header")
    info.type = tarfile.XHDTYPE
    info.size = len(content) if size is None else size
    padded = content + bytes(-len(content) % 512)
    return info.tobuf(tarfile.USTAR_FORMAT) + padded + tarred(b"text\n")


def lying_zip() -> bytes:
    """Return a .zip whose directory gives a member of many zeros a small size."""
    content = bytearray(zipped(bytes(ZEROS)))
    central = content.rfind(b"PK\1\2")
    content[central + 24 : central + 28] = struct.pack("<I", 100)
    return bytes(content)


def of_many_members() -> bytes:
    block = tarfile.TarInfo("empty").tobuf()
    return gzip.compress(block * 3000 + bytes(1024), 1)


def table(**columns: object) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), file, compression="zstd")
    return file.getvalue()


def dictionary(strings: int, rows: int) -> pyarrow.DictionaryArray:
    indices = pyarrow.array([0] * rows, pyarrow.int32())
    return pyarrow.DictionaryArray.from_arrays(indices, pyarrow.array(["x" * strings]))


BOMBS: dict[str, Callable[[], bytes]] = {
    "gz": lambda: gzip.compress(bytes(ZEROS)),
    "bz2": lambda: bz2.compress(bytes(ZEROS)),
    "xz": lambda: lzma.compress(bytes(ZEROS)),
    "zst": lambda: zstd(bytes(ZEROS)),
    "zip": lambda: zipped(bytes(ZEROS)),
    "lying zip": lying_zip,
    "zip of bzip2": lambda: zipped(bytes(ZEROS), method=zipfile.ZIP_BZIP2),
    "tar.gz": lambda: gzip.compress(tarred(bytes(ZEROS))),
    "another member": lambda: gzip.compress(tarred(bytes(ZEROS), "other")),
    "sparse member": sparse,
    "sparse member, gz": lambda: gzip.compress(sparse()),
    "header": lambda: pax_header(b"30 path=" + b"x" * 100_000),
    "header, gz": lambda: gzip.compress(pax_header(bytes(ZEROS))),
    "header that promises 8 GB": lambda: pax_header(b"", (1 << 33) - 1),
    "digits in a header": lambda: pax_header(b"1" * 16_000),
    "gz in gz": lambda: gzip.compress(gzip.compress(bytes(ZEROS))),
    "zip in a zip": lambda: zipped(zipped(bytes(ZEROS)), f"{MEMBER}.zip"),
    "many members": of_many_members,
    "too many layers": lambda: gzip.compress(gzip.compress(gzip.compress(gzip.compress(TEXT)))),
    "long text in a table": lambda: table(text=["x" * ZEROS]),
    "one text repeated": lambda: table(text=dictionary(1 << 19, 2000)),
    "many empty rows": lambda: table(text=dictionary(0, 300_000)),
    "many nothings": lambda: table(text=pyarrow.nulls(300_000, pyarrow.string())),
}


def renamed(name: str) -> Task:
    """Return a task of rows of text that looks for the member of these archives."""
    task = load_task(name)
    file = task.source.file.model_copy(update={"name": MEMBER, "bytes": None})
    return task.model_copy(update={"source": task.source.model_copy(update={"file": file})})


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_small_file_that_unpacks_to_much_is_refused(
    tmp_path: Path, bomb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "bomb", BOMBS[bomb]())
    assert path.stat().st_size < 200_000
    monkeypatch.setattr(limits, "FLOOR", SMALL)
    monkeypatch.setattr(limits, "RATIO", 2)
    monkeypatch.setattr(tars, "MOST_MEMBERS", 2000)
    task = renamed("wikitext2")
    tracemalloc.start()
    try:
        with pytest.raises(UsageError) as caught:
            corpus.load_corpus(task, path)
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert taken < 6 * SMALL


def test_a_larger_limit_admits_a_large_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"ab cd " * (SMALL // 24)
    for packing in ("gz", "zip", "tar.xz", "zst"):
        path = write(tmp_path / packing, PACKINGS[packing](content))
        with monkeypatch.context() as patch:
            patch.setattr(limits, "FLOOR", 1000)
            patch.setattr(limits, "RATIO", 2)
            task = renamed("text8")
            with pytest.raises(UsageError, match="expected at most that, or a larger --max-size"):
                corpus.load_corpus(task, path)
            read_all = corpus.load_corpus(task, path, max_size=SMALL)
        assert read_all.units.bytes == len(content)


def test_a_plain_file_is_limited_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LARGEST", SMALL)
    path = write(tmp_path / "large", bytes(ZEROS))
    with pytest.raises(UsageError, match="more than 4,194,304 bytes"):
        archives.unpack(path, ["large"])
    with pytest.raises(UsageError, match="more than 4,194,304 bytes"):
        custom.load_text(path)


@pytest.mark.parametrize(
    ("text", "size"),
    [("500MB", 500 << 20), ("20 GiB", 20 << 30), ("7", 7), ("2k", 2048), ("1T", 1 << 40)],
)
def test_a_size_has_a_unit(text: str, size: int) -> None:
    assert limits.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5GB", "many", "1PB", "9" * 100, "١GB"])
def test_another_size_is_a_one_line_error(text: str) -> None:
    with pytest.raises(UsageError, match=r"--max-size .*: expected a size such as 500MB or 20GB"):
        limits.parse_size(text)


def test_training_text_is_limited_by_its_ratio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FLOOR", SMALL)
    for name, content in (
        ("a.jsonl.gz", gzip.compress(b'{"text": "' + bytes(ZEROS))),
        ("a.txt.bz2", bz2.compress(bytes(ZEROS))),
        ("a.parquet", table(text=dictionary(1 << 19, 2000))),
    ):
        path = write(tmp_path / name, content)
        location = documents.locate(str(path), "--train", "text")
        pieces = (len(piece) for text in documents.stream_documents(location) for piece in text)
        with pytest.raises(UsageError, match="when unpacked"):
            sum(pieces)


def test_rows_are_the_same_with_and_without_a_dictionary(tmp_path: Path) -> None:
    texts = [f"text {n % 7}" for n in range(5000)] + ["", "last"]
    for dictionary_pages in (True, False):
        parquet.write_table(
            pyarrow.table({"text": texts, "meta": [{"body": text} for text in texts]}),
            tmp_path / "t",
            use_dictionary=dictionary_pages,
            row_group_size=777,
        )
        for column in ("text", "meta.body"):
            assert [*tables.texts(tmp_path / "t", column, 1 << 26)] == texts


def varint(number: int) -> bytes:
    """Return a number as a footer holds it: zigzag, seven bits to a byte."""
    number <<= 1
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes([*encoded, number])


def test_the_pages_of_a_table_are_counted_whatever_its_footer_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FLOOR", SMALL)
    honest = table(text=["x" * ZEROS])
    metadata = parquet.read_metadata(io.BytesIO(honest)).row_group(0).column(0)
    size = varint(metadata.total_uncompressed_size)
    lie = bytes([byte & 128 | 1 for byte in size])
    path = write(tmp_path / "t.parquet", honest.replace(size, lie))
    with pytest.raises(UsageError, match=r"t\.parquet: .*(?:unpacked|cannot be read)"):
        corpus.load_corpus(load_task("wikitext2"), path)
    with path.open("rb") as file:
        (forged,) = pages.chunks(file)
        assert forged.decompressed < metadata.total_uncompressed_size
        assert ZEROS < pages.declared_size(file, forged) < 1.1 * ZEROS + 1000


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "brotli", "lz4"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("use_dictionary", [True, False])
def test_the_sizes_of_pages_agree_with_an_honest_footer(
    compression: str, version: str, use_dictionary: bool
) -> None:
    rows = 3000
    columns = {
        "text": [f"text {n % 97} " * (n % 50) for n in range(rows)],
        "n": range(rows),
        "list": [["a", "b"]] * rows,
        "flag": [True, None] * (rows // 2),
    }
    file = io.BytesIO()
    parquet.write_table(
        pyarrow.table(columns),
        file,
        compression=compression,
        data_page_version=version,
        use_dictionary=use_dictionary,
        data_page_size=5000,
        row_group_size=1100,
        write_page_checksum=True,
    )
    metadata = parquet.read_metadata(file)
    chunks = [*pages.chunks(file)]
    described = [
        metadata.row_group(group).column(index)
        for group in range(metadata.num_row_groups)
        for index in range(metadata.num_columns)
    ]
    assert [(chunk.path, chunk.values, chunk.compressed) for chunk in chunks] == [
        (one.path_in_schema, one.num_values, one.total_compressed_size) for one in described
    ]
    for chunk, one in zip(chunks, described, strict=True):
        # The footer also counts the headers of the pages.
        headers = one.total_uncompressed_size - pages.declared_size(file, chunk)
        assert 0 < headers < 0.3 * one.total_uncompressed_size + 500


def test_a_footer_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    """pyarrow's description of such a chunk ends the process."""
    corpus_folder = Path(__file__).parents[1] / "corpus/parquet"
    for path in corpus_folder.iterdir():
        with pytest.raises(UsageError, match=rf"{path.name}: cannot be read"):
            list(tables.texts(path, "text", 10**6))
