"""`api:URL#MODEL`: a model behind a server with OpenAI's `/v1/completions` (such as vLLM, llama-cpp-python).

The server must give the log-probabilities of a prompt (`echo`); whether it does, and says the truth, is tried at the
start. Prompts go as token ids, or as text to a server that takes no ids, and are then checked to have been read back as
the same tokens. It knows requests, not what they are for.
"""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np

from gpt2eval.errors import UsageError
from gpt2eval.models.engine.causal import UNBOUNDED
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.server.client import SLACK, Echo, Server, key_of
from gpt2eval.models.server.tokenizer import of_server
from gpt2eval.models.tokenization import loading
from gpt2eval.models.tokenization.loading import LoadedTokenizer
from gpt2eval.types import Encoding, Ids, ModelIdentity, Request, TokenScores

AT_ONCE = 8
TRIES = 3  # of a kind of prompt that a server may not take
CODED = ("token_id:", "bytes:")  # how some servers write tokens that are no text
SAMPLE = (
    "The river ran past the mill and under the old stone bridge, where the children used to fish in summer. "
    "In 1907 the mill was closed; nobody remembers why. Today there is a small museum, and on Sundays a market."
)
SAME = 0.05  # nats by which a token may differ when it is asked for again
LONGEST = re.compile(
    r"maximum context length is (\d+)|max_model_len\D{1,20}(\d+)|context (?:window|size) of (\d+)"
)
TRIED = 1200  # tokens of a prompt that shows the context of a server that does not say it


class Dialect(NamedTuple):
    """How a server takes prompts: as ids, or as text; what it puts before a text by itself: its start token, a blank."""

    ids: bool = False
    start: bool = False
    blank: bool = False


DIALECTS = (
    Dialect(ids=True),
    *(Dialect(start=start, blank=blank) for start in (False, True) for blank in (False, True)),
)


class MisplacedError(UsageError):
    """Log-probabilities that are not those of the tokens beside them."""


class ApiModel:
    """A model behind a server; log-probabilities as it gives them."""

    def __init__(self, server: Server, words: LoadedTokenizer, name: str) -> None:
        self._server = server
        self._tokens, self.start, self.added, _, said = words
        self._takes = self._dialect()
        if self._takes.start:
            self.start = self.added = None  # the server sees to it, before every prompt
        self._misplaces = (
            False  # log-probabilities of prompts that do not begin with the start token
        )
        sample = self._sample()
        self.context = self._longest()
        mark = f"{server.model} {sample.is_greedy.tolist()} {sample.logprobs.mean():.1f}"
        self._identity = ModelIdentity(
            name=name,
            revision=sha256(mark.encode()).hexdigest()[:8],
            tokenizer=said,
            dtype="server",
            attn="server+bos" if self._takes.start else "server",
            device="api",
        )

    def encode(self, text: str) -> Encoding:
        return self._tokens.encode(text)

    def identity(self) -> ModelIdentity:
        return self._identity

    def score(self, batch: Sequence[Request]) -> TokenScores:
        """The scores of a batch, a prompt per branch, some at once. Raises UsageError where the server fails for good."""
        rows = [(prefix, branch) for prefix, branches in batch for branch in branches]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            parts = list(pool.map(lambda row: self._scored(*row), rows))
        return TokenScores(
            np.concatenate([p.logprobs for p in parts]),
            np.concatenate([p.is_greedy for p in parts]),
        )

    def _scored(self, prefix: Ids, branch: Ids) -> TokenScores:
        """The log-probabilities of a branch after its prefix, and which were the highest."""
        ids = np.concatenate([prefix, branch])
        if self._misplaces and ids[0] != self.start:
            return self._one_by_one(ids, len(prefix))
        echo = self._echo(ids)
        unseen = [None] * echo.hidden
        told = list(zip(unseen + echo.logprobs, unseen + echo.highest, strict=True))
        found = [
            (logprob, logprob >= highest - SLACK)
            if logprob is not None and highest is not None
            else self._following(ids[:at], int(ids[at]))
            for at, (logprob, highest) in enumerate(told)
            if at >= len(prefix)
        ]
        values, is_greedy = zip(*found, strict=True)
        return TokenScores(np.array(values, np.float32), np.array(is_greedy, np.bool_))

    def _one_by_one(self, ids: Ids, first: int) -> TokenScores:
        """The scores of tokens from the first on, each by making the server go on with it."""
        values, is_greedy = zip(
            *(self._following(ids[:at], int(ids[at])) for at in range(first, len(ids))), strict=True
        )
        return TokenScores(np.array(values, np.float32), np.array(is_greedy, np.bool_))

    def _following(self, prefix: Ids, token: int) -> tuple[float, bool]:
        """The log-probability of a token after others, and whether none is higher."""
        made = self._server.following(self._prompt(prefix), len(prefix) + self._takes.start, token)
        self._same(made.text, token, len(prefix))
        return made.logprob, made.logprob >= made.highest - SLACK

    def _echo(self, ids: Ids) -> Echo:
        """What the server says of some tokens; they are checked to be the ones that it saw, and the numbers to be theirs."""
        echo = self._server.echo(self._prompt(ids), len(ids) + self._takes.start)
        if self._takes.start:
            shown = slice(not echo.hidden, None)
            echo = Echo(
                echo.tokens[shown],
                echo.logprobs[shown],
                echo.highest[shown],
                hidden=False,
                generated=echo.generated,
            )
        elif echo.hidden and ids[0] != self.start:
            raise MisplacedError(
                f"{self._server.url}: a prompt of {len(ids)} tokens came back as {len(ids) - 1}, and one that it made; "
                "expected the same tokens"
            )
        if echo.generated and echo.generated.logprob < echo.generated.highest - SAME:
            raise MisplacedError(
                f"{self._server.url}: the token it goes on with by itself ({echo.generated.text!r:.40}) is not its most likely "
                "one: its log-probabilities stand beside other tokens than theirs; expected a server that gives them right"
            )
        for at, (said, id_) in enumerate(
            zip(echo.tokens, ids[1:] if echo.hidden else ids, strict=True)
        ):
            self._same(said, int(id_), at)
        return echo

    def _same(self, said: str, id_: int, at: int) -> None:
        """Raise UsageError where a token of the server's is another text than ours, as far as it can be told."""
        ours = (self._tokens.pieces or {}).get(id_, b"").decode("utf-8", "ignore").strip()
        theirs = "" if "\ufffd" in said or said.startswith(CODED) else said.strip()
        if ours and theirs and ours != theirs:
            raise UsageError(
                f"{self._server.url}: token {at} is {said!r:.40} there, {ours!r:.40} here; expected its own tokenizer"
            )

    def _prompt(self, ids: Ids) -> list[int] | str:
        """Tokens as the server takes them. Raises UsageError for tokens that cannot be said as text."""
        return self._said(ids, self._takes)

    def _said(self, ids: Ids, takes: Dialect) -> list[int] | str:
        if takes.ids:
            return ids.tolist()
        pieces = [(self._tokens.pieces or {}).get(int(id_)) or b"\xff" for id_ in ids]
        first = int(self.start is not None and ids[0] == self.start)
        if takes.blank and pieces[first : first + 1]:
            pieces[first] = pieces[first].removeprefix(b" ")
        try:
            return b"".join(pieces).decode()
        except UnicodeDecodeError:
            raise UsageError(
                f"{self._server.url}: it takes text only; a prompt begins or ends in a character"
            ) from None

    def _dialect(self) -> Dialect:
        """How the server takes prompts: the first way in which some tokens come back as so many.

        Raises UsageError for a server that does not echo a prompt's tokens with their log-probabilities.
        """
        ids = self.encode("It was").ids
        whole = (
            ids if self.start is None else np.concatenate([np.array([self.start], np.int32), ids])
        )
        refused = ""
        for way in DIALECTS:
            try:
                self._server.echo(
                    self._said(ids if way.start else whole, way),
                    len(ids) + 1 if way.start else len(whole),
                    attempts=TRIES,
                )
                return way
            except UsageError as error:
                refused = str(error) if not refused or ": status " in refused else refused
        wanted = "; expected a server that echoes a prompt, each token with its log-probability"
        raise UsageError(refused + ("" if "; expected" in refused else wanted))

    def _sample(self) -> TokenScores:
        """The scores of a sample text. Raises UsageError where asking again gives others, as prefix caches may."""
        ids = self.encode(SAMPLE).ids
        prefix, branch = (
            (ids[:1], ids[1:]) if self.start is None else (np.array([self.start], np.int32), ids)
        )
        first, half, again = (
            self._scored(prefix, part) for part in (branch, branch[: len(branch) // 2], branch)
        )
        apart = np.abs(
            np.concatenate(
                [
                    first.logprobs - again.logprobs,
                    first.logprobs[: len(half.logprobs)] - half.logprobs,
                ]
            )
        )
        if apart.max() > SAME:
            raise UsageError(
                f"{self._server.url}: the same tokens, asked for again, differ by {apart.max():.3f} nats; "
                "expected a server without prefix caching (vLLM: --no-enable-prefix-caching)"
            )
        self._try_without_start(ids)
        return first

    def _try_without_start(self, ids: Ids) -> None:
        """Find out whether prompts may begin elsewhere; llama-cpp-python's echoes are one place off then.

        Raises UsageError where what the server says when made to go on with a token is not what its echo says.
        """
        if self.start is None or self._takes.start:
            return
        try:
            self._echo(ids[:9])
        except MisplacedError:
            self._misplaces = True
        if self._misplaces:
            whole = np.concatenate([np.array([self.start], np.int32), ids[:9]])
            echoed, followed = self._scored(whole[:5], whole[5:]), self._one_by_one(whole, 5)
            if np.abs(echoed.logprobs - followed.logprobs).max() > SAME:
                raise UsageError(
                    f"{self._server.url}: going on with a token and echoing it differ; expected the same numbers"
                )

    def _longest(self) -> int:
        """The longest input: a prompt holds its last target too, and the server adds a token after it, and may before."""
        added = 2 + self._takes.start + self._takes.blank
        listed: Any = self._server.get("/v1/models")
        entries = listed.get("data", []) if isinstance(listed, dict) else []
        for entry in entries:
            said = entry.get("max_model_len") if isinstance(entry, dict) else None
            if isinstance(said, int) and (
                entry.get("id") == self._server.model or len(entries) == 1
            ):
                return said - added
        ids = np.resize(self.encode(SAMPLE).ids, TRIED)
        if self.start is not None:
            ids[0] = self.start
        try:
            self._server.echo(self._prompt(ids), len(ids) + self._takes.start)
        except UsageError as error:
            if found := LONGEST.search(str(error)):
                return int(next(filter(None, found.groups()))) - added
        return UNBOUNDED


def load(rest: str, options: LoadOptions) -> ApiModel:
    """The model of an address and a name. Raises UsageError for a server that cannot be used, saying why."""
    url, _, model = rest.partition("#")
    if not model or not url.startswith(("http://", "https://")):
        raise UsageError(
            f"model api:{rest}: expected api:URL#MODEL, as in api:http://127.0.0.1:8000#gpt2"
        )
    options.refuse(f"api:{rest}", "revision", "attn", "device_map", "tp", "peft", "quantization")
    server = Server(url, model, key_of(options.api_key_file))
    return ApiModel(server, _tokenizer(server, options.tokenizer), f"api:{rest}")


def _tokenizer(server: Server, choice: str | None) -> LoadedTokenizer:
    """The tokenizer asked for, the server's own, or that of the Hub id or folder which the model's name is."""
    if found := loading.asked_for(choice) or of_server(server):
        return found
    try:
        return loading.of_place(server.model, choice)
    except (OSError, ValueError, KeyError, UsageError) as error:
        raise UsageError(
            f"model {server.model} of {server.url}: no tokenizer of that name, and the server tells none "
            f"({' '.join(str(error).split()):.100}); expected --tokenizer"
        ) from None
