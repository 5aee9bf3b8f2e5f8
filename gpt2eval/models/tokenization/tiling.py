"""Text to tokens that tile its bytes: ids, and the character at which each token ends.

It wraps a fast tokenizer (the `tokenizers` library) and checks every text it encodes: the bytes of the tokens,
laid end to end, must be the bytes of the text. It does not know models.
"""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt2eval.types import Encoding, Ids

STRAY = re.compile("([\udc80-\udcff])")  # a byte that is not UTF-8, as `surrogateescape` decodes it
SEAM = re.compile(r"(?<=\w)(?= \w)")  # before the blank between two words
PIECE, AROUND = 1 << 17, 256  # characters encoded at once, and looked at on either side of a seam
BYTE = re.compile("<0x([0-9A-F]{2})>")  # a single byte in a SentencePiece vocabulary


def char_ends(text: str, byte_ends: NDArray[np.integer]) -> Ids:
    """For positions in a text's bytes, the end of the character that the last byte before each belongs to, `[n]`."""
    if text.isascii():
        return byte_ends.astype(np.int32)
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    stray = (points >= 0xDC80) & (points <= 0xDCFF)
    widths = np.where(stray, 1, 1 + (points > 0x7F) + (points > 0x7FF) + (points > 0xFFFF))
    return np.searchsorted(np.cumsum(widths), byte_ends, "left").astype(np.int32) + (byte_ends > 0)


def byte_alphabet() -> Mapping[str, int]:
    """GPT-2's printable character for each byte, inverted: printable bytes stand for themselves, others from U+0100 on."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {
        chr(0x100 + i): byte for i, byte in enumerate(others)
    }


def piece_bytes(backend: Any) -> dict[int, bytes] | None:
    """The bytes of every token of a `tokenizers.Tokenizer`, or None where its scheme does not say."""
    decoder = json.dumps(json.loads(backend.to_str())["decoder"])
    added = {
        id_: token.content.encode() for id_, token in backend.get_added_tokens_decoder().items()
    }
    vocabulary = backend.get_vocab(with_added_tokens=False).items()
    if "ByteLevel" in decoder:
        alphabet = byte_alphabet()
        return {
            id_: bytes(alphabet.get(c, 0x3F) for c in token) for token, id_ in vocabulary
        } | added
    if "ByteFallback" in decoder or "\\u2581" in decoder:
        return {id_: _sentencepiece(token) for token, id_ in vocabulary} | added
    return None


def _sentencepiece(token: str) -> bytes:
    byte = BYTE.fullmatch(token)
    return bytes([int(byte[1], 16)]) if byte else token.replace("\u2581", " ").encode()


class TiledEncoder:
    """A fast tokenizer as a function of text alone: nothing added, and special tokens in the text read as text (or not)."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._backend.no_truncation()
        self._backend.no_padding()
        self.pieces = piece_bytes(backend)
        self._single = {
            piece[0]: id_ for id_, piece in (self.pieces or {}).items() if len(piece) == 1
        }

    def encode(self, text: str, *, specials: bool = False) -> Encoding:
        """The tokens of a text; `lossy` where their bytes are not the text's. With `specials` these are read as tokens.

        A blank put before the text, or after a stray byte, is no part of it: the token that carries it is that
        much shorter. A long text is encoded in pieces, with the same tokens as in one.
        """
        self._backend.encode_special_tokens = not specials
        ids: list[Ids] = []
        widths: list[Ids] = []
        for stretch in filter(None, STRAY.split(text)):
            for piece in self._cut(stretch):
                found = self._ids(piece)
                tiled = self._widths(found, piece.encode("utf-8", "surrogateescape"))
                if tiled is None:
                    return self._lossy(text)
                ids.append(np.array(found, np.int32))
                widths.append(np.array(tiled, np.int32))
        if not ids:
            return Encoding(np.empty(0, np.int32), np.empty(0, np.int32), lossy=False)
        return Encoding(
            np.concatenate(ids),
            char_ends(text, np.cumsum(np.concatenate(widths), dtype=np.int64)),
            lossy=False,
        )

    def _cut(self, stretch: str) -> Iterator[str]:
        """Pieces of about `PIECE` characters; all the rest in one where no seam is found."""
        at = 0
        while len(stretch) - at > PIECE:
            seam = next(self._seams(stretch, at + PIECE), None)
            if seam is None:
                break
            yield stretch[at:seam]
            at = seam
        yield stretch[at:]

    def _seams(self, text: str, start: int) -> Iterator[int]:
        """Places between two words where what stands around gives the same tokens in two parts as in one."""
        for match in islice(SEAM.finditer(text, start), 8):
            left, right = (
                text[max(0, match.start() - AROUND) : match.start()],
                text[match.start() : match.start() + AROUND],
            )
            if self._ids(left) + self._ids(right) == self._ids(left + right):
                yield match.start()

    def _ids(self, stretch: str) -> list[int]:
        if STRAY.fullmatch(stretch):
            return [self._single.get(ord(stretch) - 0xDC00, 0)]
        return self._backend.encode(stretch, add_special_tokens=False).ids

    def _widths(self, ids: list[int], raw: bytes) -> list[int] | None:
        """How many of the bytes `raw` each token stands for, or None where they are not its bytes."""
        if self.pieces is None:
            return None
        pieces = [self.pieces.get(i, b"") for i in ids]
        widths = [len(piece) for piece in pieces]
        joined = b"".join(pieces)
        if joined == b" " + raw:
            widths[next(i for i, width in enumerate(widths) if width)] -= 1
        elif joined != raw:
            return None
        return widths

    def _lossy(self, text: str) -> Encoding:
        encoding = self._backend.encode(STRAY.sub("\ufffd", text), add_special_tokens=False)
        ends = np.maximum.accumulate(np.array([end for _, end in encoding.offsets], np.int32))
        return Encoding(np.array(encoding.ids, np.int32), ends, lossy=True)
