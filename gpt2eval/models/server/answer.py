"""Answers of `/v1/completions`, validated field by field."""

import math
from typing import Any, NamedTuple

from gpt2eval.errors import UsageError, quoted

SLACK = 1e-3  # nats by which a top log-probability may miss the token's own


class Generated(NamedTuple):
    """A generated token: its text, its log-probability, and the highest log-probability."""

    text: str
    logprob: float
    highest: float


class Echo(NamedTuple):
    """A prompt's tokens, their log-probabilities, and the highest log-probability at each.

    The first token has None. `hidden` means that the server does not show the first token.
    `generated` is the token after the prompt.
    """

    tokens: list[str]
    logprobs: list[float | None]
    highest: list[float | None]
    hidden: bool
    generated: Generated | None

    def without_start(self) -> "Echo":
        """Return the echo without a start token that the server added and may show."""
        first = 0 if self.hidden else 1
        return self._replace(
            tokens=self.tokens[first:],
            logprobs=self.logprobs[first:],
            highest=self.highest[first:],
            hidden=False,
        )


def wrong_count(url: str, count: int, returned: int) -> UsageError:
    """Return the error for a prompt that the server read as a different number of tokens."""
    return UsageError(
        f"{url}: a prompt of {count} tokens came back as {returned}; expected the same tokens"
    )


def parse_lists(answer: Any, url: str) -> Echo:
    """Return all tokens of an answer, generated or not, with their log-probabilities.

    Raises:
        UsageError: If a list is missing or has the wrong length, or a value is no log-probability.
    """
    try:
        lists = answer["choices"][0]["logprobs"]
        tokens = lists["tokens"]
        logprobs = lists["token_logprobs"]
        tops = lists["top_logprobs"]
        if not all(isinstance(values, list) for values in (tokens, logprobs, tops)):
            raise TypeError
        lengths = {len(tokens), len(logprobs), len(tops)}
        highest = [max(map(float, top.values())) if top else None for top in tops]
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, OverflowError) as error:
        problem = str(error) if isinstance(error, KeyError) else "usable logprobs"
        raise UsageError(
            f"{url}: no {problem} in the answer; "
            "expected choices[0].logprobs with tokens and their log-probabilities"
        ) from None
    if len(lengths) != 1:
        raise UsageError(
            f"{url}: {len(tokens)} tokens, {len(logprobs)} log-probabilities, {len(tops)} tops; "
            "expected one each"
        )
    for index, value in enumerate(logprobs):
        if value is not None and not _is_logprob(value):
            raise UsageError(
                f"{url}: the log-probability of token {index} ({quoted(tokens[index])}) is "
                f"{quoted(value)[1:-1]}; expected a number of 0 or less"
            )
    return Echo([str(token) for token in tokens], logprobs, highest, hidden=False, generated=None)


def _is_logprob(value: Any) -> bool:
    return isinstance(value, int | float) and -math.inf < value <= SLACK


def usage_count(answer: Any, key: str, default: int) -> int:
    """Return a count in the answer's `usage`, if it has one."""
    usage = answer.get("usage")
    value = usage.get(key) if isinstance(usage, dict) else None
    return value if type(value) is int else default


def parse_echo(answer: Any, count: int, url: str) -> Echo:
    """Split an answer into the echo of a prompt of `count` tokens and the generated token."""
    lists = parse_lists(answer, url)
    prompt_tokens = usage_count(answer, "prompt_tokens", count)
    generated_tokens = usage_count(answer, "completion_tokens", max(0, len(lists.tokens) - count))
    shown = len(lists.tokens) - generated_tokens
    if prompt_tokens != count:
        raise wrong_count(url, count, prompt_tokens)
    if shown not in (count, count - 1):  # some servers do not show the first token
        raise wrong_count(url, count, shown)
    logprobs = lists.logprobs[:shown]
    for index, value in enumerate(logprobs):
        if index and value is None:
            raise UsageError(
                f"{url}: no log-probability of token {index} ({quoted(lists.tokens[index])}); "
                "expected one for each token after the first"
            )
    generated = None
    if generated_tokens:
        logprob = lists.logprobs[shown]
        highest = lists.highest[shown]
        if logprob is not None and highest is not None:
            generated = Generated(lists.tokens[shown], logprob, highest)
    return Echo(lists.tokens[:shown], logprobs, lists.highest[:shown], shown < count, generated)
