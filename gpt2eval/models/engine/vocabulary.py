"""The pieces of a vocabulary that start, continue and end a word.

A word's first piece begins with a space. Further pieces continue the word, up to a piece that
begins with a space, punctuation or a line end. Knows no probabilities.
"""

import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np
import torch

Pieces = tuple[int, ...]


class Vocabulary:
    """Masks `[size]` over the vocabulary: the pieces that start, continue and end a word.

    `allowed` are the pieces that may come next, `[2, size]`: first those that start a word, then
    those that continue one.

    `pieces` maps ids to bytes. `specials` are ids without text, such as end-of-text;
    they end a word.
    """

    top: int | None = None  # every piece counts

    def __init__(
        self, pieces: Mapping[int, bytes], specials: Sequence[int], size: int, device: torch.device
    ) -> None:
        self.pieces = pieces
        textless = {id_ for id_ in specials if id_ < size}
        masks = np.zeros((3, size), np.bool_)
        starts, continues, ends = masks
        # The pieces of words, by their letters; those of first pieces follow the space.
        self._first: dict[bytes, list[int]] = {}
        self._further: dict[bytes, list[int]] = {}
        for id_, piece in pieces.items():
            if id_ < size and id_ not in textless and piece:
                is_boundary = _begins_with_boundary(piece)
                # A lone space may start a word whose letters follow in the next piece.
                starts[id_] = piece[:1] == b" " and (
                    len(piece) == 1 or not _begins_with_boundary(piece[1:])
                )
                continues[id_] = not is_boundary
                ends[id_] = is_boundary
                if starts[id_]:
                    self._first.setdefault(piece[1:].rstrip(b" "), []).append(id_)
                if continues[id_]:
                    self._further.setdefault(piece.rstrip(b" "), []).append(id_)
        ends[[*textless]] = True
        moved = torch.from_numpy(masks).to(device)
        self.starts, self.continues, self.ends = moved
        self.allowed = moved[:2]

    def state(self, pieces: Pieces) -> int:
        """Return the row of `allowed` that applies after a beginning of a word."""
        return 1 if pieces else 0

    def word(self, pieces: Pieces) -> str:
        """Return the word that pieces spell, or "" if they spell none."""
        try:
            text = b"".join(self.pieces[id_] for id_ in pieces).decode().strip(" ")
        except UnicodeDecodeError:
            return ""
        return text if any(char.isalnum() for char in text) else ""

    def spells(self, pieces: Pieces, word: str) -> bool:
        """Return whether pieces spell a word, each of them allowed in its place."""
        return (
            all(id_ in self.spellings(word, pieces[:number]) for number, id_ in enumerate(pieces))
            and self.word(pieces) == word
        )

    def spellings(self, word: str, beginning: Pieces) -> list[int]:
        """Return the pieces with which a beginning of a word goes on to spell it.

        Example: of `table`, the pieces ` ta`, ` t` and ` table` may be first, and then ` ta` goes
        on with `b`, `bl` or `ble`.
        """
        letters = word.encode()
        spelled = b"".join(self.pieces[id_] for id_ in beginning).lstrip(b" ")
        if not letters.startswith(spelled):
            return []
        rest = letters[len(spelled) :]
        table = self._further if beginning else self._first
        return [
            id_
            for stop in range(len(rest) + 1)
            for id_ in table.get(rest[:stop], ())
            # Spaces may follow the last letter, and a lone space may precede the first one.
            if stop in (0, len(rest)) or not self.pieces[id_].endswith(b" ")
        ]


def word_starts(pieces: Mapping[int, bytes], specials: Sequence[int], size: int) -> np.ndarray:
    """Return the mask `[size]` of the pieces that begin with white space, and of special tokens.

    A word of white-space separated text ends where one of them follows.
    """
    mask = np.zeros(size, np.bool_)
    for id_, piece in pieces.items():
        if id_ < size:
            # "replace": a piece that begins inside a character begins no word.
            mask[id_] = piece[:4].decode("utf-8", "replace")[:1].isspace()
    mask[[id_ for id_ in specials if id_ < size]] = True
    return mask


def _begins_with_boundary(piece: bytes) -> bool:
    """Return whether a piece begins with a character that cannot be part of a word.

    A piece may lack the last byte of its first character; then every completion must be such a
    character. GPT-2 splits typographic quotation marks like this.
    """
    if first := piece[:4].decode("utf-8", "ignore")[:1]:
        return _is_boundary(first)
    # 0x80 to 0xBF are the bytes that can continue a character in UTF-8.
    completed = {(piece + bytes([last])).decode("utf-8", "ignore") for last in range(0x80, 0xC0)}
    completed.discard("")
    return bool(completed) and all(map(_is_boundary, completed))


def _is_boundary(char: str) -> bool:
    # Unicode categories: P punctuation, S symbol, Z separator, C control.
    return char.isspace() or unicodedata.category(char)[0] in "PSZC"
