"""A model whose tokens are pieces of three characters, so that they cross words and segments."""

import zlib
from collections.abc import Sequence

import numpy as np

from gpt2eval.types import Encoding, ModelIdentity, Request, TokenScores

SIZE = 3
CONTEXT = 512


class PieceModel:
    """Pieces of three characters with arbitrary, fixed log-probabilities."""

    context: int = CONTEXT
    start: int | None = 0

    def encode(self, text: str) -> Encoding:
        """Cut a text after every third character."""
        ends = np.arange(SIZE, len(text) + SIZE, SIZE).clip(max=len(text)).astype(np.int32)
        pieces = [text[max(end - SIZE, 0) : end] for end in ends.tolist()]
        if text and len(text) % SIZE:
            pieces[-1] = text[-(len(text) % SIZE) :]
        ids = [
            1 + zlib.crc32(piece.encode("utf-8", "surrogateescape")) % 50_000 for piece in pieces
        ]
        return Encoding(np.array(ids, np.int32), ends, lossy=False)

    def score(self, batch: Sequence[Request]) -> TokenScores:
        """Return a log-probability that depends on the token alone."""
        ids = np.concatenate([branch for request in batch for branch in request.branches])
        logprobs = -1.0 - (ids % 97) / 7
        return TokenScores(logprobs, ids % 3 == 0, is_tied=np.zeros(len(ids), np.bool_))

    def identity(self) -> ModelIdentity:
        """Return a fixed identity."""
        return ModelIdentity("pieces", "1", "pieces", "float64", "none", "cpu")
