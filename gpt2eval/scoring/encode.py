"""Encode the texts of a task with a backend."""

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

import numpy as np

from gpt2eval.identity import EncodesMany, EncodesPieces
from gpt2eval.scoring.large import Growing, joined
from gpt2eval.types import Encoded, EncodesSpecials, Encoding, Model, Passage

LONG = 1 << 22  # characters from which a text is encoded piece by piece
AT_ONCE = 1 << 13  # texts that are encoded in one call


def encode_texts(model: Model, texts: Sequence[str], *, specials: bool) -> list[Encoding]:
    """Return the encoding of each text; with `specials`, `<unk>` and the like are read as tokens.

    Batches are sorted by length, so the first one needs the tokens of every text: nothing can be
    scored meanwhile. A backend that encodes many texts at once makes up for it. Where the backend
    encodes in pieces, the tokens of a long text lie in files, see `large`.
    """
    in_pieces = isinstance(model, EncodesPieces)
    short = [text for text in texts if not in_pieces or len(text) < LONG]
    encodings = iter(_encode_short(model, short, specials=specials))
    if not isinstance(model, EncodesPieces) or len(short) == len(texts):
        return [*encodings]
    return [
        next(encodings) if len(text) < LONG else gathered(model.encode_pieces(text, specials))
        for text in texts
    ]


def _encode_short(model: Model, texts: Sequence[str], *, specials: bool) -> list[Encoding]:
    """Encode texts, some at a time; the tokens of many texts lie in files, one after the other."""
    if len(texts) == 1:
        return _encode_some(model, texts, specials=specials)
    ids, ends = Growing(np.int32), Growing(np.int32)
    lengths: list[int] = []
    lossy: list[bool] = []
    for first in range(0, len(texts), AT_ONCE):
        for encoding in _encode_some(model, texts[first : first + AT_ONCE], specials=specials):
            ids.append(encoding.ids)
            ends.append(encoding.ends)
            lengths.append(len(encoding.ids))
            lossy.append(encoding.lossy)
    bounds = pairwise([0, *accumulate(lengths)])
    all_ids, all_ends = ids.array(), ends.array()
    return [
        Encoding(all_ids[start:stop], all_ends[start:stop], is_lossy)
        for (start, stop), is_lossy in zip(bounds, lossy, strict=True)
    ]


def _encode_some(model: Model, texts: Sequence[str], *, specials: bool) -> list[Encoding]:
    if specials and isinstance(model, EncodesSpecials):
        return [model.encode_specials(text) for text in texts]
    if isinstance(model, EncodesMany):
        return model.encode_batch(texts)
    return [model.encode(text) for text in texts]


def gathered(pieces: Iterator[Encoding]) -> Encoding:
    """Return the pieces of a text's encoding as one; a lossy piece stands for the whole text."""
    ids, ends = Growing(np.int32), Growing(np.int32)
    for piece in pieces:
        if piece.lossy:
            return piece
        ids.append(piece.ids)
        ends.append(piece.ends)
    return Encoding(ids.array(), ends.array(), lossy=False)


def with_token_before(passage: Passage, encoding: Encoding, token: int | None) -> Encoded:
    """Return a passage with its tokens, after a token that stands for no text, if there is one."""
    if token is None:
        return Encoded(passage, encoding.ids, encoding.ends)
    prefix = np.array([token], np.int32)
    ids = joined([prefix, encoding.ids], np.int32)
    return Encoded(passage, ids, joined([0 * prefix, encoding.ends], np.int32))
