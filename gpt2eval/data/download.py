"""Download files over HTTP: resume after a dropped connection, and verify the SHA-256."""

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path
from shutil import copyfileobj
from typing import Any
from urllib.parse import urlsplit

from filelock import FileLock
from huggingface_hub import constants
from tenacity import RetryCallState, wait_exponential
from tqdm import tqdm

from gpt2eval.errors import UsageError
from gpt2eval.files import open_to_append
from gpt2eval.http import TRANSIENT_STATUSES, TransientError, downgrade, retry_after, retrying
from gpt2eval.notices import notify
from gpt2eval.settings import whole_number

ATTEMPTS = 5  # consecutive attempts without a byte
BACKOFF = wait_exponential(multiplier=0.25)  # seconds
LONGEST_WAIT = 30.0  # seconds before the next attempt
REPORTED_WAIT = 5.0  # seconds; a shorter wait is not reported
TIMEOUT = 60.0  # seconds without a byte
CONNECT_TIMEOUT = 10.0  # seconds
REFUSED = {
    401: "access denied (401)",
    403: "access denied (403)",
    404: "no such file (404); it was moved or removed",
    410: "no such file (410); it was removed",
}


class UnreachableError(Exception):
    """A source cannot be reached or does not provide the file; the message gives the reason."""


class Body(io.RawIOBase):
    """The content of a URL from byte `offset` on, read once. Reconnects after a dropped connection.

    `total` is the size of the complete file, or None if the server does not report it. Raises
    UnreachableError after `ATTEMPTS` consecutive attempts without data.
    """

    def __init__(self, url: str, offset: int = 0) -> None:
        self.url = url
        self.offset = offset
        self.total: int | None = None
        import httpx2 as httpx

        self._client = httpx.Client(
            timeout=httpx.Timeout(TIMEOUT, connect=CONNECT_TIMEOUT),
            follow_redirects=True,
            headers={"User-Agent": "gpt2eval"},
            event_hooks={"request": [self._check_request]},
        )
        self._chunks: Iterator[bytes] | None = None
        self._connected = False
        self._next = self._next_chunk()

    def readable(self) -> bool:
        return True

    # pyright: ignore because typeshed lets a buffer be more than a memoryview
    def readinto(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, buffer: memoryview, /
    ) -> int:
        if not self._next:
            self._next = self._next_chunk()
        content = self._next[: len(buffer)]
        self._next = self._next[len(buffer) :]
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        self._client.close()
        super().close()

    def _check_request(self, request: Any) -> None:
        if problem := downgrade(self.url, str(request.url)):
            raise UnreachableError(problem)

    def _next_chunk(self) -> bytes:
        """Return the next bytes, or none at the end of the file."""
        try:
            return retrying(ATTEMPTS, BACKOFF, LONGEST_WAIT, _report_wait)(self._try_next_chunk)
        except TransientError as error:
            raise UnreachableError(f"failed {ATTEMPTS} times: {error}") from None

    def _try_next_chunk(self) -> bytes:
        import httpx2 as httpx

        try:
            if self._chunks is None:
                self._chunks = self._request()
            chunk = next(self._chunks, b"")
        except httpx.TransportError as error:
            self._chunks = None
            message = str(error) or "the connection was dropped"
            if isinstance(error, httpx.TimeoutException):
                message = "timed out"
            never_connected = isinstance(
                error, httpx.ConnectError | httpx.ConnectTimeout | httpx.UnsupportedProtocol
            )
            if never_connected and not self._connected:
                raise UnreachableError(f"no connection: {message}") from None
            raise TransientError(message) from None
        except (httpx.RequestError, httpx.InvalidURL) as error:
            raise UnreachableError(str(error)) from None
        self.offset += len(chunk)
        return chunk

    def _request(self) -> Iterator[bytes]:
        """Request the file from the current offset on, and return its chunks."""
        headers = {"Accept-Encoding": "identity"}
        if self.offset:
            headers["Range"] = f"bytes={self.offset}-"
        request = self._client.build_request("GET", self.url, headers=headers)
        response = self._client.send(request, stream=True)
        self._connected = True
        status = response.status_code
        if status == 416 and self.offset:  # range not satisfiable: the file ends at this offset
            return iter(())
        if status in TRANSIENT_STATUSES:
            wait = retry_after(response.headers.get("Retry-After", ""))
            busy = f"the server is busy ({status})"
            if wait and wait > LONGEST_WAIT:
                raise UnreachableError(f"{busy} and asks to retry after {wait:,.0f} seconds")
            raise TransientError(busy, wait)
        if status not in (200, 206):
            raise UnreachableError(REFUSED.get(status, f"unexpected HTTP status {status}"))
        skipped = self.offset if status == 206 else 0
        length = whole_number(response.headers.get("Content-Length", ""))
        if length is not None:
            self.total = skipped + length
        # iter_raw() yields bytes as they arrive; a larger buffer would be lost with the connection.
        return _drop_first(response.iter_raw(), self.offset - skipped)


def _drop_first(chunks: Iterable[bytes], count: int) -> Iterator[bytes]:
    """Drop the first `count` bytes, which a server without range support sends again."""
    for chunk in chunks:
        remaining = chunk[count:]
        count -= len(chunk) - len(remaining)
        if remaining:
            yield remaining


def _report_wait(state: RetryCallState) -> None:
    if state.next_action and state.outcome and state.next_action.sleep >= REPORTED_WAIT:
        notify(f"{state.outcome.exception()}; retrying in {state.next_action.sleep:.0f} s")


@contextmanager
def stream(url: str, offset: int = 0) -> Iterator[Any]:
    """Open a URL as a binary file, with a progress bar on stderr if that is a terminal.

    Raises UnreachableError if the URL does not respond or HF_HUB_OFFLINE is set.
    """
    if constants.HF_HUB_OFFLINE:
        raise UnreachableError("HF_HUB_OFFLINE is set")
    with Body(url, offset) as body:
        name = Path(urlsplit(url).path).name
        bar = {
            "total": body.total,
            "initial": offset,
            "desc": name,
            "unit": "B",
            "unit_scale": True,
            "disable": None,
        }
        with tqdm.wrapattr(io.BufferedReader(body, 1 << 20), "read", **bar) as file:
            yield file


def download(url: str, path: Path, sha256: str | None) -> None:
    """Download `url` to `path` atomically.

    Resumes a partial download, and discards a file whose SHA-256 does not match. Raises
    UnreachableError if the URL does not respond, and UsageError for a checksum mismatch.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            if sha256 and path.exists() and _digest(path) == sha256:
                return
            if sha256 is None:
                # Without a checksum, a mixture of two files would go undetected.
                part.unlink(missing_ok=True)
            offset = part.stat().st_size if part.exists() else 0
            with stream(url, offset) as body, open_to_append(part) as file:
                copyfileobj(body, file, 1 << 20)
            digest = _digest(part)
            if sha256 and digest != sha256:
                part.unlink()
                raise UsageError(mismatch(url, digest, sha256))
            part.replace(path)
    except OSError as error:
        raise UsageError(
            f"{part}: {error.strerror}; run the same command again once it is writable"
        ) from None


def mismatch(origin: str, digest: str, expected: str) -> str:
    """Return the message for a download with a wrong SHA-256."""
    return f"{origin}: sha256 {digest[:8]}, expected {expected[:8]}; discarded, try again"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def mirrored(url: str, mirror: str | None) -> list[str]:
    """Return the URLs to try for a file, in order.

    First its name below the mirror, then its host and path below the mirror, then its own URL.

    >>> mirrored("http://a.org/b/c.zip", "http://m")
    ['http://m/c.zip', 'http://m/a.org/b/c.zip', 'http://a.org/b/c.zip']
    """
    if mirror is None:
        return [url]
    parts = urlsplit(url)
    base = mirror.rstrip("/")
    return [f"{base}/{Path(parts.path).name}", f"{base}/{parts.netloc}{parts.path}", url]
