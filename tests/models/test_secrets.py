"""Canaries in every place that holds a secret: none reaches a message, a result or a file."""

import base64
import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
from conftest import Run
from tenacity import wait_none
from test_api import FakeServer

from gpt2eval.config.catalog import DEMO
from gpt2eval.errors import UsageError, clean, keep_secret, one_line, quoted, scrub
from gpt2eval.http import hide_environment
from gpt2eval.models import registry
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.server import client
from gpt2eval.models.server.address import read_address, read_api_key, shown_name
from gpt2eval.notices import LOGGER, notify, shown_on_stderr

WORDS = str(DEMO / "model")
USER, PASSWORD, QUERY, KEY = "canary-user-1", "canary/pass#2", "canary-query-3", "canary-key-4"
QUOTED = "canary%2Fpass%232"
BASIC = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
CANARIES = (USER, PASSWORD, QUOTED, QUERY, KEY, BASIC, "canary")


def no_canary(*texts: str) -> None:
    for text in texts:
        for canary in CANARIES:
            assert canary not in text


class Echoing(FakeServer):
    """A server that accepts the canaries, and whose failures repeat all it was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = 0
        self.seen: list[tuple[str, str]] = []
        outer = self
        handler: Any = self.http.RequestHandlerClass

        class Handler(handler):
            def do_POST(self) -> None:  # noqa: N802
                outer.seen.append((self.path, self.headers.get("Authorization", "")))
                if outer.fails:
                    message = f"{self.path} \x1b[31m{self.headers}\n{PASSWORD} {KEY}\x07"
                    raw = json.dumps({"error": {"message": message}}).encode()
                    self.send_response(outer.fails)
                    self.send_header("X-Echo", str(self.headers.get("Authorization")))
                    self.send_header("Content-Length", str(len(raw)))
                    self.end_headers()
                    self.wfile.write(raw)
                    return
                self.path = self.path.partition("?")[0]
                super().do_POST()

            def do_GET(self) -> None:  # noqa: N802
                self.path = self.path.partition("?")[0]
                super().do_GET()

        self.http.RequestHandlerClass = cast("Any", Handler)


@pytest.fixture
def echoing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Echoing]:
    monkeypatch.setattr(client, "BACKOFF", wait_none())
    server = Echoing()
    yield server
    server.http.shutdown()
    server.http.server_close()


def test_a_run_with_canaries_everywhere_writes_none_of_them(
    echoing: Echoing, gpt2eval: Run, tmp_path: Path
) -> None:
    port = echoing.http.server_address[1]
    name = f"api:http://{USER}:{QUOTED}@127.0.0.1:{port}/v1?api_key={QUERY}&x={KEY}#tiny"
    common = ("--tokenizer", WORDS, "--tasks", "text8", "--data", "demo", "--limit", "1", "-v")
    out = tmp_path / "out"
    done = gpt2eval("run", "--model", name, *common, "--out", out, "--signatures")
    assert done.code == 0, done.err
    path, authorization = echoing.seen[-1]
    assert authorization == f"Basic {BASIC}", "the server receives what the output hides"
    assert f"api_key={QUERY}" in path
    no_canary(done.out, done.err)
    files = [path for path in out.rglob("*") if path.is_file()]
    assert {"result.json", "run.json", "journal.json"} <= {path.name for path in files}
    for path in files:
        no_canary(str(path), path.read_bytes().decode("utf-8", "replace"))
    shown = f"api:http://127.0.0.1:{port}/v1#tiny"
    result = json.loads(next(out.rglob("result.json")).read_text())
    assert result["model"]["name"] == shown
    for status in (401, 500):
        echoing.fails = status
        done = gpt2eval("run", "--model", name, *common, "--out", out, "--traceback")
        assert done.code == 2
        assert f"status {status}" in done.err
        assert "\x1b" not in done.err
        no_canary(done.out, done.err)


def test_a_key_file_is_sent_and_never_shown(
    echoing: Echoing, gpt2eval: Run, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    arguments = ("run", "--model", echoing.name, "--tokenizer", WORDS, "--tasks", "text8")
    arguments += ("--data", "demo", "--limit", "1", "--out", str(tmp_path / "out"))
    done = gpt2eval(*arguments, "--api-key-file", tmp_path / "key")
    assert done.code == 0, done.err
    assert echoing.seen[-1][1] == f"Bearer {KEY}"
    echoing.fails = 403
    failed = gpt2eval(*arguments, "--api-key-file", tmp_path / "key")
    assert "status 403" in failed.err
    no_canary(done.out, done.err, failed.out, failed.err)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "no key in the file"),
        (b"\n\n", "no key in the file"),
        (f"{KEY}\n{KEY}\n".encode(), "more than one line"),
        (f"{KEY} \n".encode(), "a blank, or a character that is not visible ASCII"),
        (f"key {KEY}".encode(), "a blank"),
        (f"\ufeff{KEY}".encode(), "not visible ASCII"),
        (f"{KEY}\x00".encode(), "not visible ASCII"),
        (f"{KEY}\x1b[0m".encode(), "not visible ASCII"),
        ("canary-schlüssel".encode(), "not visible ASCII"),
        (b"canary" * 5000, "more than 8,192 characters"),
    ],
)
def test_an_invalid_key_file_is_not_printed(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(UsageError, match=problem) as caught:
        read_api_key(str(tmp_path / "key"))
    assert "canary" not in str(caught.value).replace(str(tmp_path), "")
    assert "\n" not in str(caught.value)


def test_a_key_in_the_place_of_its_file_is_not_printed() -> None:
    for key in ("sk-canary-123456", "canary/abc+def==", "canary" * 100, "canary\0x"):
        with pytest.raises(UsageError, match=r"--api-key-file: .*expected the name of a file") as c:
            read_api_key(key)
        assert "canary" not in str(c.value)


def test_the_last_line_end_of_a_key_does_not_matter(tmp_path: Path) -> None:
    for end in ("", "\n", "\r\n"):
        (tmp_path / "key").write_text(f"abc{end}", newline="")
        assert read_api_key(str(tmp_path / "key")) == "abc"


@pytest.mark.parametrize(
    ("rest", "name"),
    [
        ("http://127.0.0.1:8000#gpt2", "http://127.0.0.1:8000#gpt2"),
        ("https://host/v1#org/model@v1:8b", "https://host/v1#org/model@v1:8b"),
        ("http://me:canary@host#m", "http://host#m"),
        ("http://canary@host:1/v1#m", "http://host:1/v1#m"),
        ("http://me:canary@x:canary@host#m", "http://host#m"),
        ("https://host?code=canary#m", "https://host#m"),
        ("https://host/p?api-version=2&sig=canary#m", "https://host/p?api-version=2#m"),
        ("https://host/accounts/1/run/@cf/meta#m", "https://host/accounts/1/run/@cf/meta#m"),
        ("http://[::1]:8000#m", "http://[::1]:8000#m"),
    ],
)
def test_the_name_of_a_server_holds_no_secret(rest: str, name: str) -> None:
    assert read_address(rest).name == name
    assert shown_name(f"api:{rest}") == f"api:{name}"


@pytest.mark.parametrize(
    "rest",
    [
        "http://me:canary#1@host#m",
        "http://me:can/ary@host#m",
        "http://me:canary?x@host#m",
        "http://host#canary#m",
        "http://host#m?api_key=canary",
        "http://host#m&key=canary",
        "http://host#token=canary",
        "http://host:canary#m",
        "http://host:99999#canary=key=",
        "me:canary@host#m",
        "ftp://me:canary@host#m",
        "http://host/canary x#m",
        "http://host?key=canary",
    ],
)
def test_an_address_that_cannot_be_read_is_not_repeated(
    rest: str, gpt2eval: Run, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"^model api:\*\*\*.*expected") as caught:
        registry.load_model(f"api:{rest}", LoadOptions())
    assert "canary" not in str(caught.value)
    assert "canary" not in shown_name(f"api:{rest}")
    arguments = ("--tasks", "text8", "--data", "demo", "--out", tmp_path, "-v", "--traceback")
    done = gpt2eval("run", "--model", f"api:{rest}", *arguments)
    assert done.code == 2
    no_canary(done.out, done.err)


def test_a_key_file_and_a_user_are_one_too_many(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("abcd1234")
    options = LoadOptions(api_key_file=str(tmp_path / "key"))
    with pytest.raises(UsageError, match="a user in the URL; expected one of the two"):
        registry.load_model("api:http://a:b@127.0.0.1:9#m", options)


def test_the_environment_is_scrubbed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "canary-token-1")
    monkeypatch.setenv("OPENAI_API_KEY", "canary-token-2")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:canary%23word@proxy:80")
    hide_environment()
    monkeypatch.setenv("http_proxy", "http://me:canary[open@proxy:80")  # urlsplit rejects it
    hide_environment()
    for text in (
        *("canary-token-1", "x CANARY-TOKEN-2 y", "canary%23word", "canary#word"),
        "canary[open",
    ):
        assert "canary" not in scrub(text).lower()


def test_what_looks_like_a_secret_is_hidden_without_being_known() -> None:
    for text in (
        "https://me:canary@host/x",
        "GET http://host/?a=1&access_token=canary HTTP/1.1",
        "api:http://host?whatever=canary#m",
        "{'Authorization': 'Bearer canary-1234'}",
        "authorization: Basic canary",
        "hf_canarycanarycanary12",
    ):
        assert "canary" not in scrub(text)
    for text in ("a key=value", "hf://datasets/a/b@c0ffee/x", "it is basic training", "sk-learn"):
        assert scrub(text) == text


def test_a_cut_leaves_no_part_of_a_secret() -> None:
    keep_secret("canary-0123456789")
    text = "x" * 30 + "canary-0123456789"
    assert "canary" not in quoted(text)
    assert "canary" not in one_line(ValueError(text), 40)
    assert "canary" not in quoted("can\x1b[0mary-0123\x00456789")
    assert "canary" not in str(UsageError("canary-01\r\n234567\n89"))


def test_a_short_secret_is_hidden_only_where_it_stands_alone() -> None:
    keep_secret("abcd")
    keep_secret("x")
    assert scrub("abcd abcdef x") == "*** abcdef x"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07rest", "rest"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b31mred \x85next", "red  next"),
        ("a\r\nb\tc\u2028d", "a b c d"),
        ("\u202egnp.exe\u202c \u2066x\u2069", "gnp.exe x"),
        ("\x1b(Bplain\x1bc", "plain"),
        ("bell\x07 nul\x00 del\x7f", "bell nul del"),
        ("café — 我能 🙂👍🏽 a\u200db", "café — 我能 🙂👍🏽 a\u200db"),
        ("", ""),
        ("\x1b", ""),
    ],
)
def test_what_a_terminal_would_obey_is_removed(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned
    assert clean(cleaned) == cleaned


def test_every_notice_and_error_is_scrubbed(capsys: pytest.CaptureFixture[str]) -> None:
    keep_secret("canary-notice")
    with shown_on_stderr(logging.INFO):
        notify("a canary-notice\x1b[2J")
        LOGGER.info("with %s", "canary-notice")
    assert capsys.readouterr().err == "gpt2eval: a ***\ngpt2eval: with ***\n"
    assert str(UsageError("a canary-notice\nb")) == "a *** b"


def test_the_library_below_logs_no_secret(
    echoing: Echoing, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        name = echoing.name.replace("http://", f"http://{USER}:{QUOTED}@").replace(
            "#tiny", f"?code={QUERY}#tiny"
        )
        registry.load_model(name, LoadOptions(tokenizer=WORDS))
    assert "HTTP Request" in caplog.text
    no_canary(caplog.text)


def test_a_redirect_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    class Redirecting(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(307)
            self.send_header("Location", f"http://{USER}:{QUOTED}@127.0.0.1:9{self.path}&a={KEY}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Redirecting)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    name = f"api:http://{USER}:{QUOTED}@127.0.0.1:{http.server_address[1]}?k={QUERY}#m"
    with pytest.raises(UsageError, match=r"redirects to http://127.0.0.1:9; expected an") as caught:
        registry.load_model(name, LoadOptions(tokenizer=WORDS))
    no_canary(str(caught.value))
    http.shutdown()
    http.server_close()
