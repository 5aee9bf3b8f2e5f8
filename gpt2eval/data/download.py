"""A file at an address: taken up again where the connection broke, and checked before it counts."""

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path
from shutil import copyfileobj
from typing import Any
from urllib.parse import urlsplit

import httpx2 as httpx
from filelock import FileLock
from huggingface_hub import constants
from tenacity import RetryCallState, wait_exponential
from tqdm import tqdm

from gpt2eval.errors import UsageError
from gpt2eval.http import TRANSIENT_STATUSES, TransientError, retry_after, retrying
from gpt2eval.notices import notify

ATTEMPTS = 5  # without a single byte in between
BACKOFF = wait_exponential(multiplier=0.25)  # seconds
LONGEST_WAIT = 30.0  # seconds before the next attempt
REPORTED_WAIT = 5.0  # seconds from which a wait is reported
TIMEOUT = httpx.Timeout(60, connect=10)  # seconds without a byte, and without a connection
REFUSED = {
    401: "access is refused (401)",
    403: "access is refused (403)",
    404: "there is no such file (404); it was moved or removed",
    410: "there is no such file (410); it was removed",
}


class UnreachableError(Exception):
    """An address that does not give its file, and why."""


class Body(io.RawIOBase):
    """The bytes of an address from byte `at` on, read once; `total` is how many there are in all, where the server says so.

    Raises UnreachableError where they cannot be had, after as many attempts as may help.
    """

    def __init__(self, url: str, at: int = 0) -> None:
        self.url, self.at, self.total = url, at, None
        self._client = httpx.Client(
            timeout=TIMEOUT, follow_redirects=True, headers={"User-Agent": "gpt2eval"}
        )
        self._chunks: Iterator[bytes] | None = None
        self._answered = False
        self._next = self._more()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not self._next:
            self._next = self._more()
        taken, self._next = self._next[: len(buffer)], self._next[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)

    def close(self) -> None:
        self._client.close()
        super().close()

    def _more(self) -> bytes:
        """The next bytes; none are left when they are empty."""
        try:
            return retrying(ATTEMPTS, BACKOFF, LONGEST_WAIT, _said)(self._once)
        except TransientError as error:
            raise UnreachableError(f"{error}, {ATTEMPTS} times") from None

    def _once(self) -> bytes:
        try:
            if self._chunks is None:
                self._chunks = self._connected()
            chunk = next(self._chunks, b"")
        except httpx.TransportError as error:
            self._chunks = None
            said = (
                "no answer in time"
                if isinstance(error, httpx.TimeoutException)
                else str(error) or "the connection was cut"
            )
            if (
                isinstance(error, httpx.ConnectError | httpx.UnsupportedProtocol)
                and not self._answered
            ):
                raise UnreachableError(f"no connection: {said}") from None
            raise TransientError(said) from None
        except (httpx.RequestError, httpx.InvalidURL) as error:
            raise UnreachableError(str(error)) from None
        self.at += len(chunk)
        return chunk

    def _connected(self) -> Iterator[bytes]:
        headers = {"Accept-Encoding": "identity"} | (
            {"Range": f"bytes={self.at}-"} if self.at else {}
        )
        answer = self._client.send(
            self._client.build_request("GET", self.url, headers=headers), stream=True
        )
        self._answered = True
        if answer.status_code == 416 and self.at:  # there is nothing after that byte
            return iter(())
        if answer.status_code in TRANSIENT_STATUSES:
            after = retry_after(answer.headers.get("Retry-After", ""))
            busy = f"the server is busy ({answer.status_code})"
            if after and after > LONGEST_WAIT:
                raise UnreachableError(f"{busy}, and asks to come back in {after:,.0f} seconds")
            raise TransientError(busy, after)
        if answer.status_code not in (200, 206):
            raise UnreachableError(
                REFUSED.get(answer.status_code, f"the server answers {answer.status_code}")
            )
        sent_before = self.at if answer.status_code == 206 else 0
        if (length := answer.headers.get("Content-Length", "")).isdecimal():
            self.total = sent_before + int(length)
        return _after(
            answer.iter_raw(), self.at - sent_before
        )  # as they come: larger pieces are lost in a cut


def _after(chunks: Iterable[bytes], count: int) -> Iterator[bytes]:
    """Chunks without their first bytes, which a server sends again that knows no ranges."""
    for chunk in chunks:
        rest = chunk[count:]
        count -= len(chunk) - len(rest)
        if rest:
            yield rest


def _said(state: RetryCallState) -> None:
    """Say on stderr what is waited for, where that takes long."""
    if state.next_action and state.outcome and state.next_action.sleep >= REPORTED_WAIT:
        notify(f"{state.outcome.exception()}; again in {state.next_action.sleep:.0f} s")


@contextmanager
def stream(url: str, at: int = 0) -> Iterator[Any]:
    """The bytes of an address as they come, with a bar on stderr where that is a terminal.

    Raises UnreachableError where there are none, and where HF_HUB_OFFLINE says that there is no network.
    """
    if constants.HF_HUB_OFFLINE:
        raise UnreachableError("HF_HUB_OFFLINE is set")
    with Body(url, at) as body:
        name = Path(urlsplit(url).path).name
        bar = {
            "total": body.total,
            "initial": at,
            "desc": name,
            "unit": "B",
            "unit_scale": True,
            "disable": None,
        }
        with tqdm.wrapattr(io.BufferedReader(body, 1 << 20), "read", **bar) as file:
            yield file


def download(url: str, path: Path, sha256: str | None) -> None:
    """The file of an address, whole or not there: one that was begun is gone on with, one of another hash is thrown away.

    Raises UnreachableError where it cannot be had, and UsageError for another hash.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            if sha256 and path.exists() and _digest(path) == sha256:
                return
            if sha256 is None:
                part.unlink(missing_ok=True)  # nothing would tell a mixture of two
            with (
                stream(url, part.stat().st_size if part.exists() else 0) as body,
                part.open("ab") as file,
            ):
                copyfileobj(body, file, 1 << 20)
            found = _digest(part)
            if sha256 not in (None, found):
                part.unlink()
                raise UsageError(
                    f"{url}: sha256 {found[:8]}, expected {sha256[:8]}; thrown away, try again"
                )
            part.replace(path)
    except OSError as error:
        raise UsageError(
            f"{part}: {error.strerror}; the same command goes on once it can be written"
        ) from None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def mirrored(url: str, mirror: str | None) -> list[str]:
    """Where to ask for a file: below a mirror's address by its name, then by host and path; and at its own address.

    >>> mirrored("http://a.org/b/c.zip", "http://m")
    ['http://m/c.zip', 'http://m/a.org/b/c.zip', 'http://a.org/b/c.zip']
    """
    if mirror is None:
        return [url]
    parts, base = urlsplit(url), mirror.rstrip("/")
    return [f"{base}/{Path(parts.path).name}", f"{base}/{parts.netloc}{parts.path}", url]
