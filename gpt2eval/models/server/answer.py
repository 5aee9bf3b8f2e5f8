"""Answers of `/v1/completions`, validated field by field."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from gpt2eval.errors import UsageError, quoted

SLACK = 1e-3  # nats by which a top log-probability may miss the token's own


class TokenAnswer(NamedTuple):
    """A token: its text, its log-probability, and those of the server's most likely tokens."""

    text: str
    logprob: float
    top: Mapping[str, float]

    @property
    def highest(self) -> float:
        return max(self.top.values())


class Choice(NamedTuple):
    """Whether a token is the greedy one, and whether several tokens are the most likely."""

    is_greedy: bool
    is_tied: bool


class Echo(NamedTuple):
    """A prompt's tokens, their log-probabilities, and the most likely tokens at each place.

    The first token has None. `hidden` means that the server does not show the first token.
    `generated` is the token after the prompt.
    """

    tokens: list[str]
    logprobs: list[float | None]
    tops: Sequence[Mapping[str, float] | None]
    hidden: bool
    generated: TokenAnswer | None

    def at(self, index: int) -> TokenAnswer | None:
        """Return the answer for the prompt's token `index`, or None if the server gives none."""
        place = index - self.hidden
        logprob = self.logprobs[place] if place >= 0 else None
        top = self.tops[place] if place >= 0 else None
        if logprob is None or top is None:
            return None
        return TokenAnswer(self.tokens[place], logprob, top)

    def without_start(self) -> "Echo":
        """Return the echo without a start token that the server added and may show."""
        first = 0 if self.hidden else 1
        return self._replace(
            tokens=self.tokens[first:],
            logprobs=self.logprobs[first:],
            tops=self.tops[first:],
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
        tops = [{str(k): float(v) for k, v in top.items()} if top else None for top in tops]
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
    return Echo([str(token) for token in tokens], logprobs, tops, hidden=False, generated=None)


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
    generated = lists.at(shown) if generated_tokens else None
    return Echo(lists.tokens[:shown], logprobs, lists.tops[:shown], shown < count, generated)


def choice(answer: TokenAnswer, token: int, id_of: Callable[[str], int | None]) -> Choice:
    """Return whether a token is greedy: the most likely one, and the lowest id among its equals.

    `id_of` returns the id of a text, or None if it is unknown. An equal token of unknown id counts
    as lower, so that a tie is never taken for a hit.
    """
    best = [text for text, logprob in answer.top.items() if logprob == answer.highest]
    own = [text for text in best if text == answer.text]
    if answer.text not in answer.top:
        # Some servers write a token in two ways, with and without its blank.
        own = [text for text in best if text.strip() == answer.text.strip()]
    rivals = [text for text in best if text not in own]
    is_best = answer.logprob >= answer.highest - (SLACK if own else 0)
    ids = [id_of(text) for text in rivals]
    is_first = all(id_ is not None and token < id_ for id_ in ids)
    return Choice(is_greedy=is_best and is_first, is_tied=len(rivals) + is_best > 1)
