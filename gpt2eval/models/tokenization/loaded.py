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
    before every text, and `end` its end-of-text token (each None if absent). `specials` are the
    ids of special tokens, and `fingerprint` is a short hash of what the tokenizer does.
    """

    tokens: Encoder
    start: int | None
    added: int | None
    end: int | None
    specials: Sequence[int]
    fingerprint: str
