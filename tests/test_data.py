"""The real download path against a stand-in of the Hub and of publishers' servers, and what is done with the files after it."""

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from hashlib import md5, sha1, sha256
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from standin import CommandLine, Done, StandIn, cut, slow, status
from test_corpus import CBT, LAMBADA, PTB, WIKITEXT, cbt_rows

from gpt2eval.config.loader import load_task
from gpt2eval.config.schema import File, Source
from gpt2eval.data import manage, packs, passport
from gpt2eval.data.cache import Cache, is_published, key_of
from gpt2eval.data.download import mirrored
from gpt2eval.errors import UsageError

BOOK = "".join(
    f"Line {n} has the hash {sha256(str(n).encode()).hexdigest()}.\n" for n in range(2000)
)

WIKITEXT_CARD = """---
configs:
- config_name: wikitext-103-v1
  data_files:
  - {split: test, path: wikitext-103-v1/test-*}
  - {split: train, path: wikitext-103-v1/train-*}
- config_name: wikitext-2-v1
  data_files:
  - {split: test, path: wikitext-2-v1/test-*}
  - {split: train, path: wikitext-2-v1/train-*}
dataset_info:
- config_name: wikitext-2-v1
  features: [{name: text, dtype: string}]
  splits:
  - {name: test, num_bytes: 1270947, num_examples: 4358}
  - {name: train, num_bytes: 10918118, num_examples: 36718}
---
"""


def parquet(rows: list[dict[str, Any]]) -> bytes:
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    return file.getvalue()


def wikitext_rows(text: str) -> list[dict[str, Any]]:
    return [{"text": "" if line == " \n" else line} for line in text.splitlines(keepends=True)]


# -- the stand-in: tiny data sets in the real repositories' layout -----------------------------------------------------


@pytest.fixture(scope="module")
def _serving() -> Iterator[StandIn]:
    stand = StandIn()
    yield stand
    stand.close()


@pytest.fixture(scope="module")
def _running(_serving: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    command = CommandLine(_serving.url, tmp_path_factory.mktemp("home"))
    yield command
    command.close()


@pytest.fixture
def hub(_serving: StandIn) -> StandIn:
    """All data sets as they are, no faults."""
    _serving.faults, _serving.asked, _serving.files, _serving.repositories = [], [], {}, {}
    train = parquet([{"text": "not asked for"}])
    for number in (2, 103):
        folder = f"wikitext-{number}-v1"
        files = {f"{folder}/test-00000-of-00001.parquet": parquet(wikitext_rows(WIKITEXT))}
        before = _serving.repository("Salesforce/wikitext").commits.get(
            _commit(_serving, "Salesforce/wikitext"), {}
        )
        _serving.repository("Salesforce/wikitext").push(
            before
            | files
            | {f"{folder}/train-00000-of-00001.parquet": train, "README.md": WIKITEXT_CARD.encode()}
        )
    script = _serving.repository("ptb-text-only/ptb_text_only")
    script.push({"README.md": b"A script repository.\n", "ptb_text_only.py": b"raise SystemExit\n"})
    sentences = [{"sentence": line.strip()} for line in PTB.splitlines()]
    branch = {
        "penn_treebank/test/0000.parquet": parquet(sentences),
        "penn_treebank/train/0000.parquet": train,
    }
    script.push(branch, "refs/convert/parquet")
    enwik8 = _serving.repository("LTCB/enwik8")
    enwik8.push({"enwik8-raw/train/0000.parquet": parquet([{"text": PTB}])}, "refs/convert/parquet")
    for config in ("CN", "NE"):
        before = _serving.repository("cam-cst/cbt").commits.get(
            _commit(_serving, "cam-cst/cbt"), {}
        )
        _serving.repository("cam-cst/cbt").push(
            before
            | {
                f"{config}/{split}-00000-of-00001.parquet": parquet(cbt_rows(CBT))
                for split in ("train", "validation", "test")
            }
            | {"README.md": CBT_CARD.encode()}
        )
    lambada = _serving.repository("EleutherAI/lambada_openai")
    lambada.push(
        {"README.md": LAMBADA_CARD.encode(), "data/lambada_test_en.jsonl": LAMBADA.encode()}
    )
    return _serving


CBT_CARD = "---\nconfigs:\n" + "".join(
    f"- config_name: {config}\n  data_files:\n"
    + "".join(
        f"  - {{split: {split}, path: {config}/{split}-*}}\n"
        for split in ("train", "validation", "test")
    )
    for config in ("CN", "NE")
)
CBT_CARD += "---\n"
LAMBADA_CARD = """---
configs:
- config_name: default
  data_files: [{split: test, path: data/lambada_test_en.jsonl}]
---
"""


def _commit(stand: StandIn, name: str) -> str:
    return stand.repository(name).branches.get("main", "")


@pytest.fixture
def run(_running: CommandLine, hub: StandIn, tmp_path: Path) -> Callable[..., Done]:
    """`gpt2eval ...` against the stand-in, with a cache of the test's own."""
    cached = {"fetch", "ls", "verify", "pack", "unpack", "run", "show"}

    def command(*arguments: object, offline: bool = False) -> Done:
        cache = (
            []
            if "--cache" in arguments or not cached & set(arguments)
            else ["--cache", tmp_path / "cache"]
        )
        return _running(*arguments, *cache, offline=offline)

    return command


@pytest.fixture
def mine(tmp_path: Path, hub: StandIn) -> Callable[..., list[object]]:
    """Make a task `mine` of the test's own with a source; returns `--include FOLDER`."""

    def make(source: Mapping[str, Any], **keys: Any) -> list[object]:
        content = {
            "title": "Mine",
            "citation": "me",
            "licence": "CC0",
            "version": 1,
            "format": "stream",
            "ask": "everything",
        }
        content |= {"unit": "byte", "metrics": ["bpb"], "source": source} | keys
        (tmp_path / "own" / "tasks").mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / "tasks" / "mine.yaml").write_text(yaml.safe_dump(content))
        return ["--include", tmp_path / "own"]

    return make


def hashed(content: str) -> dict[str, Any]:
    return {"name": "book.txt", "sha256": sha256(content.encode()).hexdigest()}


def on_hub(hub: StandIn, content: str = BOOK, **keys: Any) -> dict[str, Any]:
    """A data set `me/book` with a text, and a source of it."""
    rows = [{"text": line} for line in content.splitlines(keepends=True)]
    hub.repository("me/book").push({"data/test-00000-of-00001.parquet": parquet(rows)})
    return {
        "hub": {"id": "me/book", "split": "test", "column": "text"} | keys,
        "file": hashed(content),
    }


def zipped(member: str, content: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("book/readme", "not this one\n")
        archive.writestr(member, content)
    return file.getvalue()


def tarred(members: Mapping[str, str | bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in members.items():
            content = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def at_publisher(hub: StandIn, name: str, content: bytes, **keys: Any) -> dict[str, Any]:
    """An archive on the stand-in, and a source of it."""
    hub.files[name] = content
    archive = {
        "url": f"{hub.url}/files/{name}",
        "sha256": sha256(content).hexdigest(),
        "member": "book/book.txt",
    } | keys
    return {
        "archive": {key: value for key, value in archive.items() if value is not None},
        "file": hashed(BOOK),
    }


def refused(done: Done, *said: str) -> str:
    """The one line of an error that the user can mend, after checking that it is just that."""
    assert done.code == 2, done
    lines = [line for line in done.err.splitlines() if line.startswith("gpt2eval: ")]
    assert len(lines) == 1, done.err
    assert "Traceback" not in done.err
    for part in said:
        assert part in lines[0]
    return lines[0]


MEND = ("--data mine=PATH/TO/book.txt", "gpt2eval data unpack FILE")


# -- the Hub ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "content"),
    [
        ("wikitext2", WIKITEXT),
        ("wikitext103", WIKITEXT),
        ("ptb", PTB),
        ("enwik8", PTB),
        ("cbt_cn", CBT),
        ("cbt_ne/test", CBT),
        ("lambada", LAMBADA),
    ],
)
def test_real_layouts_give_back_the_publishers_file(
    hub: StandIn, run: Callable[..., Done], tmp_path: Path, task: str, content: str
) -> None:
    done = run("data", "fetch", task)
    assert done.code == 0, done.err
    source = load_task(task).source
    assert Cache.at(tmp_path / "cache").read(source) == content.encode()
    known = Cache.at(tmp_path / "cache").origin(source)
    assert known
    assert source.hub
    assert known.origin == f"hub:{source.hub.id}"
    branch = source.hub.revision or "main"
    assert known.revision == hub.repository(source.hub.id).branches[branch]
    assert (
        f"NOT the published file (marked ! in signatures), from {known.origin} at {known.revision[:12]}"
        in done.out
    )
    assert not [
        path
        for _, path, _ in hub.asked
        if "train-" in path or ("/train/" in path and task != "enwik8")
    ]


def test_once_fetched_nothing_is_asked_and_the_numbers_are_the_same(
    hub: StandIn, run: Callable[..., Done], tmp_path: Path
) -> None:
    measured = ("run", "--model", "toy:uniform-bytes", "--tasks", "wikitext2,ptb", "--out")
    first = run(*measured, tmp_path / "with")
    assert first.code == 0, first.err
    hub.repositories.clear()
    hub.asked.clear()
    again = run(*measured, tmp_path / "without", offline=True)
    assert (again.code, again.out) == (0, first.out)
    assert hub.asked == []


def test_offline_without_the_file_says_what_to_do(
    run: Callable[..., Done], mine: Callable[..., Any], hub: StandIn
) -> None:
    include = mine(
        on_hub(hub)
        | {"archive": at_publisher(hub, "book.zip", zipped("book/book.txt", BOOK))["archive"]}
    )
    line = refused(run("data", "fetch", "mine", *include, offline=True), *MEND)
    assert line.count("HF_HUB_OFFLINE is set") == 2
    assert hub.asked == []


def test_a_pinned_revision_is_what_is_loaded(
    hub: StandIn, run: Callable[..., Done], mine: Callable[..., Any], tmp_path: Path
) -> None:
    source = on_hub(hub)
    commit = hub.repository("me/book").branches["main"]
    hub.repository("me/book").push(
        {"data/test-00000-of-00001.parquet": parquet([{"text": "changed since\n"}])}
    )
    source["hub"]["revision"] = commit
    done = run("data", "fetch", "mine", *mine(source), "--strict-data")
    assert done.code == 0, done.err
    assert f"the published file, from hub:me/book at {commit[:12]}" in done.out


def test_a_moved_branch_is_not_the_published_file_any_more(
    hub: StandIn, run: Callable[..., Done], mine: Callable[..., Any], tmp_path: Path
) -> None:
    include = mine(on_hub(hub))
    hub.repository("me/book").push(
        {"data/test-00000-of-00001.parquet": parquet([{"text": "changed since\n"}])}
    )
    refused(
        run("data", "fetch", "mine", *include, "--strict-data"),
        "its hash is not that of the published book.txt",
        *MEND,
    )
    assert not list((tmp_path / "cache" / "files").rglob("*")), "what is refused is not kept"
    done = run("data", "fetch", "mine", *include)
    assert "NOT the published file (marked ! in signatures)" in done.out
    assert "yes!" in run("data", "ls", "mine", *include).out
    refused(run("data", "verify", "mine", *include), "book.txt: not the published file; expected ")
    on_hub(hub)
    assert "NOT the published" in run("data", "fetch", "mine", *include).out, "it is there"
    for option in ("--strict-data", "--again"):
        assert (
            ", the published file, from hub:me/book at "
            in run("data", "fetch", "mine", *include, option).out
        )
    hub.repository("me/book").push(
        {"data/test-00000-of-00001.parquet": parquet([{"text": "changed again\n"}])}
    )
    assert (
        ", the published file, from hub:me/book at "
        in run("data", "fetch", "mine", *include, "--again").out
    ), "it stays"


def test_the_published_file_of_an_archive_comes_before_another_one_of_the_hub(
    hub: StandIn, run: Callable[..., Done], mine: Callable[..., Any]
) -> None:
    include = mine(
        on_hub(hub)
        | {"archive": at_publisher(hub, "book.zip", zipped("book/book.txt", BOOK))["archive"]}
    )
    hub.repository("me/book").push(
        {"data/test-00000-of-00001.parquet": parquet([{"text": "changed since\n"}])}
    )
    assert (
        ", the published file, from http://127.0.0.1" in run("data", "fetch", "mine", *include).out
    )


def test_a_revision_that_is_gone(
    hub: StandIn, run: Callable[..., Done], mine: Callable[..., Any]
) -> None:
    source = on_hub(hub, revision="0" * 40)
    refused(
        run("data", "fetch", "mine", *mine(source)),
        f"it has no revision {'0' * 40} any more (404)",
        *MEND,
    )


FAULTS = {
    "404": (
        lambda hub: hub.repositories.clear(),
        "there is no such data set (404): it was moved or removed",
    ),
    "401 gated": (
        lambda hub: hub.fail(
            "me/book", status(401, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Gated"}), 30
        ),
        "it is gated: accept its terms on its page, and log in (hf auth login, or HF_TOKEN)",
    ),
    "no split": (
        lambda hub: hub.repository("me/book").push(
            {"data/train-00000-of-00001.parquet": parquet([{"text": "a\n"}])}
        ),
        "it has no split test; it has train",
    ),
    "no column": (
        lambda hub: hub.repository("me/book").push(
            {"data/test-00000-of-00001.parquet": parquet([{"txt": "a\n"}])}
        ),
        "its rows have no column 'text'",
    ),
    "damaged parquet": (
        lambda hub: hub.repository("me/book").push(
            {"data/test-00000-of-00001.parquet": b"PAR1 but no parquet"}
        ),
        "hub:me/book: ",
    ),
    "wrong checksum": (
        lambda hub: hub.fail("resolve", _tampered),
        "sha256 ",
    ),
}


def _tampered(handler: Any, content: bytes, head: bool) -> bool | None:
    """Send other bytes than those that the hash in the headers is of."""
    if head or not content.startswith(b"PAR1"):
        return None
    handler.say(200, {"ETag": f'"{sha256(content).hexdigest()}"'}, bytes(len(content)))
    return True


@pytest.mark.parametrize("fault", FAULTS)
def test_each_failure_of_the_hub_says_what_to_do_and_keeps_nothing(
    hub: StandIn, run: Callable[..., Done], mine: Callable[..., Any], tmp_path: Path, fault: str
) -> None:
    include = mine(on_hub(hub, f"{fault}\n{BOOK}"))
    broken, said = FAULTS[fault]
    broken(hub)
    refused(run("data", "fetch", "mine", *include), "hub:me/book: ", said, *MEND)
    assert not list((tmp_path / "cache" / "files").rglob("*"))
    assert " no " in run("data", "ls", "mine", *include).out
    on_hub(hub, f"{fault}\n{BOOK}")
    hub.faults.clear()
    assert run("data", "fetch", "mine", *include).code == 0


def test_too_many_requests_and_a_slow_hub_say_so(
    hub: StandIn, run: Callable[..., Done], mine: Callable[..., Any], tmp_path: Path
) -> None:
    include = mine(on_hub(hub))
    hub.fail("me/book", status(429), 100)
    refused(
        run("data", "fetch", "mine", *include),
        "too many requests (429): wait some minutes, or log in",
        *MEND,
    )
    hub.faults.clear()
    hub.fail("me/book", slow(3), 20)
    refused(
        run("data", "fetch", "mine", *include),
        "no answer in time (HF_HUB_DOWNLOAD_TIMEOUT is",
        *MEND,
    )
    hub.faults.clear()
    hub.fail("parquet", status(429, {"Retry-After": "0"}))
    assert run("data", "fetch", "mine", *include).code == 0


def test_a_connection_that_the_hub_cuts_is_taken_up(
    hub: StandIn, run: Callable[..., Done], mine: Callable[..., Any]
) -> None:
    include = mine(on_hub(hub, f"cut\n{BOOK}"))
    hub.fail(".parquet", cut(20_000))
    done = run("data", "fetch", "mine", *include)
    assert done.code == 0, done.err
    assert "the published file" in done.out
    assert [asked for _, path, asked in hub.asked if path.endswith(".parquet")][-1].startswith(
        "bytes=16384-"
    )


# -- publishers' archives --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pack", "streamed"), [("zip", False), ("tgz", False), ("tgz", True), ("plain", False)]
)
def test_archives_give_the_file_and_are_downloaded_once(
    hub: StandIn,
    run: Callable[..., Done],
    mine: Callable[..., Any],
    tmp_path: Path,
    pack: str,
    streamed: bool,
) -> None:
    content = {
        "zip": zipped("book/book.txt", BOOK),
        "tgz": tarred({"book/readme": "no\n", "book/book.txt": BOOK}),
    }
    source = at_publisher(hub, f"book.{pack}", content.get(pack, BOOK.encode()), stream=streamed)
    if pack == "plain":
        source["archive"] = {"url": source["archive"]["url"]}
    include = mine(source)
    done = run("data", "fetch", "mine", *include)
    assert done.code == 0, done.err
    assert "the published file, from http://127.0.0.1" in done.out
    assert (tmp_path / "cache" / "archives").exists() == (not streamed)
    hub.asked.clear()
    assert run("data", "fetch", "mine", *include).code == 0
    assert hub.asked == []


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_download_that_is_cut_goes_on_where_it_broke(
    hub: StandIn, run: Callable[..., Done], mine: Callable[..., Any], ranges: bool, streamed: bool
) -> None:
    include = mine(at_publisher(hub, "book.tgz", tarred({"book/book.txt": BOOK}), stream=streamed))
    hub.fail("book.tgz", cut(10_000, ranges=ranges))
    hub.fail("book.tgz", cut(30_000, ranges=ranges))
    done = run("data", "fetch", "mine", *include)
    assert done.code == 0, done.err
    assert [asked for *_, asked in hub.asked] == [
        "",
        "bytes=10000-",
        "bytes=40000-" if ranges else "bytes=30000-",
    ]


def test_a_download_that_was_killed_goes_on_in_the_next_process(
    hub: StandIn, run: Callable[..., Done], mine: Callable[..., Any], tmp_path: Path
) -> None:
    source = at_publisher(hub, "book.zip", zipped("book/book.txt", BOOK))
    part = Cache.at(tmp_path / "cache").archive(f"{source['archive']['sha256']}.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(hub.files["book.zip"][:12345])
    assert run("data", "fetch", "mine", *mine(source)).code == 0
    assert [asked for *_, asked in hub.asked] == ["bytes=12345-"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (
            status(429, {"Retry-After": "3600"}),
            "the server is busy (429), and asks to come back in 3,600 seconds",
        ),
        (status(416), "the server answers 416"),
        (status(404), "there is no such file (404); it was moved or removed"),
        (status(401), "access is refused (401)"),
        (status(403), "access is refused (403)"),
        (status(418), "the server answers 418"),
    ],
)
def test_each_refusal_of_a_publisher_says_what_to_do(
    hub: StandIn, run: Callable[..., Done], mine: Callable[..., Any], fault: Any, said: str
) -> None:
    hub.fail("book.zip", fault)
    refused(
        run(
            "data",
            "fetch",
            "mine",
            *mine(at_publisher(hub, "book.zip", zipped("book/book.txt", BOOK))),
        ),
        said,
        *MEND,
    )


def test_a_busy_publisher_is_asked_again(
    hub: StandIn, run: Callable[..., Done], mine: Callable[..., Any]
) -> None:
    include = mine(at_publisher(hub, "book.zip", zipped("book/book.txt", BOOK)))
    hub.fail("book.zip", status(429, {"Retry-After": "0"}))
    hub.fail("book.zip", status(503))
    assert run("data", "fetch", "mine", *include).code == 0


@pytest.mark.parametrize("streamed", [False, True])
def test_an_archive_of_another_hash_is_thrown_away(
    hub: StandIn, run: Callable[..., Done], mine: Callable[..., Any], tmp_path: Path, streamed: bool
) -> None:
    source = at_publisher(hub, "book.tgz", tarred({"book/book.txt": BOOK}), stream=streamed)
    right, hub.files["book.tgz"] = (
        hub.files["book.tgz"],
        tarred({"book/book.txt": "tampered with\n"}),
    )
    found, expected = sha256(hub.files["book.tgz"]).hexdigest()[:8], source["archive"]["sha256"][:8]
    include = mine(source)
    refused(
        run("data", "fetch", "mine", *include),
        f"sha256 {found}, expected {expected}; thrown away, try again",
        *MEND,
    )
    assert not [
        path
        for path in (tmp_path / "cache").rglob("*")
        if path.is_file() and path.suffix not in (".lock",)
    ]
    hub.files["book.tgz"] = right
    assert run("data", "fetch", "mine", *include).code == 0


def test_a_file_of_another_hash_is_refused_though_its_archive_has_none(
    hub: StandIn, run: Callable[..., Done], mine: Callable[..., Any]
) -> None:
    source = at_publisher(hub, "book.txt", b"tampered with\n", member=None, sha256=None)
    refused(run("data", "fetch", "mine", *mine(source)), "sha256 ", "thrown away, try again", *MEND)


def test_a_streamed_archive_whose_file_has_no_hash_is_known_by_its_own(
    hub: StandIn, run: Callable[..., Done], mine: Callable[..., Any], tmp_path: Path
) -> None:
    source = at_publisher(
        hub, "book.tgz", tarred({"book/book.txt": BOOK, "book/z": os.urandom(300_000)}), stream=True
    )
    source["file"] = {"name": "book.txt"}
    done = run("data", "fetch", "mine", *mine(source))
    assert "no published hash to tell it by (!)" in done.out
    hub.files["book.tgz"] = tarred({"book/book.txt": "tampered with\n"})
    refused(
        run("data", "fetch", "mine", *mine(source), "--cache", tmp_path / "elsewhere"),
        "thrown away, try again",
    )


@pytest.mark.parametrize("kept", [0.03, 0.5, 0.97])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_damaged_archive_is_one_line(
    hub: StandIn, run: Callable[..., Done], mine: Callable[..., Any], kept: float, streamed: bool
) -> None:
    whole = tarred({"book/book.txt": BOOK})
    source = at_publisher(hub, "book.tgz", whole[: int(kept * len(whole))], stream=streamed)
    refused(
        run("data", "fetch", "mine", *mine(source)),
        "cannot be read: ",
        "truncated or damaged?",
        *MEND,
    )


def test_what_the_hub_has_not_the_archive_gives(
    hub: StandIn, run: Callable[..., Done], mine: Callable[..., Any]
) -> None:
    include = mine(
        on_hub(hub)
        | {"archive": at_publisher(hub, "book.zip", zipped("book/book.txt", BOOK))["archive"]}
    )
    hub.repositories.clear()
    done = run("data", "fetch", "mine", *include)
    assert done.code == 0, done.err
    assert "the published file, from http://127.0.0.1" in done.out


def test_where_nothing_tells_the_published_file_the_first_that_gives_one_will_do(
    hub: StandIn, run: Callable[..., Done], mine: Callable[..., Any]
) -> None:
    source = on_hub(hub) | {
        "archive": at_publisher(hub, "book.zip", zipped("book/book.txt", BOOK))["archive"]
    }
    done = run("data", "fetch", "mine", *mine(source | {"file": {"name": "book.txt"}}))
    assert "no published hash to tell it by (!), from hub:me/book" in done.out
    assert not [path for _, path, _ in hub.asked if path.startswith("/files/")]


@pytest.mark.parametrize("where", ["book.zip", "publisher.org/files/book.zip"])
def test_a_mirror_is_asked_first_and_alone_knows_archives(
    hub: StandIn, run: Callable[..., Done], mine: Callable[..., Any], where: str
) -> None:
    archive = at_publisher(hub, f"mirror/{where}", zipped("book/book.txt", BOOK))["archive"]
    include = mine(
        on_hub(hub) | {"archive": archive | {"url": "http://publisher.org/files/book.zip"}}
    )
    done = run("data", "fetch", "mine", *include, "--mirror", f"{hub.url}/files/mirror/")
    assert done.code == 0, done.err
    assert f"from {hub.url}/files/mirror/{where}" in done.out
    assert not [path for _, path, _ in hub.asked if "me/book" in path]


def test_what_a_mirror_has_not_the_publisher_gives(
    hub: StandIn, run: Callable[..., Done], mine: Callable[..., Any]
) -> None:
    include = mine(at_publisher(hub, "book.zip", zipped("book/book.txt", BOOK)))
    done = run("data", "fetch", "mine", *include, "--mirror", f"{hub.url}/files/empty")
    assert f", the published file, from {hub.url}/files/book.zip" in done.out


def test_a_name_with_blanks_and_an_odd_address(
    hub: StandIn, run: Callable[..., Done], mine: Callable[..., Any]
) -> None:
    hub.files["n\u00e9/my book.txt"] = BOOK.encode()
    source = {
        "archive": {"url": f"{hub.url}/files/n\u00e9/my book.txt"},
        "file": hashed(BOOK) | {"name": "my book.txt"},
    }
    include = mine(source)
    assert (
        "my book.txt, 176,890 bytes, the published file"
        in run("data", "fetch", "mine", *include).out
    )
    assert run("data", "verify", "mine", *include).code == 0
    assert "\\xe9" in run("data", "ls", "mine", *include).out


@pytest.mark.parametrize("mirror", ["nowhere", "ftp://127.0.0.1", "http://", "http://127.0.0.1:1"])
def test_a_mirror_that_is_none_is_one_line(
    run: Callable[..., Done], mine: Callable[..., Any], hub: StandIn, mirror: str
) -> None:
    include = mine(at_publisher(hub, "book.zip", zipped("book/book.txt", BOOK)))
    hub.files.clear()
    refused(
        run("data", "fetch", "mine", *include, "--mirror", mirror),
        f"{mirror.rstrip('/')}/book.zip: ",
        *MEND,
    )


def test_mirror_addresses_keep_name_and_path() -> None:
    assert mirrored("http://a.org/b/c.zip", None) == ["http://a.org/b/c.zip"]


# -- the cache -------------------------------------------------------------------------------------------------------


def test_what_failed_half_way_never_counts_as_present(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, source = Cache.at(tmp_path), Source(file=File(name="book.txt"))
    place = cache.place(source)
    place.mkdir(parents=True)
    (place / "book.txt").write_text(BOOK)
    assert cache.origin(source) is None
    assert cache.read(source) is None, "no origin"
    cache.put(source, BOOK.encode(), "here")
    assert cache.read(source) == BOOK.encode()
    (place / "book.txt").write_text(BOOK[:-1])
    assert cache.origin(source) is None, "shorter"
    cache.put(source, BOOK.encode(), "here")
    whole = (place / "origin.json").read_text()
    for end in range(0, len(whole) - 2, 7):
        (place / "origin.json").write_text(whole[:end])
        assert cache.origin(source) is None

    def full(*_: object) -> None:
        raise UsageError("disk full")

    cache.put(source, BOOK.encode(), "here")
    monkeypatch.setattr("gpt2eval.data.cache.write_atomic", full)
    with pytest.raises(UsageError, match="disk full"):
        cache.put(source, b"other", "there")
    assert cache.read(source) == BOOK.encode(), "what was there stays"
    monkeypatch.undo()
    (place / "book.txt").write_bytes(
        bytes(len(BOOK))
    )  # as after a cut between the content and what is known of it
    assert cache.read(source) is None


def test_a_file_that_changed_on_disk_is_fetched_again(
    hub: StandIn, run: Callable[..., Done], mine: Callable[..., Any], tmp_path: Path
) -> None:
    source = on_hub(hub)
    include = mine(source)
    assert run("data", "fetch", "mine", *include).code == 0
    path = Cache.at(tmp_path / "cache").path(Source.model_validate(source))
    path.write_text(BOOK.replace("Line 7 ", "Line 8 "))
    refused(
        run("data", "verify", "mine", *include),
        f"{path}: damaged; expected 'gpt2eval data fetch mine' again",
    )
    assert " no " in run("data", "ls", "mine", *include).out
    assert run("data", "fetch", "mine", *include).code == 0
    assert path.read_text() == BOOK


def test_processes_that_fetch_at_once_ask_once(
    hub: StandIn, mine: Callable[..., Any], tmp_path: Path
) -> None:
    include = mine(at_publisher(hub, "book.zip", zipped("book/book.txt", BOOK)))
    hub.fail("book.zip", slow(2))
    command = [
        sys.executable,
        "-m",
        "gpt2eval",
        "data",
        "fetch",
        "mine",
        "--cache",
        tmp_path / "cache",
        *include,
    ]
    started = [
        subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert len({process.communicate()[0] for process in started}) == 1
    assert {process.returncode for process in started} == {0}
    assert len(hub.asked) == 1


def test_a_process_that_is_killed_leaves_nothing_behind_that_counts(
    hub: StandIn, run: Callable[..., Done], mine: Callable[..., Any], tmp_path: Path
) -> None:
    include = mine(at_publisher(hub, "book.zip", zipped("book/book.txt", BOOK)))
    hub.fail("book.zip", slow(30))
    command = [
        sys.executable,
        "-m",
        "gpt2eval",
        "data",
        "fetch",
        "mine",
        "--cache",
        tmp_path / "cache",
        *include,
    ]
    process = subprocess.Popen(list(map(str, command)))
    while not hub.asked:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert " no " in run("data", "ls", "mine", *include).out
    assert run("data", "fetch", "mine", *include).code == 0


def test_a_cache_that_cannot_be_written_is_one_line(
    hub: StandIn, run: Callable[..., Done], mine: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    include = mine(on_hub(hub))
    refused(
        run("data", "fetch", "mine", *include, "--cache", tmp_path / "file" / "below"),
        "expected a cache folder",
    )


def test_what_fails_does_not_keep_the_others(hub: StandIn, run: Callable[..., Done]) -> None:
    hub.repositories.pop("EleutherAI/lambada_openai")
    line = refused(
        run("data", "fetch", "lambada", "webtext", "--mirror", f"{hub.url}/files"),
        "task lambada: ",
        "; task webtext: ",
    )
    assert line.count("gpt2eval data unpack FILE") == 1
    del hub.repositories["ptb-text-only/ptb_text_only"]
    done = run("data", "fetch", "ptb", "wikitext2,cbt_cn")
    line = refused(
        done,
        "task ptb: its data could not be loaded: hub:ptb-text-only/ptb_text_only: there is no such data set",
    )
    assert "wikitext2" not in line
    assert [out.partition(":")[0] for out in done.out.splitlines()] == ["wikitext2", "cbt_cn"]


def test_where_is_the_platforms_cache_folder(run: Callable[..., Done], tmp_path: Path) -> None:
    assert run("data", "where").out.endswith("cache/gpt2eval\n")
    assert run("data", "where", "--cache", tmp_path).out == f"{tmp_path}\n"


def test_key_tells_sources_apart() -> None:
    every = [item.source for item in manage.needed(())]
    assert len({key_of(source) for source in every}) == len(every) > 12
    assert all(key_of(source).startswith(source.file.name) for source in every)


# -- verify ----------------------------------------------------------------------------------------------------------


def test_verify_checks_hash_counts_and_round_trips(
    hub: StandIn, run: Callable[..., Done], mine: Callable[..., Any], tmp_path: Path
) -> None:
    assert "the cache holds no data of these tasks" in run("data", "verify").err
    counts = {"records": 1, "words": 12000, "lines": 2000, "chars": len(BOOK)}
    include = mine(on_hub(hub), detokenizer="ptb", expect=counts)
    run("data", "fetch", "mine", *include)
    done = run("data", "verify", *include)
    assert done.code == 0, done.err
    assert (
        "; stream: 1 records, 12,000 words, 2,000 lines, 176,890 chars; ptb.1: 2,000 lines there and back"
        in done.out
    )
    include = mine(on_hub(hub), detokenizer="ptb", expect=counts | {"words": 7})
    refused(run("data", "verify", *include), "12000 words; the published file has 7")
    run("data", "fetch", "ptb")
    refused(
        run("data", "verify"), "ptb.test.txt: not the published file; expected dd65dff3 by its hash"
    )
    refused(run("data", "verify", "wikitext2"), "wikitext2: wiki.test.tokens is not there")


@pytest.mark.parametrize("damage", ["cut", "no origin", "origin is none", "folder"])
def test_verify_and_pack_name_what_is_not_whole(
    hub: StandIn, run: Callable[..., Done], mine: Callable[..., Any], tmp_path: Path, damage: str
) -> None:
    source = on_hub(hub)
    include = mine(source)
    run("data", "fetch", "mine", *include)
    place = Cache.at(tmp_path / "cache").place(Source.model_validate(source))
    if damage == "cut":
        (place / "book.txt").write_text(BOOK[:1000])
    elif damage == "folder":
        (place / "book.txt").unlink()
        (place / "book.txt").mkdir()
    else:
        (place / "origin.json").write_text("null") if damage == "origin is none" else (
            place / "origin.json"
        ).unlink()
    for command in (("verify",), ("verify", "mine"), ("pack", tmp_path / "pack.tar.gz")):
        refused(
            run("data", *command, *include),
            f"{place}: damaged, or not finished; expected 'gpt2eval data fetch'",
        )


def test_verify_finds_wrong_counts(
    hub: StandIn, run: Callable[..., Done], mine: Callable[..., Any]
) -> None:
    refused(
        run("data", "fetch", "mine", *mine(on_hub(hub), expect={"lines": 7})),
        "2000 lines; the published file has 7",
    )
    assert run("data", "fetch", "mine", *mine(on_hub(hub))).code == 0
    include = mine(on_hub(hub), expect={"lines": 7})
    refused(run("data", "verify", "mine", *include), "2000 lines; the published file has 7")


# -- packs -----------------------------------------------------------------------------------------------------------


def test_a_pack_makes_the_same_numbers_where_there_is_no_network(
    hub: StandIn, run: Callable[..., Done], tmp_path: Path
) -> None:
    measured = (
        "run",
        "--model",
        "toy:uniform-bytes",
        "--tasks",
        "wikitext2,ptb,cbt_cn,lambada",
        "--out",
    )
    first = run(*measured, tmp_path / "with")
    packed = run("data", "pack", tmp_path / "all.tar.gz")
    assert packed.code == 0, packed.err
    assert "licence of ptb.test.txt: LDC User Agreement" in packed.err
    hub.repositories.clear()
    hub.asked.clear()
    unpacked = run("data", "unpack", tmp_path / "all.tar.gz", "--cache", tmp_path / "there")
    assert len(unpacked.out.splitlines()) == len(packed.out.splitlines()) == 4
    assert unpacked.out.count("NOT the published file (marked ! in signatures), from hub:") == 4
    again = run(*measured, tmp_path / "without", "--cache", tmp_path / "there", offline=True)
    assert (again.code, again.out) == (0, first.out)
    assert hub.asked == []
    listed = run("data", "ls", "--cache", tmp_path / "there").out
    assert listed == run("data", "ls").out


def kept(folder: Path, contents: Mapping[str, bytes]) -> tuple[Cache, list[Source]]:
    cache, sources = Cache.at(folder), [Source(file=File(name=name)) for name in contents]
    for source in sources:
        cache.put(source, contents[source.file.name], "somewhere", "abc")
    return cache, sources


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z.0-9 ]{0,10}", fullmatch=True),
        st.binary(max_size=300),
        min_size=1,
        max_size=4,
    )
)
def test_unpacking_gives_what_was_packed(
    tmp_path_factory: pytest.TempPathFactory, contents: dict[str, bytes]
) -> None:
    folder = tmp_path_factory.mktemp("pack")
    cache, sources = kept(folder / "here", contents)
    packs.pack(folder / "a.tar.gz", cache, sources)
    packs.pack(folder / "b.tar.gz", cache, reversed(sources))
    assert (folder / "a.tar.gz").read_bytes() == (folder / "b.tar.gz").read_bytes()
    there = Cache.at(folder / "there")
    packs.unpack(folder / "a.tar.gz", there)
    for source in sources:
        assert there.read(source) == contents[source.file.name]
        assert there.origin(source) == cache.origin(source)


def manifest(**changed: Any) -> bytes:
    known = {
        "name": "book.txt",
        "sha256": sha256(BOOK.encode()).hexdigest(),
        "bytes": len(BOOK),
        "origin": "x",
        "revision": "",
    }
    return json.dumps({"format": 1, "files": [{"key": "book", "known": known | changed}]}).encode()


def link(kind: bytes, name: str = "files/book/book.txt") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        first = tarfile.TarInfo("manifest.json")
        first.size = len(manifest(bytes=0))
        archive.addfile(first, io.BytesIO(manifest(bytes=0)))
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    return file.getvalue()


FINE = {"manifest.json": manifest(), "files/book/book.txt": BOOK}
HOSTILE: dict[str, tuple[bytes, str]] = {
    "no archive": (b"PK no archive", "cannot be read: "),
    "empty": (b"", "cannot be read: "),
    "cut short": (tarred(FINE)[:-3000], "cannot be read: "),
    "no manifest": (
        tarred({"files/book/book.txt": BOOK}),
        "not a pack: expected manifest.json first",
    ),
    "manifest last": (
        tarred(dict(reversed(FINE.items()))),
        "not a pack: expected manifest.json first",
    ),
    "manifest is no JSON": (tarred({"manifest.json": b"{"}), "manifest.json: "),
    "unknown format": (
        tarred({"manifest.json": b'{"format": 2, "files": []}'}),
        "manifest.json: format: ",
    ),
    "unknown key": (
        tarred({"manifest.json": b'{"files": [], "run": "rm"}'}),
        "manifest.json: run: ",
    ),
    "key is a path": (
        tarred({"manifest.json": manifest().replace(b'"book"', b'"../book"')}),
        "manifest.json: files: 0: key: ",
    ),
    "name is a path": (
        tarred({"manifest.json": manifest(name="../../x")}),
        "manifest.json: files: 0: known: name: ",
    ),
    "hidden name": (
        tarred({"manifest.json": manifest(name=".bashrc")}),
        "manifest.json: files: 0: known: name: ",
    ),
    "absolute name": (
        tarred({"manifest.json": manifest(name="/etc/passwd")}),
        "manifest.json: files: 0: known: name: ",
    ),
    "path outside": (
        tarred({"manifest.json": manifest(), "../../outside": "x"}),
        "'../../outside': not a file that",
    ),
    "not named": (
        tarred({**FINE, "files/book/more.txt": "x"}),
        "'files/book/more.txt': not a file that its manifest names",
    ),
    "symbolic link": (link(tarfile.SYMTYPE), "a link, folder or device; expected a plain file"),
    "hard link": (link(tarfile.LNKTYPE), "a link, folder or device; expected a plain file"),
    "device": (link(tarfile.CHRTYPE), "a link, folder or device; expected a plain file"),
    "folder": (link(tarfile.DIRTYPE), "a link, folder or device; expected a plain file"),
    "other size": (tarred({**FINE, "files/book/book.txt": BOOK + "x"}), "its manifest says"),
    "other hash": (
        tarred({**FINE, "files/book/book.txt": BOOK.replace("Line 7 ", "Line 8 ")}),
        "its hash is not the one that",
    ),
    "lacking": (
        tarred({"manifest.json": manifest()}),
        "lacks files/book/book.txt, which its manifest names",
    ),
    "huge": (
        tarred({"manifest.json": manifest(bytes=1 << 50), "files/book/book.txt": BOOK}),
        "files.0.known.bytes: ",
    ),
    "what a terminal obeys": (
        tarred({"manifest.json": manifest(origin="\x1b[31m\nFAKE")}),
        "files: 0: known: origin: ",
    ),
    "trailing garbage": (tarred(FINE) + b"more", "cannot be read: "),
    "cut in its checksum": (tarred(FINE)[:-5], "cannot be read: "),
}


@pytest.mark.parametrize("pack", HOSTILE)
def test_a_pack_that_is_not_right_is_refused_whole(tmp_path: Path, pack: str) -> None:
    content, said = HOSTILE[pack]
    (tmp_path / "pack.tar.gz").write_bytes(content)
    with pytest.raises(UsageError) as caught:
        packs.unpack(tmp_path / "pack.tar.gz", Cache.at(tmp_path / "cache"))
    assert str(caught.value).startswith(f"{tmp_path / 'pack.tar.gz'}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["pack.tar.gz"]


def test_the_hostile_packs_are_wrong_in_one_thing_only(tmp_path: Path) -> None:
    (tmp_path / "pack.tar.gz").write_bytes(tarred(FINE))
    assert [entry.key for entry in packs.unpack(tmp_path / "pack.tar.gz", Cache.at(tmp_path))] == [
        "book"
    ]


def test_one_wrong_file_keeps_the_right_ones_out_too(tmp_path: Path) -> None:
    cache, sources = kept(tmp_path / "here", {"a.txt": b"right", "b.txt": b"wrong"})
    packs.pack(tmp_path / "pack.tar.gz", cache, sources)
    raw = gzip.decompress((tmp_path / "pack.tar.gz").read_bytes())
    (tmp_path / "pack.tar.gz").write_bytes(
        gzip.compress(raw.replace(b"wrong" + bytes(507), b"WRONG" + bytes(507)))
    )
    with pytest.raises(UsageError, match="its hash is not the one"):
        packs.unpack(tmp_path / "pack.tar.gz", Cache.at(tmp_path / "there"))
    assert not (tmp_path / "there").exists()


def test_unpacking_replaces_no_other_file_and_writes_none_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, sources = kept(tmp_path / "here", {"a.txt": b"right"})
    packs.pack(tmp_path / "pack.tar.gz", cache, sources)
    there, _ = kept(tmp_path / "there", {"a.txt": b"other"})
    with pytest.raises(
        UsageError,
        match=r"has one of another hash, \w{8}, not \w{8}; expected it gone, or another --cache$",
    ):
        packs.unpack(tmp_path / "pack.tar.gz", there)
    assert there.read(sources[0]) == b"other"
    monkeypatch.setattr("gpt2eval.data.cache.write_atomic", None)
    assert [entry.known.name for entry in packs.unpack(tmp_path / "pack.tar.gz", cache)] == [
        "a.txt"
    ]


def test_packing_what_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"^nothing to pack in .*; expected 'gpt2eval data fetch' first$"
    ):
        manage.pack(tmp_path / "pack.tar.gz", (), tmp_path)
    with pytest.raises(
        UsageError,
        match=r"^not in the cache: ptb\.test\.txt; expected 'gpt2eval data fetch' first$",
    ):
        manage.pack(tmp_path / "pack.tar.gz", ["ptb"], tmp_path)
    cache, sources = kept(tmp_path / "cache", {"a.txt": b"a"})
    for place in (tmp_path / "none" / "pack.tar.gz", tmp_path / "cache", Path("/")):
        with pytest.raises(UsageError, match=r"cannot be written: "):
            packs.pack(place, cache, sources)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache"]


# -- passports -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("item", manage.needed(()), ids=lambda item: item.tasks[0].full_name)
def test_every_task_has_a_passport_that_says_where_its_figures_come_from(
    item: manage.Needed,
) -> None:
    for task in item.tasks:
        text = passport.of_task(task)
        assert "not said" not in text
        assert task.licence in text
        assert set(task.passport) <= passport.CLAIMS
        for figure in [
            *task.source.file.model_dump(exclude_none=True).values(),
            *task.expect.model_dump().values(),
        ]:
            shown = f"{figure:,}" if isinstance(figure, int) else str(figure)
            assert figure is None or shown in text or task.cut_last == figure


def test_a_new_task_gets_its_passport(
    tmp_path: Path, run: Callable[..., Done], mine: Callable[..., Any], hub: StandIn
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
    include = mine(keys.pop("source"), **keys)
    task = load_task("mine", [tmp_path / "own"])
    assert is_published(BOOK.encode(), task.source.file)
    given = (
        "--tasks",
        "mine",
        "--data",
        f"mine={tmp_path / 'book.txt'}",
        "--out",
        tmp_path / "out",
        *include,
    )
    done = run("run", "--model", "toy:uniform-bytes", *given)
    assert done.code == 0, done.err
    assert "!|" not in done.out
    assert "not said" not in run("show", "mine", "--passport", *include).out


def test_passport_of_what_is_no_such_file(run: Callable[..., Done], tmp_path: Path) -> None:
    refused(
        run("data", "passport", tmp_path / "none.txt"),
        "none.txt: no such file; expected the file as its publisher gives it",
    )
    (tmp_path / "book.zip").write_bytes(zipped("book.txt", BOOK))
    refused(
        run("data", "passport", tmp_path / "book.zip"),
        "book.zip: an archive; expected the file that is inside it",
    )
    (tmp_path / "bad.txt").write_bytes(b"a\n\xff\n")
    refused(
        run("data", "passport", tmp_path / "bad.txt"), "bad.txt: line 2: byte 0xff is not UTF-8"
    )
    assert run("data", "passport", tmp_path / "bad.txt", "--encoding", "bytes").code == 0
