"""Probe a model server: the form of prompts that it accepts, and its context length.

Also checks that its log-probabilities are repeatable and belong to the tokens beside them. It
sends prompts through a `Scorer`, and does not know tasks.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from gpt2eval.errors import UsageError
from gpt2eval.models.engine.context import UNBOUNDED
from gpt2eval.models.server.answer import Echo
from gpt2eval.models.server.client import Server
from gpt2eval.models.server.transport import UnusableServerError
from gpt2eval.models.tokenization.loaded import LoadedTokenizer
from gpt2eval.types import Encoding, Ids, TokenScores

ATTEMPTS = 3  # for a form of prompt that the server may reject
SAMPLE = (
    "The river ran past the mill and under the old stone bridge, where the children used to fish "
    "in summer. In 1907 the mill was closed; nobody remembers why. Today there is a small museum, "
    "and on Sundays a market."
)
TOLERANCE = 0.05  # nats by which a token may differ when the server scores it again
CONTEXT_MESSAGE = re.compile(
    r"maximum context length is (\d+)|max_model_len\D{1,20}(\d+)|context (?:window|size) of (\d+)"
)
LONG_PROMPT = 1200  # tokens; more than a GPT-2's context, so that a server reports its limit


class Dialect(NamedTuple):
    """The form of prompts that a server accepts, ids or text, and what it adds before text."""

    takes_ids: bool = False
    adds_start: bool = False
    adds_blank: bool = False


DIALECTS = (
    Dialect(takes_ids=True),
    Dialect(),
    Dialect(adds_blank=True),
    Dialect(adds_start=True),
    Dialect(adds_start=True, adds_blank=True),
)


class MisplacedError(UsageError):
    """A server returns log-probabilities that do not belong to the tokens beside them."""


class Scorer(Protocol):
    """The parts of a backend that probes use."""

    server: Server
    dialect: Dialect
    start: int | None

    def encode(self, text: str) -> Encoding: ...

    def prompt(self, ids: Ids) -> list[int] | str: ...

    def echo(self, ids: Ids) -> Echo: ...

    def score_branch(self, prefix: Ids, branch: Ids) -> TokenScores: ...

    def score_one_by_one(self, ids: Ids, first: int) -> TokenScores: ...


def render_prompt(
    ids: Ids, dialect: Dialect, pieces: Mapping[int, bytes] | None, start: int | None, url: str
) -> list[int] | str:
    """Return tokens in the form that the server accepts.

    Raises:
        UsageError: If the server takes only text and the tokens begin or end inside a character.
    """
    if dialect.takes_ids:
        return ids.tolist()
    # 0xFF never occurs in UTF-8, so a token without known bytes fails to decode below
    parts = [(pieces or {}).get(int(id_)) or b"\xff" for id_ in ids]
    first = int(start is not None and ids[0] == start)
    if dialect.adds_blank and first < len(parts):
        parts[first] = parts[first].removeprefix(b" ")
    try:
        return b"".join(parts).decode()
    except UnicodeDecodeError:
        raise UsageError(
            f"{url}: takes only text, and a prompt begins or ends inside a character"
        ) from None


def find_dialect(server: Server, tokenizer: LoadedTokenizer) -> Dialect:
    """Return the first dialect in which the server echoes as many tokens as were sent.

    Raises:
        UsageError: If the server does not echo a prompt's tokens with their log-probabilities.
    """
    start = tokenizer.start
    ids = tokenizer.tokens.encode("It was").ids
    with_start = ids if start is None else np.concatenate([np.array([start], np.int32), ids])
    reason = ""
    for dialect in DIALECTS:
        prompt_ids = ids if dialect.adds_start else with_start
        count = len(ids) + 1 if dialect.adds_start else len(with_start)
        try:
            prompt = render_prompt(prompt_ids, dialect, tokenizer.tokens.pieces, start, server.url)
            server.echo(prompt, count, attempts=ATTEMPTS)
            return dialect
        except UnusableServerError:
            raise
        except UsageError as error:
            # the answer to an accepted prompt is more informative than the status of a refusal
            reason = str(error) if not reason or ": status " in reason else reason
    if "; expected" not in reason:
        reason += "; expected a server that echoes a prompt, each token with its log-probability"
    raise UsageError(reason)


def score_sample(scorer: Scorer) -> TokenScores:
    """Return the scores of a sample text.

    Raises:
        UsageError: If scoring it again gives different numbers, as with some prefix caches.
    """
    ids = scorer.encode(SAMPLE).ids
    if scorer.start is None:
        prefix = ids[:1]
        branch = ids[1:]
    else:
        prefix = np.array([scorer.start], np.int32)
        branch = ids
    first = scorer.score_branch(prefix, branch)
    half = scorer.score_branch(prefix, branch[: len(branch) // 2])
    again = scorer.score_branch(prefix, branch)
    differences = np.concatenate(
        [first.logprobs - again.logprobs, first.logprobs[: len(half.logprobs)] - half.logprobs]
    )
    largest = np.abs(differences).max()
    if largest > TOLERANCE:
        raise UsageError(
            f"{scorer.server.url}: scoring the same tokens again differs by {largest:.3f} nats; "
            "expected a server without prefix caching (vLLM: --no-enable-prefix-caching)"
        )
    return first


def misplaces_echo(scorer: Scorer) -> bool:
    """Return whether echoes of prompts without the start token are off by one (llama-cpp-python).

    Raises:
        UsageError: If scoring token by token, which replaces the echo, gives different numbers.
    """
    if scorer.start is None:
        return False
    ids = scorer.encode(SAMPLE).ids[:9]
    try:
        scorer.echo(ids)
    except MisplacedError:
        with_start = np.concatenate([np.array([scorer.start], np.int32), ids])
        echoed = scorer.score_branch(with_start[:5], with_start[5:])
        generated = scorer.score_one_by_one(with_start, 5)
        if np.abs(echoed.logprobs - generated.logprobs).max() > TOLERANCE:
            raise UsageError(
                f"{scorer.server.url}: generating a token and echoing it give different "
                "log-probabilities; expected the same numbers"
            ) from None
        return True
    return False


def context_length(scorer: Scorer) -> int:
    """Return the longest input that the server takes.

    A prompt also holds its last target, and the server generates a token after it and may add
    tokens before it.
    """
    server = scorer.server
    overhead = 2 + scorer.dialect.adds_start + scorer.dialect.adds_blank
    listing: Any = server.get("/v1/models")
    entries = listing.get("data", []) if isinstance(listing, dict) else []
    for entry in entries:
        limit = entry.get("max_model_len") if isinstance(entry, dict) else None
        if type(limit) is not int or not overhead < limit <= UNBOUNDED:
            continue
        if entry.get("id") == server.model or len(entries) == 1:
            return limit - overhead
    ids = np.resize(scorer.encode(SAMPLE).ids, LONG_PROMPT)
    if scorer.start is not None:
        ids[0] = scorer.start
    more = scorer.dialect.adds_start and scorer.start is None
    try:
        server.echo(scorer.prompt(ids), len(ids) + more)
    except UsageError as error:
        if match := CONTEXT_MESSAGE.search(str(error)):
            return int(next(filter(None, match.groups()))) - overhead
    return UNBOUNDED
