"""A tokenizer with one token per character, as in nanoGPT's character-level models."""

import json
from collections.abc import Mapping

import numpy as np

from gpt2eval.errors import UsageError
from gpt2eval.types import Encoding


class Characters:
    """One token per character, from a vocabulary `{character: id}`."""

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        self._ids = vocabulary
        self.pieces = {
            id_: char.encode("utf-8", "surrogateescape") for char, id_ in vocabulary.items()
        }

    def name(self, token: int) -> str:
        """Return a token's character, or ""."""
        return self.pieces.get(token, b"").decode("utf-8", "replace")

    def decoded(self, token: int) -> str:
        """Return a token's character, or ""."""
        return self.name(token)

    def to_text(self) -> str:
        """Return the vocabulary as a JSON object."""
        return json.dumps(self._ids)

    def encode(self, text: str, *, specials: bool = False) -> Encoding:
        """Encode a text. Raises UsageError for a character outside the vocabulary."""
        if foreign := set(text) - self._ids.keys():
            first = next(i for i, char in enumerate(text) if char in foreign)
            context = text[max(0, first - 20) : first + 20]
            raise UsageError(
                f"character {text[first]!r} (at {first}, in {context!r}) is not among the "
                f"{len(self._ids)} characters of the model's vocabulary; expected only those"
            )
        return Encoding(
            np.array([self._ids[char] for char in text], np.int32),
            np.arange(1, len(text) + 1, dtype=np.int32),
            lossy=False,
        )
