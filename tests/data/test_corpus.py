"""Published records: formats, archives, checksums, counts, Hub rows and corrupt files."""

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from hashlib import md5, sha1, sha256
from pathlib import Path
from typing import Any

import pytest
from data_samples import CBT, LAMBADA, PTB, WIKITEXT, cbt_rows

from gpt2eval import demo
from gpt2eval.config.loader import load_task
from gpt2eval.config.schema import Task
from gpt2eval.config.source_schema import Expect, File, Source
from gpt2eval.data import corpus
from gpt2eval.data.hub import RESTORE
from gpt2eval.errors import UsageError


def task(format: str = "stream", source: Source | None = None, **keys: Any) -> Task:
    """Return an invented task of one format."""
    defaults = {
        "title": "T",
        "citation": "nobody",
        "licence": "CC0",
        "version": 1,
        "ask": "everything",
        "unit": "word",
    }
    source = source or Source(file=File(name="text.txt"))
    return Task.model_validate(
        defaults
        | {"name": "made_up", "source": source, "format": format, "metrics": ("ppl",)}
        | keys
    )


def of_file(content: str, **keys: Any) -> Task:
    """Return a task whose published file is this text."""
    return task(
        source=Source(file=File(name="text.txt", sha256=sha256(content.encode()).hexdigest())),
        **keys,
    )


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# -- formats and packings --------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "path"), demo.data().items())
def test_demo_excerpts_parse_as_their_tasks(name: str, path: Path) -> None:
    read = corpus.load_corpus(load_task(name), path)
    assert read.units.bytes > 4000
    assert (read.published, read.sha256) == (False, sha256(path.read_bytes()).hexdigest())
    if load_task(name).format in ("stream", "lines"):
        assert (
            "".join(record.text for record in read.records).encode("utf-8", "surrogateescape")
            == path.read_bytes()
        )


def test_a_stream_is_one_record_and_each_line_is_one(tmp_path: Path) -> None:
    path = write(tmp_path / "text.txt", PTB)
    assert [r.text for r in corpus.load_corpus(task("stream"), path).records] == [PTB]
    read = corpus.load_corpus(task("lines"), path)
    assert [(r.index, r.text) for r in read.records] == list(
        enumerate(PTB.splitlines(keepends=True))
    )
    assert (read.units.words, read.units.lines, read.units.bytes) == (13, 2, len(PTB))


def test_lambada_is_json_lines_or_plain(tmp_path: Path) -> None:
    as_json = corpus.load_corpus(task("lambada"), write(tmp_path / "a.jsonl", LAMBADA))
    assert [r.text for r in as_json.records] == [
        "“Wait,” he said.\n\nShe did not wait",
        "A lamp, a bed and a chair",
    ]
    plain = corpus.load_corpus(task("lambada"), write(tmp_path / "b.txt", "one two\nthree four\n"))
    assert [r.text for r in plain.records] == ["one two", "three four"]


def test_cbt_sentences_and_questions_lose_their_numbers(tmp_path: Path) -> None:
    first, second = corpus.load_corpus(task("cbt"), write(tmp_path / "cbt.txt", CBT + CBT)).records
    assert first.text.startswith("It  was day 1 .\nIt  was day 2 .\n")
    assert first.text.endswith("It  was day 20 .\nHe said `` the XXXXX is gone '' .")
    assert (first.answer, first.options[0], len(first.options)) == ("dog", "cat", 10)
    assert (second.index, second.text) == (1, first.text)


def zipped(path: Path, member: str, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("another/wiki.valid.tokens", b"not this one\n")
        archive.writestr(member, content)
    return path


def tarred(path: Path, member: str, content: bytes) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in (
            (f"{Path(member).parent}/._{Path(member).name}", b"a Mac's shadow"),
            (member, content),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
    return path


@pytest.mark.parametrize(
    ("name", "pack", "archive", "member"),
    [
        ("wikitext2", zipped, "wikitext-2-v1.zip", "wikitext-2/wiki.test.tokens"),
        ("wikitext103/raw", zipped, "wikitext-103-raw-v1.zip", "wikitext-103-raw/wiki.test.raw"),
        ("text8", zipped, "text8.zip", "text8"),
        ("enwik8", zipped, "named-otherwise", "./enwik8"),
        ("ptb", tarred, "simple-examples.tgz", "./simple-examples/data/ptb.test.txt"),
        ("lm1b", tarred, "r13output.tar.gz", "./r13output/heldout/news.en.heldout-00000-of-00050"),
        ("lambada/standard", tarred, "lambada-dataset.tar.gz", "./lambada_test_plain_text.txt"),
    ],
)
def test_an_archive_reads_as_the_file_inside(
    tmp_path: Path, name: str, pack: Callable[[Path, str, bytes], Path], archive: str, member: str
) -> None:
    loose = write(tmp_path / Path(member).name, PTB)
    packed = pack(tmp_path / archive, member, PTB.encode())
    assert (
        corpus.load_corpus(load_task(name), packed).records
        == corpus.load_corpus(load_task(name), loose).records
    )


def test_a_member_is_selected_by_name_and_a_gz_has_only_one(tmp_path: Path) -> None:
    packed = tarred(tmp_path / "CBTest.tgz", "CBTest/data/cbtest_NE_valid_2000ex.txt", CBT.encode())
    assert corpus.load_corpus(load_task("cbt_ne"), packed).records[0].answer == "dog"
    with pytest.raises(
        UsageError,
        match=r"CBTest\.tgz: contains no cbtest_CN_valid_2000ex\.txt; it contains CBTest/data/",
    ):
        corpus.load_corpus(load_task("cbt_cn"), packed)
    squeezed = write(tmp_path / "wiki.test.tokens.gz", gzip.compress(WIKITEXT.encode()))
    assert corpus.load_corpus(load_task("wikitext2"), squeezed).records[0].text == WIKITEXT


def test_a_folder_in_an_archive_is_not_mistaken_for_the_file(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.mkdir("text8")
        archive.writestr("text8/text8", PTB)
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as archive:
        folder = tarfile.TarInfo("text8")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        member = tarfile.TarInfo("text8/text8")
        member.size = len(PTB)
        archive.addfile(member, io.BytesIO(PTB.encode()))
    for name in ("a.zip", "a.tgz"):
        assert corpus.load_corpus(load_task("text8"), tmp_path / name).records[0].text == PTB


def test_a_folder_stands_for_the_published_file_in_it(tmp_path: Path) -> None:
    write(tmp_path / "ptb.test.txt", PTB)
    assert corpus.load_corpus(load_task("ptb"), tmp_path).records[0].text == PTB
    with pytest.raises(
        UsageError,
        match=r"^/.*/text8: no such file; expected text8 for --data text8",
    ):
        corpus.load_corpus(load_task("text8"), tmp_path)


# -- cutting ---------------------------------------------------------------------------------------


def test_complete_text8_is_cut_to_its_last_five_million_bytes(tmp_path: Path) -> None:
    path = tmp_path / "text8"
    with path.open("wb") as file:  # sparse until its last part
        file.seek(95_000_000)
        file.write(b"anarchism " * 500_000)
    read = corpus.load_corpus(load_task("text8"), path)
    assert read.units.bytes == read.units.chars == 5_000_000
    assert read.records[0].text.startswith("anarchism anarchism")


def test_a_cut_inside_a_character_loses_no_byte(tmp_path: Path) -> None:
    content = "na\u00efve caf\u00e9".encode()
    cut = task(encoding="bytes", cut_whole=len(content), cut_last=9, unit="byte")
    read = corpus.load_corpus(cut, write(tmp_path / "text.txt", content))
    assert read.records[0].text == "\udcafve caf\u00e9"
    assert (read.units.bytes, read.sha256) == (9, sha256(content[-9:]).hexdigest())


def test_a_file_of_another_size_is_not_cut(tmp_path: Path) -> None:
    path = write(tmp_path / "text.txt", "abcdef")
    for other in (5, 7):
        assert (
            corpus.load_corpus(task(cut_whole=other, cut_last=2), path).records[0].text == "abcdef"
        )
    assert corpus.load_corpus(task(cut_whole=6, cut_last=2), path).records[0].text == "ef"


# -- hashes and counts -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "hashed",
    [
        {"sha256": sha256(PTB.encode()).hexdigest()},
        {"md5": md5(PTB.encode()).hexdigest()},
        {"git_blob": sha1(f"blob {len(PTB)}\0{PTB}".encode()).hexdigest()},
    ],
)
def test_each_kind_of_checksum_identifies_the_published_file(
    tmp_path: Path, hashed: dict[str, str]
) -> None:
    made_up = task(source=Source(file=File.model_validate(hashed | {"name": "text.txt"})))
    assert corpus.load_corpus(made_up, write(tmp_path / "a", PTB), strict=True).published
    assert not corpus.load_corpus(
        made_up, write(tmp_path / "b", PTB.replace("no", "yes"))
    ).published


@pytest.mark.parametrize("count", Expect.model_fields)
def test_wrong_counts_are_an_error_only_if_the_checksum_matches(tmp_path: Path, count: str) -> None:
    made_up = of_file(PTB, expect={count: 1_000_000})
    with pytest.raises(
        UsageError, match=rf"text\.txt: \d+ {count}; the published file has 1000000$"
    ):
        corpus.load_corpus(made_up, write(tmp_path / "text.txt", PTB))
    assert not corpus.load_corpus(
        made_up, write(tmp_path / "text.txt", PTB + " another \n")
    ).published


@pytest.mark.parametrize(
    ("format", "content", "counts"),
    [
        ("stream", PTB, {"records": 1, "words": 13, "lines": 2, "bytes": 65, "chars": 65}),
        ("lambada", LAMBADA, {"records": 2, "bytes": len(LAMBADA)}),
        ("cbt", CBT + CBT, {"records": 2, "bytes": 2 * len(CBT)}),
    ],
)
def test_counts_of_the_published_file_are_accepted(
    tmp_path: Path, format: str, content: str, counts: dict[str, int]
) -> None:
    assert corpus.load_corpus(
        of_file(content, format=format, expect=counts), write(tmp_path / "text.txt", content)
    ).published


def test_strict_data_refuses_an_unpublished_file(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"checksum mismatch: not the published ptb\.test\.txt \(--strict-data\)"
    ):
        corpus.load_corpus(load_task("ptb"), write(tmp_path / "ptb.test.txt", PTB), strict=True)


# -- the Hub ---------------------------------------------------------------------------------------


ROWS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "text": ("one row\nof all\n", [{"text": "one row\nof all\n"}]),
    "lines": ("a b\nc d\n", [{"text": "a b"}, {"text": "c d"}]),
    "blank_lines": (
        WIKITEXT,
        [{"text": "" if line == " \n" else line} for line in WIKITEXT.splitlines(keepends=True)],
    ),
    "padded_lines": (PTB, [{"text": line.strip()} for line in PTB.splitlines()]),
    "jsonl": (LAMBADA, [json.loads(line) for line in LAMBADA.splitlines()]),
    "cbt": (CBT + CBT, cbt_rows(CBT + CBT)),
}


@pytest.mark.parametrize("restore", ROWS)
def test_hub_rows_restore_the_published_file(restore: str) -> None:
    content, rows = ROWS[restore]
    assert set(RESTORE) == set(ROWS)
    assert "".join(RESTORE[restore](row, "text") for row in rows) == content


def test_real_files_are_restored_from_rows(development_data: Path) -> None:
    def restored(rule: str, rows: list[Any]) -> str:
        return "".join(RESTORE[rule]({"text": row}, "text") for row in rows)

    wikitext = (development_data / "wikitext-2" / "wiki.valid.tokens").read_text(encoding="utf-8")
    rows = [line if line.strip() else "" for line in wikitext.removesuffix("\n").split("\n")]
    assert restored("blank_lines", [row and row + "\n" for row in rows]) == wikitext
    ptb = (development_data / "ptb" / "ptb.valid.txt").read_text()
    assert restored("padded_lines", [line.strip() for line in ptb.splitlines()]) == ptb
    lambada = (development_data / "lambada" / "lambada_test.first1000.jsonl").read_text()
    assert restored("jsonl", [json.loads(line)["text"] for line in lambada.splitlines()]) == lambada
    cbt = (development_data / "cbt" / "cbtest_NE_valid.first1.txt").read_text()
    assert "".join(RESTORE["cbt"](row, "") for row in cbt_rows(cbt)) == cbt


def test_a_task_without_a_source_reports_the_option_for_a_file(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError,
        match=r"^task made_up has no download source; "
        r"pass the file with --data made_up=PATH/TO/text",
    ):
        corpus.load_corpus(task(), cache=tmp_path)


# -- corrupt files ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "content", "expected"),
    [
        ("stream", b"", "empty; expected text.txt"),
        ("stream", b" \n\n", "empty; expected text.txt"),
        ("stream", b"a\nb\0c\n", "line 2: binary; expected plain UTF-8"),
        (
            "stream",
            b"a\nb\r\n",
            "line 2: CRLF line endings; expected plain UTF-8 text with LF line endings",
        ),
        (
            "stream",
            b"\xef\xbb\xbfa\r\nb\n",
            "line 1: begins with a byte-order mark; expected plain UTF-8",
        ),
        ("stream", "a\n".encode("utf-16"), "line 1: binary"),
        ("stream", "a\nna\u00efve\n".encode("latin-1"), "line 2: byte 0xef is not UTF-8"),
        ("lines", b"a\nb", "line 2: no line ending; truncated?"),
        ("lambada", b"a b\n\nc d\n", "line 2: expected a passage of two or more words, found ''"),
        (
            "lambada",
            b'{"text": "a b"}\n{"txt": "c d"}\n',
            'line 2: expected {"text": "..."}, found \'{"txt": "c d"}\'',
        ),
        ("lambada", b'{"text": "a b"}\na b\n', 'line 2: expected {"text": "..."}, found \'a b\''),
        ("lambada", b'{"text": 1}\n', 'line 1: expected {"text": "..."}'),
        ("lambada", b'{"text": "a \\ud800"}\n', 'line 1: expected {"text": "..."}'),
        ("cbt", PTB.encode(), "line 1: expected sentence '1 ...', found "),
        (
            "cbt",
            CBT.replace("7 It", "8 It").encode(),
            "line 7: expected sentence '7 ...', found '8 It",
        ),
        ("cbt", (CBT + CBT[:50]).encode(), "line 25: no line ending; truncated?"),
        ("cbt", (CBT + "1 It was day .\n").encode(), "line 23: expected '21 question with XXXXX'"),
        ("cbt", CBT.replace("XXXXX", "dog").encode(), "line 21: expected '21 question with XXXXX'"),
        (
            "cbt",
            CBT.replace("|ink", "").encode(),
            "line 21: expected '21 question with XXXXX', answer and ten different options",
        ),
        (
            "cbt",
            CBT.replace("\tdog\t", "\tdig\t").encode(),
            "line 21: expected '21 question with XXXXX', answer and ten",
        ),
        (
            "cbt",
            (CBT.removesuffix("\n") + CBT).encode(),
            "line 22: expected an empty line, found '1 It  was day 1 .'",
        ),
    ],
)
def test_a_corrupt_file_is_a_one_line_error_with_its_line(
    tmp_path: Path, format: str, content: bytes, expected: str
) -> None:
    path = write(tmp_path / "corrupt", content)
    with pytest.raises(UsageError) as caught:
        corpus.load_corpus(task(format), path)
    assert str(caught.value).startswith(f"{path}: {expected}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("pack", "name"), [(zipped, "text.zip"), (tarred, "text.tgz"), (None, "text.txt.gz")]
)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_a_truncated_archive_is_a_one_line_error(
    tmp_path: Path, pack: Callable[[Path, str, bytes], Path] | None, name: str, share: float
) -> None:
    content = "".join(f"{n} {sha256(bytes([n])).hexdigest()}\n" for n in range(256)).encode()
    path = (
        pack(tmp_path / name, "text.txt", content)
        if pack
        else write(tmp_path / name, gzip.compress(content))
    )
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(UsageError, match=rf"{name}: cannot be read: .+; truncated or corrupt\?$"):
        corpus.load_corpus(task(), path)


# -- what a copy may lack or add -------------------------------------------------------------------


@pytest.mark.parametrize("content", ["one line", "one line\n", "a\nb\n", "a\n\nb\n", "\n a\n"])
def test_the_lines_of_a_file_have_all_its_bytes_and_no_other(tmp_path: Path, content: str) -> None:
    read = corpus.load_corpus(task("lines"), write(tmp_path / "text.txt", content))
    assert "".join(record.text for record in read.records) == content
    assert read.units.bytes == len(content)


def test_a_last_line_without_an_end_has_no_end_where_that_is_allowed(tmp_path: Path) -> None:
    read = corpus.load_corpus(task("lines", ends="anywhere"), write(tmp_path / "text.txt", "a\nb"))
    assert [record.text for record in read.records] == ["a\n", "b"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("|key\n", "|key \n"),
        ("\tdog\t", "\tdog \t"),
        ("\tdog\t", "\t dog\t"),
        ("|key\n", "| key  \n"),
    ],
)
def test_blanks_around_the_choices_of_a_question_change_nothing(
    tmp_path: Path, before: str, after: str
) -> None:
    assert before in CBT
    padded = corpus.load_corpus(task("cbt"), write(tmp_path / "a", CBT.replace(before, after)))
    assert padded.records == corpus.load_corpus(task("cbt"), write(tmp_path / "b", CBT)).records
