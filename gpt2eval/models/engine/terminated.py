"""Words that end a text: a space, letters, punctuation if any, and the end-of-text token.

    space, letters A to Z and a to z, one of . ! ? if any, " if any, end of text

The best word is that of the most likely sequence of pieces that spells such a string; the word
alone counts, without its punctuation. Every piece, and the end-of-text token, must be one of the
1,000 most likely ones in its place, and their probabilities are divided by their sum.

Source: the rule "terminated" of Kuchnik, Smith and Amvrosiadis 2023, Validating Large Language
Models with ReLM (arXiv 2211.15458); `run_eval.py` of its repository with `--add_eos --top_k=1000`.
"""

import re
from collections.abc import Mapping, Sequence
from copy import copy
from itertools import product

import numpy as np
import torch

from gpt2eval.models.engine.vocabulary import Pieces

WORD = re.compile(rb' ([A-Za-z]+)[.!?]?"?')
# What may follow the word before the text ends.
TAILS = [mark + quote for mark, quote in product((b"", b".", b"!", b"?"), (b"", b'"'))]
# A string of each state: nothing yet, after the space, in the word, after a mark, after the quote.
STATES = (b"", b" ", b" a", b" a.", b' a"')
TOP = 1000


class TerminatedWords:
    """The pieces of words that end a text; with an end-of-text token, implements `openings.Words`.

    `pieces` maps ids to bytes, `specials` are ids without text, and `size` is the number of ids.
    """

    top: int | None = TOP

    def __init__(
        self,
        pieces: Mapping[int, bytes],
        specials: Sequence[int],
        size: int,
        device: torch.device,
    ) -> None:
        self._pieces = pieces
        self._ids: dict[bytes, list[int]] = {}
        allowed = np.zeros((len(STATES), size), np.bool_)
        textless = {*specials}
        for id_, piece in pieces.items():
            if id_ < size and id_ not in textless and piece:
                allowed[:, id_] = [_is_beginning(before + piece) for before in STATES]
                if allowed[:, id_].any():
                    self._ids.setdefault(piece, []).append(id_)
        self.allowed = torch.from_numpy(allowed).to(device)
        self.ends = torch.zeros(size, dtype=torch.bool, device=device)

    def before(self, end: int) -> "TerminatedWords":
        """Return the same words before an end-of-text token."""
        words = copy(self)
        words.ends = torch.zeros_like(self.ends)
        words.ends[end] = True
        return words

    def state(self, pieces: Pieces) -> int:
        """Return the row of `allowed` that applies after a beginning of a string."""
        text = self._text(pieces)
        if text in (b"", b" "):
            return len(text)
        if text.endswith(b'"'):
            return 4
        return 3 if text.endswith((b".", b"!", b"?")) else 2

    def word(self, pieces: Pieces) -> str:
        """Return the word of a string, or "" if pieces spell no complete string."""
        match = WORD.fullmatch(self._text(pieces))
        return match[1].decode() if match else ""

    def spells(self, pieces: Pieces, word: str) -> bool:
        """Return whether pieces spell a string with a word, each of them allowed in its place."""
        beginnings = (pieces[:number] for number in range(len(pieces)))
        return self.word(pieces) == word and all(
            id_ in self.spellings(word, beginning)
            for id_, beginning in zip(pieces, beginnings, strict=True)
        )

    def spellings(self, word: str, beginning: Pieces) -> list[int]:
        """Return the pieces with which a beginning goes on to spell a string with a word."""
        text = self._text(beginning)
        strings = [b" " + word.encode() + tail for tail in TAILS]
        rests = [string[len(text) :] for string in strings if string.startswith(text)]
        found = {rest[:stop]: None for rest in rests for stop in range(1, len(rest) + 1)}
        return [id_ for piece in found for id_ in self._ids.get(piece, ())]

    def _text(self, pieces: Pieces) -> bytes:
        return b"".join(self._pieces[id_] for id_ in pieces)


def _is_beginning(text: bytes) -> bool:
    """Return whether a text begins a string.

    >>> [_is_beginning(text) for text in (b" ", b" he", b' he."', b" he.s", b"he", b" 1")]
    [True, True, True, False, False, False]
    """
    if len(text) < 2:
        return text == b" "
    return WORD.fullmatch(text) is not None
