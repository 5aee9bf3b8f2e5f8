"""A server that speaks the `/v1/completions` of OpenAI: requests, retries, and answers checked field by field.

It does not know models or tokenizers: it sends prompts and returns log-probabilities.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from weakref import finalize

import httpx2 as httpx
from tenacity import wait_random_exponential

from gpt2eval.errors import UsageError
from gpt2eval.http import TRANSIENT_STATUSES, TransientError, retry_after, retrying

ATTEMPTS = 8
BACKOFF = wait_random_exponential(multiplier=0.5, max=30)  # seconds
LONGEST_WAIT = 60.0  # seconds
TIMEOUT = httpx.Timeout(600, connect=10)
SLACK = 1e-3  # nats by which a top log-probability may miss the one beside it


class Generated(NamedTuple):
    """A token that a server made: its text, its log-probability, and the highest there."""

    text: str
    logprob: float
    highest: float


class Echo(NamedTuple):
    """What a server says of a prompt: its tokens, their log-probabilities (None for the first), and the highest at each place.

    `hidden`: whether the first token is not among them; `generated` is the token that the server went on with.
    """

    tokens: list[str]
    logprobs: list[float | None]
    highest: list[float | None]
    hidden: bool
    generated: Generated | None


class Server:
    """The server at an address (with or without `/v1`), asked for one of its models."""

    def __init__(self, url: str, model: str, key: str | None = None) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        self.model = model
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(
            base_url=self.url, timeout=TIMEOUT, headers=headers, follow_redirects=True
        )
        finalize(self, self._client.close)

    def echo(self, prompt: str | Sequence[int], count: int, *, attempts: int = ATTEMPTS) -> Echo:
        """The log-probabilities of a prompt that has `count` tokens. Raises UsageError for an answer that is not that."""
        asked = {"echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0, "prompt": prompt}
        return _checked(self._complete(asked, attempts), count, self.url)

    def following(self, prompt: str | Sequence[int], count: int, token: int) -> Generated:
        """What the server says of a token that it is made to go on with, after a prompt of `count` tokens."""
        asked = {
            "logprobs": 1,
            "max_tokens": 1,
            "temperature": 0,
            "prompt": prompt,
            "logit_bias": {str(token): 100},
        }
        answer = self._complete(asked)
        made = _lists(answer, self.url)
        if len(made.logprobs) != 1 or made.logprobs[0] is None or made.highest[0] is None:
            raise UsageError(
                f"{self.url}: {len(made.tokens)} tokens where one was asked for; expected its log-probability"
            )
        if (seen := _usage(answer, "prompt_tokens", count)) != count:
            raise UsageError(
                f"{self.url}: a prompt of {count} tokens came back as {seen}; expected the same tokens"
            )
        return Generated(made.tokens[0], made.logprobs[0], made.highest[0])

    def get(self, path: str) -> Any:
        """What a path says, or None where the server has none."""
        return self._optional("GET", path, None)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The same for a path that takes a body."""
        return self._optional("POST", path, body)

    def _optional(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        try:
            return self._asked(method, path, body, attempts=1)
        except UsageError:
            return None

    def _complete(self, asked: Mapping[str, Any], attempts: int = ATTEMPTS) -> Any:
        return self._asked("POST", "/v1/completions", {"model": self.model, **asked}, attempts)

    def _asked(self, method: str, path: str, body: Mapping[str, Any] | None, attempts: int) -> Any:
        """An answer, after as many attempts as it takes. Raises UsageError after the last of them."""
        try:
            return retrying(attempts, BACKOFF, LONGEST_WAIT)(self._once, method, path, body)
        except TransientError as error:
            tried = f", {attempts} times" if attempts > 1 else ""
            raise UsageError(
                f"{self.url}{path}: {error}{tried}; expected a server that answers"
            ) from None

    def _once(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        try:
            answer = self._client.request(method, path, json=body)
        except httpx.TransportError as error:
            raise TransientError(f"{type(error).__name__}: {error}") from None
        except (httpx.RequestError, httpx.InvalidURL, UnicodeError) as error:
            raise UsageError(
                f"{self.url}{path}: {type(error).__name__}: {error}; expected a server that answers"
            ) from None
        if answer.status_code in TRANSIENT_STATUSES:
            after = retry_after(answer.headers.get("Retry-After", ""))
            raise TransientError(f"status {answer.status_code}: {_reason(answer)}", after)
        if answer.status_code != 200:
            raise UsageError(f"{self.url}{path}: status {answer.status_code}: {_reason(answer)}")
        try:
            return answer.json()
        except (ValueError, RecursionError):
            raise UsageError(f"{self.url}{path}: {answer.text[:60]!r}; expected JSON") from None


def key_of(path: str | None) -> str | None:
    """The key in a file. Raises UsageError for a file that cannot be read."""
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise UsageError(
            f"--api-key-file {path}: {reason}; expected a file with the server's key"
        ) from None


def _reason(answer: httpx.Response) -> str:
    """What an error's body says, in one line."""
    try:
        said = answer.json()
        said = said.get("error", said) if isinstance(said, dict) else said
        said = said.get("message", said) if isinstance(said, dict) else said
    except ValueError:
        said = answer.text
    return " ".join(str(said).split())[:200]


def _lists(answer: Any, url: str) -> Echo:
    """The lists of an answer, each as long as the others. Raises UsageError, naming the field, where they are not there."""
    try:
        listed = answer["choices"][0]["logprobs"]
        tokens, logprobs, tops = listed["tokens"], listed["token_logprobs"], listed["top_logprobs"]
        lengths = {len(tokens), len(logprobs), len(tops)}
        highest = [max(map(float, top.values())) if top else None for top in tops]
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise UsageError(
            f"{url}: no {error} in its answer; expected choices[0].logprobs with tokens and their log-probabilities"
        ) from None
    if len(lengths) != 1:
        raise UsageError(
            f"{url}: {len(tokens)} tokens, {len(logprobs)} log-probabilities, {len(tops)} tops; expected one each"
        )
    for at, value in enumerate(logprobs):
        if value is not None and not (
            isinstance(value, int | float) and math.isfinite(value) and value <= SLACK
        ):
            raise UsageError(
                f"{url}: the log-probability of token {at} ({tokens[at]!r:.40}) is {value}; expected a number of 0 or less"
            )
    return Echo([str(token) for token in tokens], logprobs, highest, hidden=False, generated=None)


def _usage(answer: Any, key: str, otherwise: int) -> int:
    """A count of the answer's `usage`, if it has one."""
    usage = answer.get("usage")
    found = usage.get(key) if isinstance(usage, dict) else None
    return found if type(found) is int else otherwise


def _checked(answer: Any, count: int, url: str) -> Echo:
    """An echo of `count` tokens, the generated one set apart."""
    made = _lists(answer, url)
    said, more = (
        _usage(answer, "prompt_tokens", count),
        _usage(answer, "completion_tokens", max(0, len(made.tokens) - count)),
    )
    if said != count or len(made.tokens) - more not in (count, count - 1):
        found = said if said != count else len(made.tokens) - more
        raise UsageError(
            f"{url}: a prompt of {count} tokens came back as {found}; expected the same tokens"
        )
    own = len(made.tokens) - more
    logprobs, highest = made.logprobs[:own], made.highest[:own]
    if any(value is None for value in logprobs[1:]):
        at = next(i for i, value in enumerate(logprobs) if i and value is None)
        raise UsageError(
            f"{url}: no log-probability of token {at} ({made.tokens[at]!r:.40}); expected one of each after the first"
        )
    last, top = (made.logprobs[own], made.highest[own]) if more else (None, None)
    generated = None if last is None or top is None else Generated(made.tokens[own], last, top)
    return Echo(made.tokens[:own], logprobs, highest, own < count, generated)
