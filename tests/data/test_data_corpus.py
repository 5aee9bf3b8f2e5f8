"""Which source a published file comes from: the Hub, the publisher, a mirror or the cache."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from data_samples import (
    BOOK,
    CBT,
    LAMBADA,
    PTB,
    REMEDY,
    WIKITEXT,
    at_publisher,
    change_on_hub,
    hashed,
    on_hub,
    on_hub_and_at_publisher,
    parquet,
    refused,
    zipped,
)
from doubles import Done, StandIn, cut, slow, status

from gpt2eval.config.loader import load_task
from gpt2eval.data.cache import Cache

pytest_plugins = ["data_fixtures"]


@pytest.mark.parametrize(
    ("task", "content"),
    [
        ("wikitext2", WIKITEXT),
        pytest.param("wikitext103", WIKITEXT, marks=pytest.mark.slow),
        ("ptb", PTB),
        ("enwik8", PTB),
        ("cbt_cn", CBT),
        pytest.param("cbt_ne/test", CBT, marks=pytest.mark.slow),
        ("lambada", LAMBADA),
    ],
)
def test_hub_layouts_restore_the_published_file(
    hub: StandIn, run: Callable[..., Done], tmp_path: Path, task: str, content: str
) -> None:
    done = run("data", "fetch", task)
    assert done.code == 0, done.err
    source = load_task(task).source
    cached = Cache.at(tmp_path / "cache").get(source)
    assert cached
    assert cached.content == content.encode()
    provenance = cached.provenance
    assert source.hub
    assert provenance.origin == f"hub:{source.hub.id}"
    branch = source.hub.revision or "main"
    assert provenance.revision == hub.repository(source.hub.id).branches[branch]
    assert (
        "NOT the published file (marked ! in signatures), "
        f"from {provenance.origin} at {provenance.revision[:12]}" in done.out
    )
    assert not [
        path
        for _, path, _ in hub.requests
        if "train-" in path or ("/train/" in path and task != "enwik8")
    ]


def test_cached_data_needs_no_network_and_gives_the_same_numbers(
    hub: StandIn, run: Callable[..., Done], tmp_path: Path
) -> None:
    measured = ("run", "--model", "toy:uniform-bytes", "--tasks", "wikitext2,ptb", "--out")
    first = run(*measured, tmp_path / "with")
    assert first.code == 0, first.err
    hub.repositories.clear()
    hub.requests.clear()
    again = run(*measured, tmp_path / "without", offline=True)
    assert (again.code, again.out) == (0, first.out)
    assert hub.requests == []


def test_offline_without_the_file_reports_the_remedy(
    run: Callable[..., Done], define_task: Callable[..., Any], hub: StandIn
) -> None:
    include = define_task(on_hub_and_at_publisher(hub))
    line = refused(run("data", "fetch", "mine", *include, offline=True), *REMEDY)
    assert line.count("HF_HUB_OFFLINE is set") == 2
    assert hub.requests == []


def test_a_pinned_revision_is_loaded(
    hub: StandIn, run: Callable[..., Done], define_task: Callable[..., Any], tmp_path: Path
) -> None:
    source = on_hub(hub)
    commit = hub.repository("me/book").branches["main"]
    change_on_hub(hub)
    source["hub"]["revision"] = commit
    done = run("data", "fetch", "mine", *define_task(source), "--strict-data")
    assert done.code == 0, done.err
    assert f"the published file, from hub:me/book at {commit[:12]}" in done.out


@pytest.mark.slow
def test_a_moved_branch_is_no_longer_the_published_file(
    hub: StandIn, run: Callable[..., Done], define_task: Callable[..., Any], tmp_path: Path
) -> None:
    include = define_task(on_hub(hub))
    change_on_hub(hub)
    refused(
        run("data", "fetch", "mine", *include, "--strict-data"),
        "checksum mismatch: not the published book.txt",
        *REMEDY,
    )
    assert not list((tmp_path / "cache" / "files").rglob("*")), "a refused file is not cached"
    done = run("data", "fetch", "mine", *include)
    assert "NOT the published file (marked ! in signatures)" in done.out
    assert "yes!" in run("data", "ls", "mine", *include).out
    refused(run("data", "verify", "mine", *include), "book.txt: not the published file; expected ")
    on_hub(hub)
    fetched = run("data", "fetch", "mine", *include).out
    assert "NOT the published" in fetched, "the cached file is used"
    for option in ("--strict-data", "--again"):
        assert (
            ", the published file, from hub:me/book at "
            in run("data", "fetch", "mine", *include, option).out
        )
    change_on_hub(hub, "changed again\n")
    assert (
        ", the published file, from hub:me/book at "
        in run("data", "fetch", "mine", *include, "--again").out
    ), "the published file stays in the cache"


@pytest.mark.parametrize("change", [change_on_hub, lambda hub: hub.repositories.clear()])
def test_the_published_archive_replaces_a_changed_or_missing_hub_data_set(
    hub: StandIn,
    run: Callable[..., Done],
    define_task: Callable[..., Any],
    change: Callable[[StandIn], None],
) -> None:
    include = define_task(on_hub_and_at_publisher(hub))
    change(hub)
    done = run("data", "fetch", "mine", *include)
    assert done.code == 0, done.err
    assert ", the published file, from http://127.0.0.1" in done.out


def test_a_removed_revision_is_reported(
    hub: StandIn, run: Callable[..., Done], define_task: Callable[..., Any]
) -> None:
    source = on_hub(hub, revision="0" * 40)
    refused(
        run("data", "fetch", "mine", *define_task(source)),
        f"revision {'0' * 40} no longer exists (404)",
        *REMEDY,
    )


FAULTS = {
    "404": (
        lambda hub: hub.repositories.clear(),
        "no such data set (404): it was moved or removed",
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
    "corrupt parquet": (
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
    """Send bytes that do not match the checksum in the headers."""
    if head or not content.startswith(b"PAR1"):
        return None
    handler.respond(200, {"ETag": f'"{sha256(content).hexdigest()}"'}, bytes(len(content)))
    return True


# Each loads the library again in another process; the others are of the same kinds.
QUICK_FAULTS = ("no column", "corrupt parquet", "wrong checksum")


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, marks=() if fault in QUICK_FAULTS else pytest.mark.slow)
        for fault in FAULTS
    ],
)
def test_each_hub_failure_reports_a_remedy_and_caches_nothing(
    hub: StandIn,
    run: Callable[..., Done],
    define_task: Callable[..., Any],
    tmp_path: Path,
    fault: str,
) -> None:
    include = define_task(on_hub(hub, f"{fault}\n{BOOK}"))
    cause, message = FAULTS[fault]
    cause(hub)
    refused(run("data", "fetch", "mine", *include), "hub:me/book: ", message, *REMEDY)
    assert not list((tmp_path / "cache" / "files").rglob("*"))
    assert " no " in run("data", "ls", "mine", *include).out
    on_hub(hub, f"{fault}\n{BOOK}")
    hub.faults.clear()
    assert run("data", "fetch", "mine", *include).code == 0


@pytest.mark.slow
def test_rate_limits_and_timeouts_of_the_hub_are_reported(
    hub: StandIn, run: Callable[..., Done], define_task: Callable[..., Any], tmp_path: Path
) -> None:
    include = define_task(on_hub(hub))
    hub.fail("me/book", status(429), 100)
    refused(
        run("data", "fetch", "mine", *include),
        "too many requests (429): wait some minutes, or log in",
        *REMEDY,
    )
    hub.faults.clear()
    hub.fail("me/book", slow(3), 20)
    refused(
        run("data", "fetch", "mine", *include),
        "timed out; set HF_HUB_DOWNLOAD_TIMEOUT to more seconds",
        *REMEDY,
    )
    hub.faults.clear()
    hub.fail("parquet", status(429, {"Retry-After": "0"}))
    assert run("data", "fetch", "mine", *include).code == 0


def test_a_dropped_hub_connection_is_resumed(
    hub: StandIn, run: Callable[..., Done], define_task: Callable[..., Any]
) -> None:
    include = define_task(on_hub(hub, f"cut\n{BOOK}"))
    hub.fail(".parquet", cut(20_000))
    done = run("data", "fetch", "mine", *include)
    assert done.code == 0, done.err
    assert "the published file" in done.out
    assert [byte_range for _, path, byte_range in hub.requests if path.endswith(".parquet")][
        -1
    ].startswith("bytes=16384-")


def test_without_a_published_checksum_the_first_source_is_used(
    hub: StandIn, run: Callable[..., Done], define_task: Callable[..., Any]
) -> None:
    source = on_hub_and_at_publisher(hub)
    done = run("data", "fetch", "mine", *define_task(source | {"file": {"name": "book.txt"}}))
    assert (
        "no published checksum to compare with (marked ! in signatures), from hub:me/book"
        in done.out
    )
    assert not [path for _, path, _ in hub.requests if path.startswith("/files/")]


@pytest.mark.parametrize("path", ["book.zip", "publisher.org/files/book.zip"])
def test_a_mirror_is_tried_first(
    hub: StandIn, run: Callable[..., Done], define_task: Callable[..., Any], path: str
) -> None:
    archive = at_publisher(hub, f"mirror/{path}", zipped("book/book.txt", BOOK))["archive"]
    include = define_task(
        on_hub(hub) | {"archive": archive | {"url": "http://publisher.org/files/book.zip"}}
    )
    done = run("data", "fetch", "mine", *include, "--mirror", f"{hub.url}/files/mirror/")
    assert done.code == 0, done.err
    assert f"from {hub.url}/files/mirror/{path}" in done.out
    assert not [url_path for _, url_path, _ in hub.requests if "me/book" in url_path]


def test_the_publisher_replaces_a_mirror_without_the_file(
    hub: StandIn, run: Callable[..., Done], define_task: Callable[..., Any]
) -> None:
    include = define_task(at_publisher(hub, "book.zip", zipped("book/book.txt", BOOK)))
    done = run("data", "fetch", "mine", *include, "--mirror", f"{hub.url}/files/empty")
    assert f", the published file, from {hub.url}/files/book.zip" in done.out


def test_file_names_with_spaces_and_non_ascii_urls_work(
    hub: StandIn, run: Callable[..., Done], define_task: Callable[..., Any]
) -> None:
    hub.files["n\u00e9/my book.txt"] = BOOK.encode()
    source = {
        "archive": {"url": f"{hub.url}/files/n\u00e9/my book.txt"},
        "file": hashed(BOOK) | {"name": "my book.txt"},
    }
    include = define_task(source)
    assert (
        "my book.txt, 176,890 bytes, the published file"
        in run("data", "fetch", "mine", *include).out
    )
    assert run("data", "verify", "mine", *include).code == 0
    assert "\\xe9" in run("data", "ls", "mine", *include).out


@pytest.mark.parametrize("mirror", ["nowhere", "ftp://127.0.0.1", "http://", "http://127.0.0.1:1"])
def test_an_invalid_mirror_is_a_one_line_error(
    run: Callable[..., Done], define_task: Callable[..., Any], hub: StandIn, mirror: str
) -> None:
    include = define_task(at_publisher(hub, "book.zip", zipped("book/book.txt", BOOK)))
    hub.files.clear()
    refused(
        run("data", "fetch", "mine", *include, "--mirror", mirror),
        f"{mirror.rstrip('/')}/book.zip: ",
        *REMEDY,
    )


def test_a_failed_download_does_not_stop_the_others(hub: StandIn, run: Callable[..., Done]) -> None:
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
        "task ptb: its data could not be loaded: hub:ptb-text-only/ptb_text_only: no such data set",
    )
    assert "wikitext2" not in line
    assert [out.partition(":")[0] for out in done.out.splitlines()] == ["wikitext2", "cbt_cn"]
