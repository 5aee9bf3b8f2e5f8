"""A client of OpenAI's `/v1/completions`: requests, retries, and one model of a server.

It sends prompts and returns log-probabilities. Does not know models or tokenizers.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import finalize

import httpx2 as httpx
from tenacity import wait_random_exponential

from gpt2eval.errors import UsageError, clean, one_line, quoted, scrub
from gpt2eval.http import TRANSIENT_STATUSES, TransientError, retry_after, retrying
from gpt2eval.models.server.address import Address
from gpt2eval.models.server.answer import (
    Echo,
    TokenAnswer,
    parse_echo,
    parse_lists,
    usage_count,
    wrong_count,
)
from gpt2eval.models.server.transport import (
    CONNECT,
    FLOOR,
    PER_BYTE,
    REDIRECTS,
    Clock,
    Limits,
    UnusableServerError,
    read_body,
    same_origin,
    timed_transport,
    too_slow,
)
from gpt2eval.notices import make_printable

ATTEMPTS = 8
TOPS = 2  # most likely tokens that the server lists, so that a tie shows
BACKOFF = wait_random_exponential(multiplier=0.5, max=30)  # seconds
LONGEST_WAIT = 60.0  # seconds
OPTIONAL_SECONDS = 60.0  # until the answer at a path that a server may lack begins
JSON_HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "identity"}


class Server:
    """One model of the server at an address (with or without `/v1`)."""

    def __init__(self, address: Address, key: str | None = None, limits: Limits = Limits()) -> None:
        self.url = address.url.rstrip("/").removesuffix("/v1")
        self.model = address.model
        self._limits = limits
        self._clock = Clock()
        authorization = f"Bearer {key}" if key else address.authorization
        self._client = httpx.Client(
            base_url=self.url,
            params=address.parameters,
            timeout=httpx.Timeout(limits.seconds, connect=CONNECT),
            headers=JSON_HEADERS | ({"Authorization": authorization} if authorization else {}),
            transport=timed_transport(self._clock),
        )
        finalize(self, self._client.close)
        library = logging.getLogger("httpx2")  # logs every URL, with its parameters
        if make_printable not in library.filters:
            library.addFilter(make_printable)

    def echo(self, prompt: str | Sequence[int], count: int, *, attempts: int = ATTEMPTS) -> Echo:
        """Return the log-probabilities of a prompt of `count` tokens.

        Raises:
            UsageError: If the answer is invalid, or has a different number of tokens.
        """
        body = {"echo": True, "logprobs": TOPS, "max_tokens": 1, "temperature": 0, "prompt": prompt}
        return parse_echo(self._complete(body, attempts), count, self.url)

    def force_next(self, prompt: str | Sequence[int], count: int, token: int) -> TokenAnswer:
        """Make the server generate `token` after a prompt of `count` tokens, and return it.

        Raises:
            UsageError: If the answer is invalid, or the prompt has a different number of tokens.
        """
        body = {
            "logprobs": TOPS,
            "max_tokens": 1,
            "temperature": 0,
            "prompt": prompt,
            "logit_bias": {str(token): 100},  # OpenAI's highest bias, which forces the token
        }
        answer = self._complete(body)
        lists = parse_lists(answer, self.url)
        scored = lists.at(0) if len(lists.logprobs) == 1 else None
        if scored is None:
            raise UsageError(
                f"{self.url}: {len(lists.tokens)} tokens for max_tokens 1; "
                "expected one with its log-probability"
            )
        prompt_tokens = usage_count(answer, "prompt_tokens", count)
        if prompt_tokens != count:
            raise wrong_count(self.url, count, prompt_tokens)
        return scored

    def get(self, path: str) -> Any:
        """Return the JSON at an optional path, or None if the request fails."""
        return self._request_optional("GET", path, None)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Post a body to an optional path; return the JSON, or None if the request fails."""
        return self._request_optional("POST", path, body)

    def _request_optional(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        try:
            return self._request(method, path, body, attempts=1)
        except UnusableServerError:
            raise
        except UsageError:
            return None

    def _complete(self, body: Mapping[str, Any], attempts: int = ATTEMPTS) -> Any:
        return self._request("POST", "/v1/completions", {"model": self.model, **body}, attempts)

    def _request(
        self, method: str, path: str, body: Mapping[str, Any] | None, attempts: int
    ) -> Any:
        """Return the answer; retry failures that may be temporary up to `attempts` times."""
        content = b"" if body is None else json.dumps(body).encode()
        seconds = self._limits.seconds if attempts > 1 else OPTIONAL_SECONDS
        timeouts: list[None] = []

        def request() -> Any:
            try:
                return self._request_once(method, path, content, seconds)
            except httpx.ReadTimeout:
                # a second time: the server is not busy for a moment, and waiting takes very long
                if attempts > 1 and timeouts:
                    raise UnusableServerError(
                        f"{self.url}{path}: no answer within {seconds:g} seconds, twice; expected "
                        "one (--api-timeout sets another limit)"
                    ) from None
                timeouts.append(None)
                raise TransientError(f"no answer within {seconds:g} seconds") from None

        try:
            return retrying(attempts, BACKOFF, LONGEST_WAIT)(request)
        except TransientError as error:
            count = f", {attempts} times" if attempts > 1 else ""
            raise UsageError(
                f"{self.url}{path}: {error}{count}; expected a server that answers"
            ) from None

    def _request_once(self, method: str, path: str, content: bytes, seconds: float) -> Any:
        place = f"{self.url}{path}"
        try:
            response, raw = self._send(method, path, content, seconds)
        except httpx.ReadTimeout:
            if self._clock.has_begun:
                raise too_slow(place) from None
            raise
        except httpx.TransportError as error:
            raise TransientError(f"{type(error).__name__}: {one_line(error, 200)}") from None
        except (httpx.RequestError, httpx.InvalidURL, UnicodeError) as error:
            raise UsageError(
                f"{place}: {type(error).__name__}: {one_line(error, 200)}; "
                "expected a server that answers"
            ) from None
        if response.status_code in TRANSIENT_STATUSES:
            wait = retry_after(response.headers.get("Retry-After", ""))
            raise TransientError(f"status {response.status_code}: {_reason(raw)}", wait)
        if response.status_code != 200:
            raise UsageError(f"{place}: status {response.status_code}: {_reason(raw)}")
        try:
            return json.loads(raw)
        except (ValueError, RecursionError):
            text = quoted(raw[:1000].decode("utf-8", "replace"), 60)
            raise UsageError(f"{place}: {text}; expected JSON") from None

    def _send(
        self, method: str, path: str, content: bytes, seconds: float
    ) -> tuple[httpx.Response, bytes]:
        """Send a request, also after redirects within the server; return its limited answer."""
        place = f"{self.url}{path}"
        limit = self._limits.size or FLOOR + PER_BYTE * len(content)
        url: str | httpx.URL = path
        for _ in range(REDIRECTS):
            self._clock.start(seconds, limit)
            with self._client.stream(method, url, content=content) as response:
                if not response.has_redirect_location:
                    return response, read_body(response, limit, self._clock, place)
                url = same_origin(response, place)
        raise UnusableServerError(f"{place}: redirects {REDIRECTS} times; expected an answer")


def _reason(raw: bytes) -> str:
    """Return the message in the body of a failed response, on one line."""
    content: Any = raw.decode("utf-8", "replace")
    try:
        decoded = json.loads(raw)
        decoded = decoded.get("error", decoded) if isinstance(decoded, dict) else decoded
        content = decoded.get("message", decoded) if isinstance(decoded, dict) else decoded
    except (ValueError, RecursionError):
        pass
    return " ".join(scrub(clean(str(content))).split())[:200]
