"""Requests to a server that is not trusted: limits on the size and the time of its answers.

A read timeout alone lets a server send a byte now and then for ever. So each request has a clock:
the server may take long to begin its answer, and then has to send it at a reasonable rate.
"""

import threading
from collections.abc import Iterable
from time import monotonic
from typing import Any, NamedTuple

import httpcore2 as httpcore
import httpx2 as httpx

from gpt2eval.errors import UsageError, clean, scrub

CONNECT = 10.0  # seconds
FINISH = 30.0  # seconds from the first byte of an answer to its last
RATE = 1 << 16  # bytes per second that the server must send at least, once `FINISH` is over
FLOOR = 1 << 23  # bytes that any answer may have
PER_BYTE = 256  # bytes of answer for each byte of the request: a token takes 4 bytes or more
ERROR_BYTES = 1 << 16  # of a failed request's answer that are read
REDIRECTS = 4


class UnusableServerError(UsageError):
    """A server does what no retry can repair: it redirects, floods or stalls its client."""


class Limits(NamedTuple):
    """Limits of a request: seconds until the answer begins, bytes in the answer (None: derived)."""

    seconds: float = 600.0
    size: int | None = None


class Clock(threading.local):
    """The time by which the current request of a thread must be answered."""

    def __init__(self) -> None:
        self.until = 0.0
        self.has_begun = False
        self.expected = 0  # bytes

    def start(self, seconds: float, size: int) -> None:
        """Begin a request; its answer of at most `size` bytes must begin within `seconds`."""
        self.until = monotonic() + seconds
        self.has_begun = False
        self.expected = size

    def remaining(self) -> float:
        return self.until - monotonic()

    def received(self, count: int) -> None:
        """Extend the time for bytes of the answer, but not for more than were expected.

        A server can also send without end what is not part of the answer, such as
        `100 Continue`.
        """
        if not self.has_begun:
            self.has_begun = True
            self.until = monotonic() + FINISH
        counted = min(count, self.expected)
        self.expected -= counted
        self.until += counted / RATE


class _TimedStream(httpcore.NetworkStream):
    """A connection whose reads end when the request's time is over."""

    def __init__(self, stream: httpcore.NetworkStream, clock: Clock) -> None:
        self._stream = stream
        self._clock = clock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        remaining = self._clock.remaining()
        if remaining <= 0:
            raise httpcore.ReadTimeout("too slow")
        content = self._stream.read(max_bytes, min(timeout or remaining, remaining))
        self._clock.received(len(content))
        return content

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, *args: Any, **options: Any) -> httpcore.NetworkStream:
        return _TimedStream(self._stream.start_tls(*args, **options), self._clock)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _TimedBackend(httpcore.NetworkBackend):
    """Opens connections that obey a clock."""

    def __init__(self, backend: httpcore.NetworkBackend, clock: Clock) -> None:
        self._backend = backend
        self._clock = clock

    def connect_tcp(self, *args: Any, **options: Any) -> httpcore.NetworkStream:
        return _TimedStream(self._backend.connect_tcp(*args, **options), self._clock)

    def sleep(self, seconds: float) -> None:
        self._backend.sleep(seconds)


def timed_transport(clock: Clock) -> httpx.HTTPTransport:
    """Return a transport whose connections obey a clock.

    httpx has no option for a network backend, so this replaces the one of its connection pool.
    A proxy has a transport of its own; there, `read_body` alone looks at the clock.
    """
    transport = httpx.HTTPTransport()
    pool: Any = transport._pool
    pool._network_backend = _TimedBackend(pool._network_backend, clock)
    return transport


def read_body(response: httpx.Response, limit: int, clock: Clock, place: str) -> bytes:
    """Read at most `limit` bytes of an answer; of an answer that reports an error, the first ones.

    Raises:
        UnusableServerError: If the answer is larger or compressed, or arrives too slowly.
    """
    has_failed = response.status_code != 200
    if has_failed:
        limit = ERROR_BYTES
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        # it was not asked for, and a small answer could expand without bounds
        raise UnusableServerError(f"{place}: a compressed answer; expected one that is not")
    content = bytearray()
    length = response.headers.get("Content-Length", "")
    is_large = not has_failed and length.isdecimal() and int(length[:20]) > limit
    for chunk in () if is_large else _chunks(response, clock, place):
        content += chunk
        is_large = len(content) > limit
        if is_large:
            break
    if is_large and not has_failed:
        raise UnusableServerError(
            f"{place}: an answer of more than {limit:,} bytes; expected fewer for such a prompt "
            "(--api-max-answer sets another limit)"
        )
    return bytes(content[:limit])


def _chunks(response: httpx.Response, clock: Clock, place: str) -> Iterable[bytes]:
    for chunk in response.iter_raw():
        yield chunk
        clock.received(len(chunk))
        if clock.remaining() <= 0:
            raise too_slow(place)


def too_slow(place: str) -> UnusableServerError:
    """Return the error for an answer that began and does not end in time."""
    return UnusableServerError(
        f"{place}: the answer began, but was not complete within {FINISH:g} seconds; expected "
        f"{RATE:,} bytes a second or more"
    )


def same_origin(response: httpx.Response, place: str) -> httpx.URL:
    """Return the target of a redirect within the same scheme, host and port.

    Raises:
        UnusableServerError: If it leads elsewhere: a prompt and a key would go to a server that
            the user did not name.
    """
    location = response.headers.get("Location", "")
    try:
        target = response.url.join(location)
    except (httpx.InvalidURL, ValueError):
        raise UnusableServerError(
            f"{place}: redirects to something that is not a URL; expected an answer"
        ) from None
    if _origin(target) != _origin(response.url):
        scheme, host, port = _origin(target)
        raise UnusableServerError(
            f"{place}: redirects to {scrub(clean(f'{scheme}://{host}:{port}'))[:200]}; expected an "
            "answer, because prompts and keys go only to the address after api:"
        )
    return target


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    default = {"http": 80, "https": 443}.get(url.scheme, 0)
    return url.scheme, url.host.lower(), url.port or default
