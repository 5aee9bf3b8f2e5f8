"""Models whose scores are known in closed form: every byte a token, every byte independent of the others."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gpt2eval.config.catalog import DEMO
from gpt2eval.errors import UsageError, unknown
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.tokenization.tiling import char_ends
from gpt2eval.types import Encoding, ModelIdentity, Request, TokenScores

START = 256


class ByteModel:
    """A fixed distribution over the 256 bytes, whatever came before; `probabilities` has shape `[256]` and sums to 1."""

    context: int = 1 << 20
    start: int | None = START

    def __init__(self, name: str, probabilities: NDArray[np.float64]) -> None:
        self._name = name
        self._logprobs = np.log(probabilities)
        self._best = int(np.argmax(probabilities))

    def encode(self, text: str) -> Encoding:
        """A token per UTF-8 byte; those of one character all end where it ends."""
        ids = np.frombuffer(text.encode("utf-8", "surrogateescape"), np.uint8).astype(np.int32)
        return Encoding(ids, char_ends(text, np.arange(1, len(ids) + 1)), lossy=False)

    def score(self, batch: Sequence[Request]) -> TokenScores:
        ids = np.concatenate([branch for request in batch for branch in request.branches])
        return TokenScores(self._logprobs[ids], ids == self._best)

    def identity(self) -> ModelIdentity:
        revision = sha256(self._logprobs.tobytes()).hexdigest()[:8]
        return ModelIdentity(
            name=self._name,
            revision=revision,
            tokenizer="bytes",
            dtype="float64",
            attn="none",
            device="cpu",
        )


def load(rest: str, options: LoadOptions) -> ByteModel:
    """`uniform-bytes`: 256 equally likely bytes. `unigram[:FILE]`: byte frequencies of a file (or of a demo text), plus one.

    Raises UsageError for another name or a file that cannot be read.
    """
    kind, _, path = rest.partition(":")
    if kind == "uniform-bytes":
        return ByteModel("toy:uniform-bytes", np.full(256, 1 / 256))
    if kind == "unigram":
        source = Path(path) if path else DEMO / "data" / "wikitext103.tokens"
        try:
            counts = 1.0 + np.bincount(np.frombuffer(source.read_bytes(), np.uint8), minlength=256)
        except OSError as error:
            raise UsageError(
                f"toy:unigram: {source}: {error.strerror}; expected a file to count bytes in"
            ) from None
        return ByteModel(f"toy:{rest}", counts / counts.sum())
    raise unknown("toy model", kind, ["uniform-bytes", "unigram"])
