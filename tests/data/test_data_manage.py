"""The cache of published files, and the commands that list, verify and describe it."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from hashlib import md5, sha1
from pathlib import Path
from typing import Any

import pytest
import yaml
from data_samples import BOOK, at_publisher, on_hub, refused, zipped
from doubles import Done, StandIn, slow

from gpt2eval.config.loader import load_task
from gpt2eval.config.source_schema import File, Source
from gpt2eval.data import passport
from gpt2eval.data.cache import Cache, is_published, key_of
from gpt2eval.data.required import RequiredFile, required_files
from gpt2eval.errors import UsageError

pytest_plugins = ["data_fixtures"]


# -- the cache -------------------------------------------------------------------------------------


def test_a_partial_write_never_counts_as_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache.at(tmp_path)
    source = Source(file=File(name="book.txt"))
    folder = cache.folder_of(source)
    folder.mkdir(parents=True)
    (folder / "book.txt").write_text(BOOK)
    assert cache.get(source) is None, "no origin.json"
    stored = cache.put(source, BOOK.encode(), "here")
    assert cache.get(source) == stored
    assert stored.content == BOOK.encode()
    (folder / "book.txt").write_text(BOOK[:-1])
    assert cache.get(source) is None, "shorter"
    cache.put(source, BOOK.encode(), "here")
    complete = (folder / "origin.json").read_text()
    for end in range(0, len(complete) - 2, 7):
        (folder / "origin.json").write_text(complete[:end])
        assert cache.get(source) is None

    def disk_full(*_: object) -> None:
        raise UsageError("disk full")

    cache.put(source, BOOK.encode(), "here")
    monkeypatch.setattr("gpt2eval.data.cache.write_atomic", disk_full)
    with pytest.raises(UsageError, match="disk full"):
        cache.put(source, b"other", "there")
    assert cache.get(source) == stored, "the previous file stays"
    monkeypatch.undo()
    (folder / "book.txt").write_bytes(bytes(len(BOOK)))  # the size is right, the content is not
    assert cache.get(source) is None
    assert cache.incomplete() == []


def test_a_corrupt_file_is_downloaded_again(
    hub: StandIn, run: Callable[..., Done], define_task: Callable[..., Any], tmp_path: Path
) -> None:
    source = on_hub(hub)
    include = define_task(source)
    assert run("data", "fetch", "mine", *include).code == 0
    path = Cache.at(tmp_path / "cache").path_of(Source.model_validate(source))
    path.write_text(BOOK.replace("Line 7 ", "Line 8 "))
    refused(
        run("data", "verify", "mine", *include),
        f"{path}: corrupt; run 'gpt2eval data fetch mine'",
    )
    assert " no " in run("data", "ls", "mine", *include).out
    assert run("data", "fetch", "mine", *include).code == 0
    assert path.read_text() == BOOK


def fetch_command(folder: Path, include: Sequence[object]) -> list[str]:
    """Return a command line that fetches the task `mine` into a cache below a folder."""
    words = [sys.executable, "-m", "gpt2eval", "data", "fetch", "mine", "--cache", folder / "cache"]
    return [str(word) for word in [*words, *include]]


def test_concurrent_processes_download_once(
    hub: StandIn, define_task: Callable[..., Any], tmp_path: Path
) -> None:
    include = define_task(at_publisher(hub, "book.zip", zipped("book/book.txt", BOOK)))
    hub.fail("book.zip", slow(2))
    command = fetch_command(tmp_path, include)
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert len({process.communicate()[0] for process in started}) == 1
    assert {process.returncode for process in started} == {0}
    assert len(hub.requests) == 1


def test_a_killed_process_leaves_nothing_that_counts_as_cached(
    hub: StandIn, run: Callable[..., Done], define_task: Callable[..., Any], tmp_path: Path
) -> None:
    include = define_task(at_publisher(hub, "book.zip", zipped("book/book.txt", BOOK)))
    hub.fail("book.zip", slow(30))
    command = fetch_command(tmp_path, include)
    process = subprocess.Popen(command)
    while not hub.requests:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert " no " in run("data", "ls", "mine", *include).out
    assert run("data", "fetch", "mine", *include).code == 0


def test_an_unwritable_cache_is_a_one_line_error(
    hub: StandIn, run: Callable[..., Done], define_task: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    include = define_task(on_hub(hub))
    refused(
        run("data", "fetch", "mine", *include, "--cache", tmp_path / "file" / "below"),
        "expected a writable cache folder",
    )


def test_where_prints_the_platforms_cache_folder(run: Callable[..., Done], tmp_path: Path) -> None:
    assert run("data", "where").out.endswith("cache/gpt2eval\n")
    assert run("data", "where", "--cache", tmp_path).out == f"{tmp_path}\n"


def test_keys_of_different_sources_differ() -> None:
    every = [item.source for item in required_files(())]
    assert len({key_of(source) for source in every}) == len(every) > 12
    assert all(key_of(source).startswith(source.file.name) for source in every)


# -- verify ----------------------------------------------------------------------------------------


def test_verify_checks_checksums_counts_and_round_trips(
    hub: StandIn, run: Callable[..., Done], define_task: Callable[..., Any], tmp_path: Path
) -> None:
    assert "no data of these tasks is cached" in run("data", "verify").err
    counts = {"records": 1, "words": 12000, "lines": 2000, "chars": len(BOOK)}
    include = define_task(on_hub(hub), detokenizer="ptb", expect=counts)
    run("data", "fetch", "mine", *include)
    done = run("data", "verify", *include)
    assert done.code == 0, done.err
    assert (
        "; stream: 1 records, 12,000 words, 2,000 lines, 176,890 chars; "
        "ptb.1: 2,000 lines pass the round trip" in done.out
    )
    include = define_task(on_hub(hub), detokenizer="ptb", expect=counts | {"words": 7})
    refused(run("data", "verify", *include), "12000 words; the published file has 7")
    run("data", "fetch", "ptb")
    refused(
        run("data", "verify"),
        "ptb.test.txt: not the published file; expected one with the hash dd65dff3",
    )
    refused(run("data", "verify", "wikitext2"), "wikitext2: wiki.test.tokens is not in the cache")


@pytest.mark.parametrize(
    "damage",
    [
        "cut",
        *(
            pytest.param(damage, marks=pytest.mark.slow)
            for damage in ("no origin", "origin is none", "folder")
        ),
    ],
)
def test_verify_and_pack_report_incomplete_folders(
    hub: StandIn,
    run: Callable[..., Done],
    define_task: Callable[..., Any],
    tmp_path: Path,
    damage: str,
) -> None:
    source = on_hub(hub)
    include = define_task(source)
    run("data", "fetch", "mine", *include)
    place = Cache.at(tmp_path / "cache").folder_of(Source.model_validate(source))
    if damage == "cut":
        (place / "book.txt").write_text(BOOK[:1000])
    elif damage == "origin is none":
        (place / "origin.json").write_text("null")
    elif damage == "folder":
        (place / "book.txt").unlink()
        (place / "book.txt").mkdir()
    else:
        (place / "origin.json").unlink()
    for command in (("verify",), ("verify", "mine"), ("pack", tmp_path / "pack.tar.gz")):
        refused(
            run("data", *command, *include),
            f"{place}: incomplete or corrupt; run 'gpt2eval data fetch' or delete it",
        )


def test_verify_reports_wrong_counts(
    hub: StandIn, run: Callable[..., Done], define_task: Callable[..., Any]
) -> None:
    refused(
        run("data", "fetch", "mine", *define_task(on_hub(hub), expect={"lines": 7})),
        "2000 lines; the published file has 7",
    )
    assert run("data", "fetch", "mine", *define_task(on_hub(hub))).code == 0
    include = define_task(on_hub(hub), expect={"lines": 7})
    refused(run("data", "verify", "mine", *include), "2000 lines; the published file has 7")


# -- passports -------------------------------------------------------------------------------------


@pytest.mark.parametrize("item", required_files(()), ids=lambda item: item.tasks[0].full_name)
def test_every_figure_in_a_passport_has_a_source(
    item: RequiredFile,
) -> None:
    for task in item.tasks:
        text = passport.task_passport(task)
        assert "no source given" not in text
        assert task.licence in text
        assert set(task.passport) <= passport.CLAIMS
        for figure in [
            *task.source.file.model_dump(exclude_none=True).values(),
            *task.expect.model_dump().values(),
        ]:
            shown = f"{figure:,}" if isinstance(figure, int) else str(figure)
            assert figure is None or shown in text or task.cut_last == figure


def test_the_passport_of_a_file_makes_a_valid_task(
    tmp_path: Path, run: Callable[..., Done], define_task: Callable[..., Any], hub: StandIn
) -> None:
    (tmp_path / "book.txt").write_text(BOOK)
    done = run("data", "passport", tmp_path / "book.txt")
    assert done.code == 0, done.err
    assert f"md5 {md5(BOOK.encode()).hexdigest()}" in done.out
    assert (
        f"git blob {sha1(b'blob %d' % len(BOOK) + bytes(1) + BOOK.encode()).hexdigest()}"
        in done.out
    )
    keys = yaml.safe_load(done.out)
    assert keys["expect"] == {
        "records": 1,
        "words": 12000,
        "lines": 2000,
        "bytes": len(BOOK),
        "chars": len(BOOK),
    }
    include = define_task(keys.pop("source"), **keys)
    task = load_task("mine", [tmp_path / "own"])
    assert is_published(BOOK.encode(), task.source.file)
    arguments = (
        "--tasks",
        "mine",
        "--data",
        f"mine={tmp_path / 'book.txt'}",
        "--out",
        tmp_path / "out",
        *include,
    )
    done = run("run", "--model", "toy:uniform-bytes", *arguments)
    assert done.code == 0, done.err
    assert "!|" not in done.out
    assert "no source given" not in run("show", "mine", "--passport", *include).out


def test_passport_errors(run: Callable[..., Done], tmp_path: Path) -> None:
    refused(
        run("data", "passport", tmp_path / "none.txt"),
        "none.txt: no such file; expected the file as published",
    )
    (tmp_path / "book.zip").write_bytes(zipped("book.txt", BOOK))
    refused(
        run("data", "passport", tmp_path / "book.zip"),
        "book.zip: an archive; expected the file inside it",
    )
    (tmp_path / "bad.txt").write_bytes(b"a\n\xff\n")
    refused(
        run("data", "passport", tmp_path / "bad.txt"), "bad.txt: line 2: byte 0xff is not UTF-8"
    )
    assert run("data", "passport", tmp_path / "bad.txt", "--encoding", "bytes").code == 0
