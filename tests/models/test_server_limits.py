"""Servers that flood, stall or redirect their client: one line, bounded time and memory."""

import gzip
import json
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2 as httpx
import pytest
from tenacity import wait_none

from gpt2eval.config.catalog import DEMO
from gpt2eval.errors import UsageError
from gpt2eval.models import registry
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.server import client, transport
from gpt2eval.models.server.address import read_address
from gpt2eval.models.server.answer import parse_lists
from gpt2eval.models.server.client import Server
from gpt2eval.models.server.transport import Limits, UnusableServerError, same_origin

WORDS = str(DEMO / "model")
Behaviour = Callable[[BaseHTTPRequestHandler], None]


class Hostile:
    """A server whose every answer to a POST is a behaviour."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.posts: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                outer.posts.append(self.path)
                with suppress(OSError):
                    behaviour(self)
                self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def server(self, **limits: Any) -> Server:
        return Server(read_address(f"{self.url}#m"), limits=Limits(**limits))


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Behaviour], Hostile]]:
    monkeypatch.setattr(client, "BACKOFF", wait_none())
    monkeypatch.setattr(transport, "FINISH", 0.4)
    started: list[Hostile] = []

    def start(behaviour: Behaviour) -> Hostile:
        started.append(Hostile(behaviour))
        return started[-1]

    yield start
    for server in started:
        server.http.shutdown()
        server.http.server_close()


def drip_body(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" ")
        time.sleep(0.1)


def drip_headers(handler: BaseHTTPRequestHandler) -> None:
    for _ in range(100):
        handler.wfile.write(b"H")
        time.sleep(0.1)


def endless_headers(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(100000):
        handler.wfile.write(b"X-%d: %s\r\n" % (number, b"x" * 1000))


def endless_promises(handler: BaseHTTPRequestHandler) -> None:
    for _ in range(100000):
        handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


def flood(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for _ in range(6000):
        handler.wfile.write(b"100000\r\n" + b" " * (1 << 20) + b"\r\n")


def announce(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(6 << 30))
    handler.end_headers()


def bomb(handler: BaseHTTPRequestHandler) -> None:
    raw = gzip.compress(b" " * (1 << 20))
    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.send_header("Content-Length", str(len(raw)))
    handler.end_headers()
    handler.wfile.write(raw)


def silence(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(5)


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        (drip_body, "the answer began, but was not complete within"),
        (drip_headers, "the answer began, but was not complete within"),
        (endless_promises, "the answer began, but was not complete within"),
        (flood, "an answer of more than 100,000 bytes; expected fewer"),
        (announce, "an answer of more than 100,000 bytes; expected fewer"),
        (bomb, "a compressed answer; expected one that is not"),
        (silence, "no answer within 0.3 seconds, twice; expected one .--api-timeout"),
        (endless_headers, "expected a server that answers"),
    ],
)
def test_floods_and_stalls_end_soon(
    hostile: Callable[[Behaviour], Hostile], behaviour: Behaviour, message: str
) -> None:
    place = hostile(behaviour)
    start = time.monotonic()
    tracemalloc.start()
    with pytest.raises(UsageError, match=f"^{place.url}/v1/completions: .*{message}") as caught:
        place.server(seconds=0.3, size=100_000).echo("x", 1)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
    assert time.monotonic() - start < 4
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("behaviour", [drip_body, flood, announce, bomb])
def test_a_hostile_server_is_given_up_at_the_first_probe(
    hostile: Callable[[Behaviour], Hostile], behaviour: Behaviour
) -> None:
    place = hostile(behaviour)
    with pytest.raises(UnusableServerError):
        registry.load_model(
            f"api:{place.url}#m", LoadOptions(tokenizer=WORDS, api_max_answer=100_000)
        )
    assert len(place.posts) == 1


def test_the_limit_grows_with_the_prompt() -> None:
    """A token takes 2 bytes or more of a prompt, and about 200 of an answer."""
    ids = list(range(10, 2010))
    answer = {
        "tokens": [" \\u6211" for _ in ids],
        "token_logprobs": [-12.345678901234567 for _ in ids],
        "top_logprobs": [{" \\u6211": -12.345678901234567, " the": -1.2345678} for _ in ids],
        "text_offset": [100000 for _ in ids],
    }
    sent = len(json.dumps({"prompt": ids}))
    assert transport.PER_BYTE * sent > 2 * len(json.dumps(answer))


def redirect(status: int, location: str) -> Behaviour:
    def behaviour(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Location", location)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return behaviour


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("http://127.0.0.1:9/v1/completions", "http://127.0.0.1:9"),
        ("http://localhost:9/x", "http://localhost:9"),
        ("https://example.org/x", "https://example.org:443"),
        ("//example.org/x", "http://example.org:80"),
        ("http://exa\x1bmple.org/", ""),
        ("ftp://example.org/", "ftp://example.org:0"),
        ("http://[::bad", ""),
    ],
)
def test_a_redirect_to_another_origin_is_refused(
    hostile: Callable[[Behaviour], Hostile], status: int, location: str, shown: str
) -> None:
    place = hostile(redirect(status, location))
    with pytest.raises(UsageError) as caught:
        place.server(seconds=2).echo("a secret prompt", 3)
    message = str(caught.value)
    assert message.startswith(f"{place.url}/v1/completions: ")
    assert shown in message
    assert "\x1b" not in message
    assert len(place.posts) == 1


def test_a_redirect_within_the_server_is_followed(
    hostile: Callable[[Behaviour], Hostile],
) -> None:
    def behaviour(handler: BaseHTTPRequestHandler) -> None:
        if handler.path == "/v1/completions":
            redirect(307, "/other/path")(handler)
        else:
            handler.send_response(401)
            handler.send_header("Content-Length", "2")
            handler.end_headers()
            handler.wfile.write(b"no")

    place = hostile(behaviour)
    with pytest.raises(UsageError, match="status 401: no"):
        place.server().echo("x", 1)
    assert place.posts == ["/v1/completions", "/other/path"]


def test_redirects_in_a_circle(hostile: Callable[[Behaviour], Hostile]) -> None:
    place = hostile(redirect(308, "/v1/completions"))
    with pytest.raises(UnusableServerError, match="redirects 4 times; expected an answer"):
        place.server().echo("x", 1)


@pytest.mark.parametrize(
    ("start", "target", "same"),
    [
        ("http://h/a", "http://h:80/b", True),
        ("https://h/a", "https://H:443/b", True),
        ("https://h/a", "http://h/b", False),
        ("http://h/a", "https://h/b", False),
        ("http://h/a", "http://h.evil/b", False),
        ("http://h:1/a", "/b", True),
    ],
)
def test_origins(start: str, target: str, same: bool) -> None:
    response = httpx.Response(307, headers={"Location": target})
    response.request = httpx.Request("POST", start)
    if same:
        assert same_origin(response, "x").path == "/b"
    else:
        with pytest.raises(UnusableServerError, match="prompts and keys go only to"):
            same_origin(response, "x")


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 100_000,
        b'{"choices": ' + b"9" * 10_000 + b"}",
        b"\xff\xfe",
        b"",
        b"\x1b[2Jnot json",
    ],
)
def test_answers_that_are_not_json(hostile: Callable[[Behaviour], Hostile], raw: bytes) -> None:
    def behaviour(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(raw)))
        handler.end_headers()
        handler.wfile.write(raw)

    with pytest.raises(UsageError, match=r"; expected JSON$") as caught:
        hostile(behaviour).server().echo("x", 1)
    assert str(caught.value).isprintable()


LISTS = {"tokens": ["a"], "token_logprobs": [-1.0], "top_logprobs": [{"a": -1.0}]}


@pytest.mark.parametrize(
    "change",
    [
        {"tokens": {"0": "a"}},
        {"tokens": "a"},
        {"token_logprobs": [10**400]},
        {"token_logprobs": ["\x1b[2J" * 100]},
        {"token_logprobs": [[-1.0]]},
        {"top_logprobs": [{"a": 10**400}]},
        {"top_logprobs": [["a"]]},
        {"top_logprobs": 3},
    ],
)
def test_lists_of_other_things(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"^http://h: .*expected") as caught:
        parse_lists({"choices": [{"logprobs": LISTS | change}]}, "http://h")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan")])
def test_limits_are_positive(value: float) -> None:
    with pytest.raises(UsageError, match=r"--api-timeout .*: expected a number above 0"):
        LoadOptions(api_timeout=value)
