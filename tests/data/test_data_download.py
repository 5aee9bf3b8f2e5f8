"""Downloads of publishers' archives: resumed, retried, checked, and refused with a remedy."""

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from data_samples import BOOK, REMEDY, at_publisher, refused, tarred, zipped
from doubles import Done, StandIn, cut, status

from gpt2eval.data.cache import Cache
from gpt2eval.data.download import mirrored

pytest_plugins = ["data_fixtures"]


@pytest.mark.parametrize(
    ("pack", "streamed"), [("zip", False), ("tgz", False), ("tgz", True), ("plain", False)]
)
def test_each_archive_type_yields_the_file_and_is_downloaded_once(
    hub: StandIn,
    run: Callable[..., Done],
    define_task: Callable[..., Any],
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
    include = define_task(source)
    done = run("data", "fetch", "mine", *include)
    assert done.code == 0, done.err
    assert "the published file, from http://127.0.0.1" in done.out
    assert (tmp_path / "cache" / "archives").exists() == (not streamed)
    hub.requests.clear()
    assert run("data", "fetch", "mine", *include).code == 0
    assert hub.requests == []


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_dropped_download_is_resumed(
    hub: StandIn,
    run: Callable[..., Done],
    define_task: Callable[..., Any],
    ranges: bool,
    streamed: bool,
) -> None:
    include = define_task(
        at_publisher(hub, "book.tgz", tarred({"book/book.txt": BOOK}), stream=streamed)
    )
    hub.fail("book.tgz", cut(10_000, ranges=ranges))
    hub.fail("book.tgz", cut(30_000, ranges=ranges))
    done = run("data", "fetch", "mine", *include)
    assert done.code == 0, done.err
    assert [byte_range for *_, byte_range in hub.requests] == [
        "",
        "bytes=10000-",
        "bytes=40000-" if ranges else "bytes=30000-",
    ]


def test_a_killed_download_is_resumed_by_the_next_process(
    hub: StandIn, run: Callable[..., Done], define_task: Callable[..., Any], tmp_path: Path
) -> None:
    source = at_publisher(hub, "book.zip", zipped("book/book.txt", BOOK))
    part = Cache.at(tmp_path / "cache").archive_path(f"{source['archive']['sha256']}.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(hub.files["book.zip"][:12345])
    assert run("data", "fetch", "mine", *define_task(source)).code == 0
    assert [byte_range for *_, byte_range in hub.requests] == ["bytes=12345-"]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            status(429, {"Retry-After": "3600"}),
            "the server is busy (429) and asks to retry after 3,600 seconds",
        ),
        (status(416), "unexpected HTTP status 416"),
        (status(404), "no such file (404); it was moved or removed"),
        (status(401), "access denied (401)"),
        (status(403), "access denied (403)"),
        (status(418), "unexpected HTTP status 418"),
    ],
)
def test_each_http_refusal_reports_a_remedy(
    hub: StandIn,
    run: Callable[..., Done],
    define_task: Callable[..., Any],
    fault: Any,
    message: str,
) -> None:
    hub.fail("book.zip", fault)
    refused(
        run(
            "data",
            "fetch",
            "mine",
            *define_task(at_publisher(hub, "book.zip", zipped("book/book.txt", BOOK))),
        ),
        message,
        *REMEDY,
    )


def test_a_busy_server_is_retried(
    hub: StandIn, run: Callable[..., Done], define_task: Callable[..., Any]
) -> None:
    include = define_task(at_publisher(hub, "book.zip", zipped("book/book.txt", BOOK)))
    hub.fail("book.zip", status(429, {"Retry-After": "0"}))
    hub.fail("book.zip", status(503))
    assert run("data", "fetch", "mine", *include).code == 0


@pytest.mark.parametrize("streamed", [False, True])
def test_an_archive_with_a_wrong_checksum_is_discarded(
    hub: StandIn,
    run: Callable[..., Done],
    define_task: Callable[..., Any],
    tmp_path: Path,
    streamed: bool,
) -> None:
    source = at_publisher(hub, "book.tgz", tarred({"book/book.txt": BOOK}), stream=streamed)
    right = hub.files["book.tgz"]
    hub.files["book.tgz"] = tarred({"book/book.txt": "tampered with\n"})
    digest = sha256(hub.files["book.tgz"]).hexdigest()[:8]
    expected = source["archive"]["sha256"][:8]
    include = define_task(source)
    refused(
        run("data", "fetch", "mine", *include),
        f"sha256 {digest}, expected {expected}; discarded, try again",
        *REMEDY,
    )
    assert not [
        path
        for path in (tmp_path / "cache").rglob("*")
        if path.is_file() and path.suffix not in (".lock",)
    ]
    hub.files["book.tgz"] = right
    assert run("data", "fetch", "mine", *include).code == 0


def test_a_file_with_a_wrong_checksum_is_refused_without_an_archive_checksum(
    hub: StandIn, run: Callable[..., Done], define_task: Callable[..., Any]
) -> None:
    source = at_publisher(hub, "book.txt", b"tampered with\n", member=None, sha256=None)
    refused(
        run("data", "fetch", "mine", *define_task(source)),
        "sha256 ",
        "discarded, try again",
        *REMEDY,
    )


def test_a_streamed_archive_is_checked_if_its_file_has_no_checksum(
    hub: StandIn, run: Callable[..., Done], define_task: Callable[..., Any], tmp_path: Path
) -> None:
    source = at_publisher(
        hub, "book.tgz", tarred({"book/book.txt": BOOK, "book/z": os.urandom(300_000)}), stream=True
    )
    source["file"] = {"name": "book.txt"}
    done = run("data", "fetch", "mine", *define_task(source))
    assert "no published checksum to compare with (marked ! in signatures)" in done.out
    hub.files["book.tgz"] = tarred({"book/book.txt": "tampered with\n"})
    refused(
        run("data", "fetch", "mine", *define_task(source), "--cache", tmp_path / "elsewhere"),
        "discarded, try again",
    )


@pytest.mark.parametrize("share", [0.03, 0.5, 0.97])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_truncated_archive_is_a_one_line_error(
    hub: StandIn,
    run: Callable[..., Done],
    define_task: Callable[..., Any],
    share: float,
    streamed: bool,
) -> None:
    complete = tarred({"book/book.txt": BOOK})
    source = at_publisher(hub, "book.tgz", complete[: int(share * len(complete))], stream=streamed)
    refused(
        run("data", "fetch", "mine", *define_task(source)),
        "cannot be read: ",
        "truncated or corrupt?",
        *REMEDY,
    )


def test_without_a_mirror_only_the_url_itself_is_tried() -> None:
    assert mirrored("http://a.org/b/c.zip", None) == ["http://a.org/b/c.zip"]


def test_a_partial_file_that_is_a_link_is_not_followed(
    hub: StandIn, run: Callable[..., Done], define_task: Callable[..., Any], tmp_path: Path
) -> None:
    source = at_publisher(hub, "book.zip", zipped("book/book.txt", BOOK))
    part = Cache.at(tmp_path / "cache").archive_path(f"{source['archive']['sha256']}.part")
    part.parent.mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.write_bytes(b"")
    part.symlink_to(victim)
    done = run("data", "fetch", "mine", *define_task(source))
    assert done.code == 2
    assert victim.read_bytes() == b""


def test_the_password_of_a_mirror_is_not_recorded(
    hub: StandIn, run: Callable[..., Done], define_task: Callable[..., Any], tmp_path: Path
) -> None:
    source = at_publisher(hub, "book.zip", zipped("book/book.txt", BOOK))
    mirror = f"{hub.url.replace('://', '://me:canary-word@')}/files"
    done = run("data", "fetch", "mine", *define_task(source), "--mirror", mirror)
    assert done.code == 0, done.err
    assert "canary" not in done.out + done.err
    (origin,) = (tmp_path / "cache").rglob("origin.json")
    assert "***@127.0.0.1" in origin.read_text()
    assert "canary" not in origin.read_text()
