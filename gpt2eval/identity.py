"""What a signature states of a model, names of its tokens, and what it does faster than one by one.

Does not know how they are found.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from gpt2eval.types import Encoding, Request, TokenScores


@runtime_checkable
class AddsToken(Protocol):
    """A backend whose tokenizer puts a token before every text; `Model.encode` leaves it out."""

    @property
    def added(self) -> int | None: ...


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


@runtime_checkable
class NamesTokens(Protocol):
    """A backend that knows how its vocabulary writes a token, such as `<bos>`."""

    def token_name(self, token: int) -> str:
        """Return the token's text in the vocabulary, or "" if the vocabulary has no such token."""
        ...


@runtime_checkable
class EncodesMany(Protocol):
    """A backend that encodes many texts faster than one by one."""

    def encode_batch(self, texts: "Sequence[str]") -> "list[Encoding]":
        """Return what `encode` returns for each text."""
        ...


@runtime_checkable
class Launches(Protocol):
    """A backend that computes a batch while the host prepares the next one."""

    def launch(self, batch: "Sequence[Request]") -> "Callable[[], TokenScores]":
        """Start scoring a batch; the returned function waits for what `score` returns."""
        ...
