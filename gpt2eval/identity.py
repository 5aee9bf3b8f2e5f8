"""What a model states of itself, and what a backend can do besides scoring.

Does not know how they are found.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from gpt2eval.types import Encoding, Request, TokenScores


@runtime_checkable
class AddsToken(Protocol):
    """A backend whose tokenizer puts a token before every text; `Model.encode` leaves it out."""

    @property
    def added(self) -> int | None: ...


@runtime_checkable
class EndsText(Protocol):
    """A backend that knows the token that ends a text; others end a text with `Model.start`."""

    @property
    def end(self) -> int | None: ...


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

    @property
    def is_pinned(self) -> bool:
        """Whether `weights` is a hash: of the files, or of their commit on the Hub."""
        return re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", self.weights) is not None

    def stated(self) -> dict[str, str]:
        """Return the fields that are not empty."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name))}


@runtime_checkable
class NamesTokens(Protocol):
    """A backend that knows how its vocabulary writes a token, such as `<bos>`."""

    def token_name(self, token: int) -> str:
        """Return the token's text in the vocabulary, or "" if the vocabulary has no such token."""
        ...


class Spelling(NamedTuple):
    """What a token stands for, in the four ways in which programs count its bytes.

    `raw` are its bytes in a text, `name` is how the vocabulary writes it, and `decoded` is the text
    that decoding it alone gives. A special token, such as the end of a text, stands for no text.
    """

    raw: bytes
    name: str
    decoded: str
    is_special: bool = False


@runtime_checkable
class SpellsTokens(Protocol):
    """A backend that knows the bytes of its tokens."""

    def spelling(self, token: int) -> "Spelling | None":
        """Return what a token stands for; None if it does not exist, or its bytes are unknown."""
        ...


@runtime_checkable
class EncodesMany(Protocol):
    """A backend that encodes many texts faster than one by one."""

    def encode_batch(self, texts: "Sequence[str]") -> "list[Encoding]":
        """Return what `encode` returns for each text."""
        ...


@runtime_checkable
class EncodesPieces(Protocol):
    """A backend that encodes a long text piece by piece, so that its tokens need no memory."""

    def encode_pieces(self, text: str, specials: bool = False) -> "Iterator[Encoding]":
        """Yield the encodings of successive pieces of a text; ends count from the text's start.

        Together they are what `encode`, or with `specials` what `encode_specials`, returns. If that
        is lossy, the last one yielded is lossy and stands for the whole text.
        """
        ...


@runtime_checkable
class EncodesSpecials(Protocol):
    """A backend that can encode `<unk>` and similar strings as special tokens."""

    def encode_specials(self, text: str) -> "Encoding": ...


class WordRequest(NamedTuple):
    """A request with one branch, and the word that it spells: the right answer."""

    request: "Request"
    answer: str


@runtime_checkable
class FindsBestWords(Protocol):
    """A backend that can tell whether an answer is the most likely word."""

    def score_words(
        self, batches: Sequence[Sequence[WordRequest]], banned: frozenset[str]
    ) -> "list[TokenScores]":
        """Score batches as `score` does, with `is_best_word` for each request.

        The best word is the most likely complete word that is not `banned` in lower case.
        """
        ...


@runtime_checkable
class FindsTerminatedWords(Protocol):
    """A backend that can tell whether an answer is the word of the most likely end of a text."""

    def score_terminated(
        self, batches: Sequence[Sequence[WordRequest]], end: int
    ) -> "list[TokenScores]":
        """Score batches as `score` does, with `is_best_word` for each request.

        The best word is that of the most likely string of a word, punctuation if any, and the token
        `end`; see `gpt2eval.models.engine.terminated`.
        """
        ...


@runtime_checkable
class ScoresWordStarts(Protocol):
    """A backend that knows which tokens begin a word, and how likely one of them is."""

    def score_starts(self, batch: "Sequence[Request]") -> "TokenScores":
        """Score a batch as `score` does, with `log_starts` and `starts_word` for each token.

        The tokens that begin a word are those whose text begins with white space, and the special
        tokens, which end a text.
        """
        ...


@runtime_checkable
class Launches(Protocol):
    """A backend that computes a batch while the host prepares the next one."""

    def launch(self, batch: "Sequence[Request]") -> "Callable[[], TokenScores]":
        """Start scoring a batch; the returned function waits for what `score` returns."""
        ...


class Sizes(NamedTuple):
    """The sizes of a decoder that decide how much memory and how many operations it needs.

    `matrices` counts the weights in the matrices of all its blocks, `weights` all weights.
    """

    layers: int
    width: int
    vocabulary: int
    matrices: int
    weights: int

    @classmethod
    def of_gpt2(cls, layers: int, width: int, vocabulary: int, context: int) -> "Sizes":
        """Return the sizes of a GPT-2: 12 d^2 weights in the matrices of each block.

        >>> Sizes.of_gpt2(12, 768, 50257, 1024).weights
        124439808
        """
        matrices = 12 * layers * width**2
        vectors = 13 * layers * width + 2 * width
        tables = (vocabulary + context) * width
        return cls(layers, width, vocabulary, matrices, matrices + vectors + tables)


@runtime_checkable
class Sized(Protocol):
    """A backend that knows the sizes of its model."""

    def sizes(self) -> Sizes:
        """Return the sizes."""
        ...


@runtime_checkable
class StatesFit(Protocol):
    """A backend that can tell whether a batch fits into its memory."""

    def fits(self, batch: "Sequence[Request]") -> bool:
        """Return whether a batch of requests can be scored without being divided."""
        ...
