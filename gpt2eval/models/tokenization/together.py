"""Encode many texts, and what adjacent texts have in common only once.

The choices of a question share a long context. Each text is cut where the tokens on either side
cannot depend on each other; the tokens of both sides are the tokens of the text. Every distinct
side is encoded once, on all cores.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from tokenizers.models import BPE

from gpt2eval.models.tokenization.loaded import Encoder
from gpt2eval.models.tokenization.tiling import SEAM, SEGMENT, STRAY, TiledEncoder
from gpt2eval.types import Encoding

LEAST = 256  # characters that adjacent texts must share
NEAR = 200  # characters before the end of what they share in which to look for a seam
MARGIN = 64  # characters on either side of a seam that are encoded to verify it
AT_ONCE = 4096  # texts in one call of the tokenizer, which bounds its memory
# A token with a space after a word, or after bytes that may end one: it could cross a seam.
CROSSING = re.compile("[\\w\ufffd] ")


class Side(NamedTuple):
    """One side of a cut text: what is given to the tokenizer, and the text that it stands for.

    A tokenizer that puts a space before every text is given the right side without its space.
    """

    given: str
    text: str


def encode_together(encoder: Encoder, texts: Sequence[str]) -> list[Encoding]:
    """Return the encoding of each text: the same ids, ends and flag as `encode` returns."""
    if not isinstance(encoder, TiledEncoder) or encoder.pieces is None:
        return [encoder.encode(text) for text in texts]
    cut = _is_cuttable(encoder)
    encodings: list[Encoding] = []
    for start in range(0, len(texts), AT_ONCE):
        block = texts[start : start + AT_ONCE]
        sides = [*_sides(encoder, block)] if cut else [[Side(text, text)] for text in block]
        short = {side: None for parts in sides for side in parts if _is_short(side)}
        known = dict(zip(short, encoder.encode_short([*short]), strict=True))
        for text, parts in zip(block, sides, strict=True):
            joined = _joined([known.get(side) for side in parts], parts)
            encodings.append(encoder.encode(text) if joined is None else joined)
    return encodings


def _is_short(side: Side) -> bool:
    """Return whether `encode` would pass a text to the tokenizer as it is."""
    return 0 < len(side.given) <= SEGMENT and not STRAY.search(side.text)


def _is_cuttable(encoder: TiledEncoder) -> bool:
    """Return whether no token of a vocabulary can cross a seam.

    BPE only merges two tokens into one of its vocabulary, so without such a token the two sides of
    a seam are merged independently.
    """
    model = encoder.backend.model
    if not isinstance(model, BPE) or (model.ignore_merges and not encoder.backend.pre_tokenizer):
        return False
    spaced = [piece for piece in (encoder.pieces or {}).values() if b" " in piece[1:]]
    return not any(CROSSING.search(piece.decode("utf-8", "replace")) for piece in spaced)


def _sides(encoder: TiledEncoder, texts: Sequence[str]) -> Iterator[list[Side]]:
    """Yield the sides of each text: two if it shares its beginning with an adjacent one."""
    first = 0
    while first < len(texts):
        text = texts[first]
        beginning = text[: max(LEAST, len(text) // 2)]
        last = first + 1
        while last < len(texts) and len(text) >= LEAST and texts[last].startswith(beginning):
            last += 1
        group = texts[first:last]
        seam, space = _seam(encoder, group) if len(group) > 1 else (0, 0)
        for member in group:
            if seam:
                left, right = member[:seam], member[seam:]
                yield [Side(left, left), Side(right[space:], right)]
            else:
                yield [Side(member, member)]
        first = last


def _seam(encoder: TiledEncoder, group: Sequence[str]) -> tuple[int, int]:
    """Return the last seam in what texts share, and how many spaces to omit after it; 0 for none.

    The surroundings are encoded as a whole and in two parts, because a tokenizer may change the
    beginning or the end of a text.
    """
    text = group[0]
    shared = _shared(min(group), max(group))
    seams = [match.start() for match in SEAM.finditer(text, max(0, shared - NEAR), shared)]
    if not seams or len(text) > SEGMENT or STRAY.search(text):
        return 0, 0
    seam = seams[-1]
    left = text[max(0, seam - MARGIN) : seam]
    right = text[seam : seam + MARGIN]
    parts = [left + right, left, right, right[1:]]
    whole, before, after, without_space = encoder.ids_of(parts)
    if before + after == whole:
        return seam, 0
    if before + without_space == whole:
        return seam, 1
    return 0, 0


def _shared(first: str, last: str) -> int:
    """Return the length of the longest common prefix."""
    low, high = 0, min(len(first), len(last))
    while low < high:
        middle = (low + high + 1) // 2
        if first[:middle] == last[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _joined(encodings: Sequence[Encoding | None], sides: Sequence[Side]) -> Encoding | None:
    """Join the encodings of a text's sides; None if one of them is unknown or does not tile."""
    ids: list[np.ndarray] = []
    ends: list[np.ndarray] = []
    start = 0
    for encoding, side in zip(encodings, sides, strict=True):
        if encoding is None:
            return None
        ids.append(encoding.ids)
        ends.append(encoding.ends + np.int32(start))
        start += len(side.text)
    return Encoding(np.concatenate(ids), np.concatenate(ends), lossy=False)
