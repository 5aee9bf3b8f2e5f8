"""Models with closed-form scores: every byte is a token, independent of all other bytes."""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gpt2eval.config.catalog import DEMO
from gpt2eval.errors import UsageError, unknown
from gpt2eval.identity import Spelling
from gpt2eval.models.formats.naming import local_label
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.tokenization.tiling import char_ends
from gpt2eval.types import Encoding, ModelIdentity, Request, TokenScores

START = 256
PIECE = 1 << 20  # characters that are encoded at once


class ByteModel:
    """The same distribution over bytes after every prefix.

    `probabilities` has shape `[256]` and sums to 1. A text of n bytes b has the negative
    log-likelihood -sum log probabilities[b].
    """

    context: int = 1 << 20
    start: int | None = START

    def __init__(self, name: str, probabilities: NDArray[np.float64], label: str = "") -> None:
        self._name = name
        self._label = label
        self._logprobs = np.log(probabilities)
        self._best = int(np.argmax(probabilities))  # the lowest of equally likely bytes
        self._is_tied = int((probabilities == probabilities.max()).sum()) > 1

    def encode(self, text: str) -> Encoding:
        """Encode a text as one token per UTF-8 byte; each ends where its character ends."""
        ids = np.frombuffer(text.encode("utf-8", "surrogateescape"), np.uint8).astype(np.int32)
        return Encoding(
            ids, char_ends(text, np.arange(1, len(ids) + 1, dtype=np.int32)), lossy=False
        )

    def encode_pieces(self, text: str, specials: bool = False) -> Iterator[Encoding]:
        """Encode a text piece by piece; it has no special tokens."""
        for first in range(0, len(text), PIECE):
            piece = self.encode(text[first : first + PIECE])
            yield piece._replace(ends=piece.ends + np.int32(first))

    def token_name(self, token: int) -> str:
        """Return `<start>` or a byte such as `<0x41>`."""
        return "<start>" if token == START else f"<0x{token:02X}>"

    def spelling(self, token: int) -> Spelling | None:
        """Return what a token stands for: a byte, or nothing for `<start>`."""
        if not 0 <= token <= START:
            return None
        raw = b"" if token == START else bytes([token])
        decoded = raw.decode("utf-8", "replace")
        return Spelling(raw, self.token_name(token), decoded, is_special=token == START)

    def score(self, batch: Sequence[Request]) -> TokenScores:
        ids = np.concatenate([branch for request in batch for branch in request.branches])
        if START in ids:
            raise UsageError(
                f"model {self._name}: the task scores an end-of-text token, and the model knows "
                "only bytes; expected another model or task"
            )
        is_tied = np.full(len(ids), self._is_tied)
        return TokenScores(self._logprobs[ids], ids == self._best, is_tied=is_tied)

    def score_starts(self, batch: Sequence[Request]) -> TokenScores:
        """Score a batch; a byte of white space begins a word."""
        scores = self.score(batch)
        ids = np.concatenate([branch for request in batch for branch in request.branches])
        starts = np.array([chr(byte).isspace() for byte in range(128)] + [False] * 128)
        mass = np.logaddexp.reduce(self._logprobs[starts])
        return scores._replace(log_starts=np.full(len(ids), mass), starts_word=starts[ids])

    def identity(self) -> ModelIdentity:
        revision = sha256(self._logprobs.tobytes()).hexdigest()[:8]
        return ModelIdentity(
            name=self._name,
            revision=revision,
            tokenizer="bytes",
            dtype="float64",
            attn="none",
            device="cpu",
            label=self._label,
        )


def load(rest: str, options: LoadOptions) -> ByteModel:
    """Load `toy:uniform-bytes` or `toy:unigram[:FILE]`.

    `uniform-bytes` gives every byte the probability 1/256. `unigram` uses the byte counts of a
    file, by default of a demo text, each plus one. Raises UsageError for an unknown name or an
    unreadable file.
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
        label = local_label(source, "toy:unigram") if path else ""
        return ByteModel(f"toy:{rest}", counts / counts.sum(), label)
    raise unknown("toy model", kind, ["uniform-bytes", "unigram"])
