"""A client of OpenAI's `/v1/completions`: requests, retries, and one model of a server.

It sends prompts and returns log-probabilities. Does not know models or tokenizers.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import finalize

import httpx2 as httpx
from tenacity import wait_random_exponential

from gpt2eval.errors import UsageError
from gpt2eval.http import TRANSIENT_STATUSES, TransientError, retry_after, retrying
from gpt2eval.models.server.answer import (
    Echo,
    TokenAnswer,
    parse_echo,
    parse_lists,
    usage_count,
    wrong_count,
)

ATTEMPTS = 8
TOPS = 2  # most likely tokens that the server lists, so that a tie shows
BACKOFF = wait_random_exponential(multiplier=0.5, max=30)  # seconds
LONGEST_WAIT = 60.0  # seconds
TIMEOUT = httpx.Timeout(600, connect=10)


class Server:
    """One model of the server at an address (with or without `/v1`)."""

    def __init__(self, url: str, model: str, key: str | None = None) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        self.model = model
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(
            base_url=self.url, timeout=TIMEOUT, headers=headers, follow_redirects=True
        )
        finalize(self, self._client.close)

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
        except UsageError:
            return None

    def _complete(self, body: Mapping[str, Any], attempts: int = ATTEMPTS) -> Any:
        return self._request("POST", "/v1/completions", {"model": self.model, **body}, attempts)

    def _request(
        self, method: str, path: str, body: Mapping[str, Any] | None, attempts: int
    ) -> Any:
        """Return the answer; retry failures that may be temporary up to `attempts` times."""
        try:
            return retrying(attempts, BACKOFF, LONGEST_WAIT)(self._request_once, method, path, body)
        except TransientError as error:
            count = f", {attempts} times" if attempts > 1 else ""
            raise UsageError(
                f"{self.url}{path}: {error}{count}; expected a server that answers"
            ) from None

    def _request_once(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        try:
            response = self._client.request(method, path, json=body)
        except httpx.TransportError as error:
            raise TransientError(f"{type(error).__name__}: {error}") from None
        except (httpx.RequestError, httpx.InvalidURL, UnicodeError) as error:
            raise UsageError(
                f"{self.url}{path}: {type(error).__name__}: {error}; expected a server that answers"
            ) from None
        if response.status_code in TRANSIENT_STATUSES:
            wait = retry_after(response.headers.get("Retry-After", ""))
            raise TransientError(f"status {response.status_code}: {_reason(response)}", wait)
        if response.status_code != 200:
            raise UsageError(
                f"{self.url}{path}: status {response.status_code}: {_reason(response)}"
            )
        try:
            return response.json()
        except (ValueError, RecursionError):
            raise UsageError(f"{self.url}{path}: {response.text[:60]!r}; expected JSON") from None


def read_api_key(path: str | None) -> str | None:
    """Read a server's key from a file. Raises UsageError if the file cannot be read."""
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise UsageError(
            f"--api-key-file {path}: {reason}; expected a file with the server's key"
        ) from None


def _reason(response: httpx.Response) -> str:
    """Return the message in the body of a failed response, on one line."""
    try:
        content = response.json()
        content = content.get("error", content) if isinstance(content, dict) else content
        content = content.get("message", content) if isinstance(content, dict) else content
    except ValueError:
        content = response.text
    return " ".join(str(content).split())[:200]
