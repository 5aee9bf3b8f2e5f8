"""The data that flows through gpt2eval, in order, and the protocol of a backend.

    Record -ask-> Passage -detok-> Passage -encode-> Encoded -plan-> Request
    -model-> TokenScores -fold-> Scored -> Tally

Positions count characters of a text, and units published text. Logarithms are natural.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from gpt2eval.identity import AddsToken as AddsToken
from gpt2eval.identity import EncodesSpecials as EncodesSpecials
from gpt2eval.identity import FindsBestWords as FindsBestWords
from gpt2eval.identity import ModelIdentity as ModelIdentity
from gpt2eval.identity import NamesTokens as NamesTokens
from gpt2eval.identity import ScoresWordStarts as ScoresWordStarts
from gpt2eval.identity import WordRequest as WordRequest

Ids = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Record:
    """A published item: a stream, line or passage, or a question whose blank is `XXXXX`."""

    index: int
    text: str
    answer: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Units:
    """Counts of published text: words (split at white space), line ends, UTF-8 bytes, characters.

    `pieces` and `blanks` are the word counts of other tools: `pieces` are the strings, possibly
    empty, around runs of white space; `blanks` are the spaces between the first and last word.
    """

    words: int = 0
    lines: int = 0
    bytes: int = 0
    chars: int = 0
    pieces: int = 0
    blanks: int = 0

    def __add__(self, other: "Units") -> "Units":
        return Units(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


class Part(NamedTuple):
    """A scored span `text[start:end]` and its published units.

    A token belongs to the part in which it ends.
    """

    start: int
    end: int
    units: Units


class Published(Protocol):
    """The published text of a passage, and the way back to it."""

    @property
    def text(self) -> str: ...
    def origins(self, positions: Ids) -> Ids:
        """Return the positions in the published text of positions in the passage's text."""
        ...


@dataclass(frozen=True, slots=True)
class Passage:
    """A text to score, in adjacent `parts`; `articles` are the numbers of those that begin one.

    A question yields one passage per choice, of which one is `right`. `published` is None where
    the text is the published one.
    """

    record: int
    text: str
    parts: tuple[Part, ...]
    choice: int = 0
    right: bool = True
    articles: tuple[int, ...] = ()
    published: Published | None = field(default=None, compare=False, repr=False)


class Encoding(NamedTuple):
    """Token ids of a text and the position at which each token ends.

    `lossy`: the tokens do not reproduce the bytes of the text exactly.
    """

    ids: Ids
    ends: Ids
    lossy: bool


@dataclass(frozen=True, slots=True)
class Encoded:
    """A passage and its tokens.

    `segments` are cut into windows one by one; by default all tokens are one segment. `inserted`
    marks the tokens that stand for no text, None for none.
    """

    passage: Passage
    ids: Ids
    ends: Ids
    segments: tuple[range, ...] = ()
    inserted: NDArray[np.bool_] | None = None


class Request(NamedTuple):
    """A prefix, never empty, and its branches: only the branches' tokens are scored."""

    prefix: Ids
    branches: tuple[Ids, ...]


class TokenScores(NamedTuple):
    """The scores of a batch: one entry per branch token, in order.

    `logprobs` are float32 or better. `is_greedy`: the token is the argmax, the lowest of equal ids.
    `is_tied`: several ids share the highest logit; empty if unknown. With a stop-word filter, for
    each request: `is_best_word`: the answer is the best word outside the list; `is_undecided`: the
    search for that word stopped at its limit. With `--word-starts`, for each token: `log_starts`:
    the log-probability, in its place, of all tokens that begin a word; `starts_word`: it is one.
    """

    logprobs: NDArray[np.floating]
    is_greedy: NDArray[np.bool_]
    is_best_word: NDArray[np.bool_] = np.zeros(0, np.bool_)
    is_tied: NDArray[np.bool_] = np.zeros(0, np.bool_)
    is_undecided: NDArray[np.bool_] = np.zeros(0, np.bool_)
    log_starts: NDArray[np.floating] = np.zeros(0, np.float32)
    starts_word: NDArray[np.bool_] = np.zeros(0, np.bool_)

    @classmethod
    def joined(cls, parts: "Iterable[TokenScores]") -> "TokenScores":
        """Return the scores of several batches, at least one, as those of one batch, in order."""
        return cls(*map(np.concatenate, zip(*parts, strict=True)))


class Model(Protocol):
    """A backend: encodes text and scores requests. It never sees tasks, spans or windows.

    `context` is the longest input in tokens; `start`, if any, is the token that may begin a text.
    `identity` may also return a mapping. `identity.py` lists what a backend may do besides.
    """

    @property
    def context(self) -> int: ...
    @property
    def start(self) -> int | None: ...

    def encode(self, text: str) -> Encoding: ...
    def score(self, batch: Sequence[Request]) -> TokenScores: ...

    def identity(self) -> ModelIdentity: ...


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores of a passage: nats, tokens and greedy tokens of each part.

    `is_best_word`, `is_undecided`: see `TokenScores`; None, False without a stop-word filter.
    `tied_tokens`: those of each part; None if unknown.
    """

    passage: Passage
    nats: NDArray[np.float64]
    tokens: NDArray[np.int64]
    greedy_tokens: NDArray[np.int64]
    unscored: int
    straddling: int
    is_best_word: bool | None = None
    is_undecided: bool = False
    tied_tokens: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums over records; a metric depends on nothing else. Tallies can be added.

    `correct` applies the task's stop-word filter if it has one; `unfiltered` does not. `ties`:
    questions whose best choice is tied, otherwise tokens where several ids share the highest logit.
    `undecided`: records whose search for the best word stopped at its limit.
    """

    nats: float = 0.0
    tokens: int = 0
    units: Units = Units()
    records: int = 0
    correct: int = 0
    unscored: int = 0
    straddling: int = 0
    unfiltered: int = 0
    ties: int = 0
    undecided: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @classmethod
    def total(cls, parts: Sequence["Tally"]) -> "Tally":
        """Return the sum of tallies; the sum of nats is rounded only once."""
        return replace(sum(parts, cls()), nats=math.fsum(part.nats for part in parts))


class Progress(NamedTuple):
    """Progress of a task: requests and tokens fed to the model, done and in total.

    `resumed` tokens are from the journal; the tasks that follow need about `later` tokens.
    """

    task: str
    requests: int
    of_requests: int
    tokens: int
    of_tokens: int
    resumed: int = 0
    later: int = 0
