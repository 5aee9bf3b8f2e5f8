"""A loaded tokenizer: an encoder, and what a backend needs to know about it. Loads nothing."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from gpt2eval.types import Encoding


class Encoder(Protocol):
    """Text to tokens. `pieces` are the bytes of each token, or None if they are not known.

    `name` returns how the vocabulary writes a token, or "" if it has no such token.
    """

    @property
    def pieces(self) -> Mapping[int, bytes] | None: ...

    def encode(self, text: str, *, specials: bool = False) -> Encoding: ...

    def name(self, token: int) -> str: ...


class LoadedTokenizer(NamedTuple):
    """An encoder and what a backend needs to know about it.

    `start` is the token that may begin a text, `added` the token that the tokenizer itself puts
    before every text (both None if absent), `specials` the ids of special tokens, `fingerprint` a
    short hash of what the tokenizer does, and `end` the token that ends a text (None if unknown).
    """

    tokens: Encoder
    start: int | None
    added: int | None
    specials: Sequence[int]
    fingerprint: str
    end: int | None = None
