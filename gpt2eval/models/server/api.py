"""`api:URL#MODEL`: a model behind a server with OpenAI's `/v1/completions`, such as vLLM.

The server must return the log-probabilities of a prompt (`echo`); `probe.py` checks at the start
whether it does. Prompts are sent as token ids, or as text to a server that takes no ids; the echo
must then show the same tokens. Knows requests, but not their purpose.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import numpy as np

from gpt2eval.errors import UsageError, one_line, quoted
from gpt2eval.http import hub_access
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.server.address import read_address, read_api_key
from gpt2eval.models.server.answer import Echo, TokenAnswer, choice
from gpt2eval.models.server.client import Server
from gpt2eval.models.server.probe import (
    TOLERANCE,
    MisplacedError,
    context_length,
    find_dialect,
    misplaces_echo,
    render_prompt,
    score_sample,
)
from gpt2eval.models.server.tokenizer import server_tokenizer
from gpt2eval.models.server.transport import Limits
from gpt2eval.models.tokenization import loading
from gpt2eval.models.tokenization.loaded import LoadedTokenizer
from gpt2eval.types import Encoding, Ids, ModelIdentity, Request, TokenScores

CONCURRENT_PROMPTS = 8
ENCODED_TOKENS = ("token_id:", "bytes:")  # how some servers write tokens that are not text


class ApiModel:
    """A model behind a server, with the log-probabilities that the server returns."""

    def __init__(self, server: Server, tokenizer: LoadedTokenizer, name: str) -> None:
        self.server = server
        self._tokens = tokenizer.tokens
        self.start = tokenizer.start
        self.added = tokenizer.added
        self.end = tokenizer.end
        self.dialect = find_dialect(server, tokenizer)
        if self.dialect.adds_start:
            self.added = self.start
        self._misplaces_echo = False
        sample = score_sample(self)
        self._misplaces_echo = misplaces_echo(self)
        self.context = context_length(self)
        behaviour = f"{server.model} {sample.is_greedy.tolist()} {sample.logprobs.mean():.1f}"
        self._identity = ModelIdentity(
            name=name,
            revision=sha256(behaviour.encode()).hexdigest()[:8],
            tokenizer=tokenizer.fingerprint,
            dtype="server",
            attn="server+bos" if self.dialect.adds_start else "server",
            device="api",
        )

    def encode(self, text: str) -> Encoding:
        return self._tokens.encode(text)

    def token_name(self, token: int) -> str:
        """Return how the tokenizer's vocabulary writes a token, such as `<bos>`, or ""."""
        return self._tokens.name(token)

    def identity(self) -> ModelIdentity:
        return self._identity

    def score(self, batch: Sequence[Request]) -> TokenScores:
        """Score a batch, one prompt per branch and several at once.

        Raises:
            UsageError: If the server keeps failing.
        """
        rows = [(prefix, branch) for prefix, branches in batch for branch in branches]
        with ThreadPoolExecutor(CONCURRENT_PROMPTS) as pool:
            scores = list(pool.map(lambda row: self.score_branch(*row), rows))
        return TokenScores.joined(scores)

    def score_branch(self, prefix: Ids, branch: Ids) -> TokenScores:
        """Score a branch after its prefix by one echo."""
        ids = np.concatenate([prefix, branch])
        if self._misplaces_echo and ids[0] != self.start:
            return self.score_one_by_one(ids, len(prefix))
        echo = self.echo(ids)
        answers = [
            echo.at(index) or self._score_next(ids[:index], int(ids[index]))
            for index in range(len(prefix), len(ids))
        ]
        return self._token_scores(answers, branch)

    def score_one_by_one(self, ids: Ids, first: int) -> TokenScores:
        """Score the tokens from index `first` on by making the server generate each of them."""
        answers = [self._score_next(ids[:i], int(ids[i])) for i in range(first, len(ids))]
        return self._token_scores(answers, ids[first:])

    def _token_scores(self, answers: Sequence[TokenAnswer], ids: Ids) -> TokenScores:
        choices = [
            choice(answer, token, self._id_of)
            for answer, token in zip(answers, ids.tolist(), strict=True)
        ]
        return TokenScores(
            np.array([answer.logprob for answer in answers], np.float32),
            np.array([is_greedy for is_greedy, _ in choices], np.bool_),
            is_tied=np.array([is_tied for _, is_tied in choices], np.bool_),
        )

    def _id_of(self, text: str) -> int | None:
        """Return the lowest id that the server would write as a text, or None if there is none."""
        if text.startswith("token_id:"):
            return int(text.removeprefix("token_id:"))
        raw = text.encode("utf-8", "surrogateescape")
        pieces = self._tokens.pieces or {}
        return min((id_ for id_, piece in pieces.items() if piece == raw), default=None)

    def _score_next(self, prefix: Ids, token: int) -> TokenAnswer:
        """Return the server's answer for a token after others."""
        generated = self.server.force_next(
            self.prompt(prefix), len(prefix) + self._adds_to(prefix), token
        )
        self._check_token(generated.text, token, len(prefix))
        return generated

    def echo(self, ids: Ids) -> Echo:
        """Return the server's log-probabilities of a prompt.

        Raises:
            MisplacedError: If the log-probabilities belong to other tokens.
            UsageError: If the server read other tokens.
        """
        echo = self.server.echo(self.prompt(ids), len(ids) + self._adds_to(ids))
        url = self.server.url
        if self._adds_to(ids):
            echo = echo.without_start()
        elif echo.hidden and int(ids[0]) != self.start:
            raise MisplacedError(
                f"{url}: a prompt of {len(ids)} tokens came back as {len(ids) - 1}, and a "
                "generated one; expected the same tokens"
            )
        generated = echo.generated
        if generated and generated.logprob < generated.highest - TOLERANCE:
            raise MisplacedError(
                f"{url}: the token it generates ({quoted(generated.text)}) is not its most likely "
                "token, so its log-probabilities belong to other tokens; expected a server that "
                "returns them in place"
            )
        shown_ids = ids[1:] if echo.hidden else ids
        for index, (text, id_) in enumerate(zip(echo.tokens, shown_ids, strict=True)):
            self._check_token(text, int(id_), index)
        return echo

    def _check_token(self, text: str, id_: int, index: int) -> None:
        """Raise UsageError if the server's token differs from ours.

        Skips tokens whose text is unknown.
        """
        ours = (self._tokens.pieces or {}).get(id_, b"").decode("utf-8", "ignore").strip()
        is_unreadable = "\ufffd" in text or text.startswith(ENCODED_TOKENS)
        theirs = "" if is_unreadable else text.strip()
        if ours and theirs and ours != theirs:
            raise UsageError(
                f"{self.server.url}: token {index} is {quoted(text)} on the server, {ours!r:.40} "
                "in the tokenizer; expected the server's own tokenizer"
            )

    def prompt(self, ids: Ids) -> list[int] | str:
        """Return tokens in the form that the server accepts.

        Raises:
            UsageError: If the server takes only text and the tokens are not complete text.
        """
        if self.dialect.adds_start and ids[0] == self.start:
            ids = ids[1:]  # the server puts it there
        return render_prompt(ids, self.dialect, self._tokens.pieces, self.start, self.server.url)

    def _adds_to(self, ids: Ids) -> bool:
        """Return whether the server reads these tokens with a start token that they lack.

        A server that takes only text may put its start token before every prompt. Tokens without it
        are then scored after it all the same, which `attn:server+bos` in the identity states.
        """
        return self.dialect.adds_start and int(ids[0]) != self.start


def load(rest: str, options: LoadOptions) -> ApiModel:
    """Connect to the model of `URL#MODEL`.

    Raises:
        UsageError: If the address is invalid, or the server cannot be used.
    """
    address = read_address(rest)
    name = f"api:{address.name}"
    options.reject_unsupported(name, "revision", "attn", "device_map", "tp", "peft", "quantization")
    key = read_api_key(options.api_key_file)
    if key and address.authorization:
        raise UsageError(
            f"model {name}: --api-key-file, and a user in the URL; expected one of the two"
        )
    limits = Limits(options.api_timeout or Limits().seconds, options.api_max_answer)
    server = Server(address, key, limits)
    return ApiModel(server, _load_tokenizer(server, options.tokenizer), name)


def _load_tokenizer(server: Server, choice: str | None) -> LoadedTokenizer:
    """Load the requested tokenizer, the server's own, or the one with the model's name."""
    if tokenizer := loading.requested_tokenizer(choice) or server_tokenizer(server):
        return tokenizer
    try:
        with hub_access(server.model, server.model):
            return loading.from_place(server.model, choice)
    except (OSError, ValueError, UsageError) as error:
        raise UsageError(
            f"model {server.model} of {server.url}: no tokenizer of that name, and the server "
            f"offers none ({one_line(error, 100)}); expected --tokenizer"
        ) from error
