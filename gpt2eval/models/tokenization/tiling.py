"""Encode text into tokens that tile its bytes: ids, and the character at which each token ends.

Wraps a fast tokenizer (the `tokenizers` library) and checks every text: the bytes of the tokens,
laid end to end, must be the bytes of the text. Knows no models.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt2eval.models.load_errors import expected_errors
from gpt2eval.models.tokenization.pieces import piece_bytes
from gpt2eval.types import Encoding, Ids

# A stray byte: one that is not valid UTF-8. `surrogateescape` decodes it as U+DC80 to U+DCFF.
STRAY = re.compile("([\udc80-\udcff])")
# A seam: the position between a word and the space before the next word. Pre-tokenizers split
# there, so a long text can usually be divided at a seam without changing its tokens.
SEAM = re.compile(r"(?<=\w)(?= \w)")
SEGMENT = 1 << 17  # characters per call of the tokenizer, which bounds its memory
SEAM_MARGIN = 256  # characters on either side of a seam that are encoded to verify it


def char_ends(text: str, byte_ends: NDArray[np.integer]) -> Ids:
    """Convert positions in a text's bytes to positions in its characters, shape `[n]`.

    A position inside a character counts as the end of that character.
    """
    if text.isascii():
        return byte_ends.astype(np.int32)
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    stray = (points >= 0xDC80) & (points <= 0xDCFF)
    # UTF-8 needs one more byte from U+0080, U+0800 and U+10000 on.
    widths = np.where(stray, 1, 1 + (points > 0x7F) + (points > 0x7FF) + (points > 0xFFFF))
    return np.searchsorted(np.cumsum(widths), byte_ends, "left").astype(np.int32) + (byte_ends > 0)


def _expected_errors() -> AbstractContextManager[None]:
    return expected_errors(
        "the model's tokenizer",
        Exception,  # the library raises nothing narrower, and may panic
        expectation="a tokenizer that encodes any text",
    )


class TiledEncoder:
    """Encodes a text without adding tokens; special tokens in the text may be read as text.

    `pieces` are the bytes of each token, or None if they are not known.
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._backend.no_truncation()
        self._backend.no_padding()
        self.pieces = piece_bytes(backend)
        self._single_bytes = {
            piece[0]: id_ for id_, piece in (self.pieces or {}).items() if len(piece) == 1
        }

    def name(self, token: int) -> str:
        """Return how the vocabulary writes a token, or ""."""
        return self._backend.id_to_token(token) or ""

    def decoded(self, token: int) -> str:
        """Return the text that decoding a token alone gives; U+FFFD stands for what is no text."""
        return self._backend.decode([token], skip_special_tokens=False)

    def to_text(self) -> str:
        """Return the tokenizer as the content of a `tokenizer.json`."""
        return self._backend.to_str()

    def encode(self, text: str, *, specials: bool = False) -> Encoding:
        """Encode a text; the result is `lossy` if the tokens' bytes are not the text's.

        With `specials`, special tokens in the text are read as tokens. A tokenizer may put a space
        before the text, or after a stray byte; the space is not part of the text, so it does not
        count toward the token that carries it. A long text is encoded in segments, which gives the
        same tokens.
        """
        pieces = [*self.encode_pieces(text, specials=specials)]
        if pieces and pieces[-1].lossy:
            return pieces[-1]
        empty = np.empty(0, np.int32)
        ids = np.concatenate([empty, *(piece.ids for piece in pieces)])
        ends = np.concatenate([empty, *(piece.ends for piece in pieces)])
        return Encoding(ids, ends, lossy=False)

    def encode_pieces(self, text: str, *, specials: bool = False) -> Iterator[Encoding]:
        """Yield the encodings of successive pieces of a text, which together are `encode`'s.

        Ends count from the beginning of the text. If the tokens do not tile its bytes, the last
        encoding is lossy and stands for the whole text.
        """
        with _expected_errors():
            yield from self._pieces(text, specials=specials)

    def _pieces(self, text: str, *, specials: bool) -> Iterator[Encoding]:
        self._backend.encode_special_tokens = not specials
        start = 0
        for stretch in filter(None, STRAY.split(text)):
            for segment in self._segments(stretch):
                ids = self._ids(segment)
                widths = self._widths(ids, segment.encode("utf-8", "surrogateescape"))
                if widths is None:
                    yield self._lossy(text)
                    return
                ends = char_ends(segment, np.cumsum(widths, dtype=np.int64)) + np.int32(start)
                yield Encoding(np.array(ids, np.int32), ends, lossy=False)
                start += len(segment)

    def _segments(self, stretch: str) -> Iterator[str]:
        """Split at seams into segments of about `SEGMENT` characters.

        If no seam is found, the rest of the stretch is one segment.
        """
        start = 0
        while len(stretch) - start > SEGMENT:
            seam = next(self._seams(stretch, start + SEGMENT), None)
            if seam is None:
                break
            yield stretch[start:seam]
            start = seam
        yield stretch[start:]

    def _seams(self, text: str, start: int) -> Iterator[int]:
        """Yield seams from `start` on at which splitting does not change the tokens around them.

        Tries only the next eight; if a tokenizer puts a space before every segment, no seam works.
        """
        for match in islice(SEAM.finditer(text, start), 8):
            seam = match.start()
            left = text[max(0, seam - SEAM_MARGIN) : seam]
            right = text[seam : seam + SEAM_MARGIN]
            if self._ids(left) + self._ids(right) == self._ids(left + right):
                yield seam

    def _ids(self, stretch: str) -> list[int]:
        if STRAY.fullmatch(stretch):
            # The library accepts only valid UTF-8, so look the byte's token up.
            return [self._single_bytes.get(ord(stretch) - 0xDC00, 0)]
        return self._backend.encode(stretch, add_special_tokens=False).ids

    @property
    def backend(self) -> Any:
        """The tokenizer of the library."""
        return self._backend

    def ids_of(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of texts of valid Unicode, encoded on all cores; specials are text."""
        with _expected_errors():
            self._backend.encode_special_tokens = True
            encodings = self._backend.encode_batch_fast([*texts], add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def encode_short(self, sides: Sequence[tuple[str, str]]) -> list[Encoding | None]:
        """Encode texts of at most one segment and without stray bytes, on all cores.

        Each is what the tokenizer is given, and the text that the tokens stand for. Returns None
        for one whose tokens do not tile it.
        """
        encodings: list[Encoding | None] = []
        for ids, (_, text) in zip(self.ids_of([given for given, _ in sides]), sides, strict=True):
            widths = self._widths(ids, text.encode())
            if widths is None:
                encodings.append(None)
            else:
                ends = char_ends(text, np.cumsum(widths, dtype=np.int64))
                encodings.append(Encoding(np.array(ids, np.int32), ends, lossy=False))
        return encodings

    def _widths(self, ids: list[int], raw: bytes) -> list[int] | None:
        """Return how many of the bytes `raw` each token covers; None if they do not tile `raw`."""
        if self.pieces is None:
            return None
        pieces = [self.pieces.get(i, b"") for i in ids]
        widths = [len(piece) for piece in pieces]
        joined = b"".join(pieces)
        if joined == b" " + raw:
            # The tokenizer added a space: take it from the first token that has bytes.
            widths[next(i for i, width in enumerate(widths) if width)] -= 1
        elif joined != raw:
            return None
        return widths

    def _lossy(self, text: str) -> Encoding:
        encoding = self._backend.encode(STRAY.sub("\ufffd", text), add_special_tokens=False)
        # Ends must not decrease, whatever offsets the library reports.
        ends = np.maximum.accumulate(np.array([end for _, end in encoding.offsets], np.int32))
        return Encoding(np.array(encoding.ids, np.int32), ends, lossy=True)
