"""What flows through gpt2eval, in the order it flows; does no work.

    Record -ask-> Passage -detok-> Passage -encode-> Encoded -plan-> Request
    -model-> TokenScores -fold-> Scored -> Tally

Positions are characters of a text, log-probabilities are natural logarithms, units are counted
on published text.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Record:
    """One published item: a stream, a line, a passage, or a question with its options (a blank
    is `XXXXX`).
    """

    index: int
    text: str
    answer: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Units:
    """Canonical units of published text: words (between white space), line ends, UTF-8 bytes,
    characters.

    Two more are how other tools count words: the `pieces` that white space cuts a text into (an
    empty one before
    leading and after trailing white space counts), and the `blanks` between its first and last
    word.
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
    """A scored span `text[start:end]` and the published units in it. A token belongs to the
    part in which it ends.
    """

    start: int
    end: int
    units: Units


@dataclass(frozen=True, slots=True)
class Passage:
    """A text to be scored in its adjacent `parts`; a question gives one passage per choice, and
    one is `right`.
    """

    record: int
    text: str
    parts: tuple[Part, ...]
    choice: int = 0
    right: bool = True


class Encoding(NamedTuple):
    """Token ids of a text, the end of each token in it, and whether the tokens do not tile the
    text's bytes exactly.
    """

    ids: Ids
    ends: Ids
    lossy: bool


@dataclass(frozen=True, slots=True)
class Encoded:
    """A passage and its tokens."""

    passage: Passage
    ids: Ids
    ends: Ids


class Request(NamedTuple):
    """One prefix and one or more branches: every branch token is scored, no prefix token is.
    The prefix is not empty.
    """

    prefix: Ids
    branches: tuple[Ids, ...]


class TokenScores(NamedTuple):
    """For every branch token of a batch, in order: its log-probability (float32 or better), and
    whether it was the argmax.

    Where a task filters words: for every request, whether the best whole word outside the list
    is the one asked for.
    """

    logprobs: NDArray[np.floating]
    is_greedy: NDArray[np.bool_]
    is_best_word: NDArray[np.bool_] = np.zeros(0, np.bool_)


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """The facts about a model that decide its numbers; an empty string means that a fact does
    not apply.

    `name` is how the model was requested; `label` replaces it in signatures, so that none
    contains a local path. `revision` is the Hub's or the beginning of `weights`, a hash.
    `tokenizer` is a fingerprint. `shape` is the architecture with its sizes, `step` the training
    step, `peft` an adapter, `code` the origin of code that came with the model, `quant` the
    quantization, `gemm` the kernel library, `map` the spread over devices, and `batch` the tokens
    in a forward pass.
    """

    name: str
    revision: str
    tokenizer: str
    dtype: str
    attn: str
    device: str
    weights: str = ""
    label: str = ""
    shape: str = ""
    step: str = ""
    peft: str = ""
    code: str = ""
    quant: str = ""
    gemm: str = ""
    map: str = ""
    batch: str = ""

    def stated(self) -> dict[str, str]:
        """Return the fields that are not empty."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name))}


class Model(Protocol):
    """A backend: encodes text and scores requests. It never sees tasks, spans or windows.

    `context` is the longest input in tokens; `start` is the token that may begin a text, or
    None. A backend may also implement `AddsToken`, `EncodesSpecials` and `FindsBestWords`.
    """

    @property
    def context(self) -> int: ...

    @property
    def start(self) -> int | None: ...

    def encode(self, text: str) -> Encoding: ...

    def score(self, batch: Sequence[Request]) -> TokenScores: ...

    def identity(self) -> ModelIdentity:
        """Return the model's identity. A mapping with the same names is accepted and converted."""
        ...


@runtime_checkable
class AddsToken(Protocol):
    """A backend whose own tokenizer may put a token before every text; `Model.encode` never
    does.
    """

    @property
    def added(self) -> int | None: ...


@runtime_checkable
class EncodesSpecials(Protocol):
    """A backend that can read `<unk>` and similar strings in a text as special tokens."""

    def encode_specials(self, text: str) -> Encoding: ...


@runtime_checkable
class FindsBestWords(Protocol):
    """A backend that searches for whole words."""

    def best_words(
        self, prefixes: Sequence[Ids], banned: frozenset[str], width: int, depth: int
    ) -> list[str]:
        """Return for each prefix the most likely whole word that is not in `banned`, or ""
        where there is none.

        The beam keeps `width` beginnings of at most `depth` tokens. Words are compared in lower
        case.
        """
        ...


class Filter(NamedTuple):
    """Words that cannot be the answer, and how far the best other one is searched for; the
    list's name and its hash.
    """

    name: str
    banned: frozenset[str]
    width: int
    depth: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Scored:
    """A passage's result, an entry per part: nats, tokens, and tokens that were the argmax.

    `is_best_word`: whether the answer was right with the words of a list left out, None without
    a list.
    """

    passage: Passage
    nats: NDArray[np.float64]
    tokens: NDArray[np.int64]
    greedy_tokens: NDArray[np.int64]
    unscored: int
    straddling: int
    is_best_word: bool | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """A sum over records: all that a metric may look at. Tallies add.

    `correct` is by the task's rule, with its list of words left out if it has one; `unfiltered`
    is without.
    """

    nats: float = 0.0
    tokens: int = 0
    units: Units = Units()
    records: int = 0
    correct: int = 0
    unscored: int = 0
    straddling: int = 0
    unfiltered: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @classmethod
    def total(cls, parts: Sequence["Tally"]) -> "Tally":
        """The sum of tallies, its nats rounded once."""
        return replace(sum(parts, cls()), nats=math.fsum(part.nats for part in parts))


class Progress(NamedTuple):
    """How far a task is: requests done and in all, tokens fed to the model and in all."""

    task: str
    requests: int
    of_requests: int
    tokens: int
    of_tokens: int


class Worker(NamedTuple):
    """The one that does units `rank`, `rank + world`, ..."""

    rank: int = 0
    world: int = 1
