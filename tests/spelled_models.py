"""Models with real tokenizers that state the bytes of their tokens, and scores of closed form."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from gpt2eval.identity import Spelling
from gpt2eval.models.tokenization.loaded import LoadedTokenizer
from gpt2eval.models.tokenization.loading import from_backend
from gpt2eval.types import Encoding, ModelIdentity, Request, TokenScores

END = "<|endoftext|>"
CONTEXT = 64
TEXT = ["the cat sat on the mat, and the dog ate the hat of the rat", "that cat is fat", "a b"]


def byte_level() -> Any:
    """Return a byte-level BPE of a few merges; other scripts are single bytes."""
    tokenizer: Any = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        TEXT, trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, special_tokens=[END])
    )
    return tokenizer


def byte_fallback(*, has_blank: bool = True) -> Any:
    """Return a SentencePiece-like BPE: `▁` for a blank, and 256 byte tokens for what it lacks.

    Without `has_blank`, no token of it has a `▁`, so that a blank becomes the bytes of `▁`.
    """
    letters = "abcdefghijklmnopqrstuvwxyz.,"
    words = ["▁", "▁t", "▁th", "▁the", "at", "▁c", "▁cat"] if has_blank else ["at"]
    merges = [("▁", "t"), ("▁t", "h"), ("▁th", "e"), ("a", "t"), ("▁", "c"), ("▁c", "at")]
    names = [END, "<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters, *words]
    tokenizer: Any = Tokenizer(
        models.BPE(
            vocab={name: number for number, name in enumerate(names)},
            merges=merges if has_blank else [("a", "t")],
            byte_fallback=True,
            unk_token="<unk>",
        )
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.add_special_tokens([END])
    return tokenizer


class SpelledModel:
    """A tokenizer with log-probabilities that depend on a token and on the one before it."""

    context: int = CONTEXT

    def __init__(self, backend: Any) -> None:
        self.tokenizer: LoadedTokenizer = from_backend(backend)
        self.start = self.tokenizer.start

    def encode(self, text: str) -> Encoding:
        """Encode a text."""
        return self.tokenizer.tokens.encode(text)

    def spelling(self, token: int) -> Spelling | None:
        """Return what a token stands for."""
        return self.tokenizer.spelling(token)

    def score(self, batch: Sequence[Request]) -> TokenScores:
        """Return the log-probabilities."""
        scores = []
        for request in batch:
            for branch in request.branches:
                before = np.concatenate([request.prefix[-1:], branch[:-1]])
                scores.append(logprobs(before, branch, len(request.prefix)))
        found = np.concatenate(scores)
        return TokenScores(found, found > -2, is_tied=np.zeros(len(found), np.bool_))

    def identity(self) -> ModelIdentity:
        """Return a fixed identity, with the tokenizer's fingerprint."""
        fingerprint = self.tokenizer.fingerprint
        return ModelIdentity("spelled", "1", fingerprint, "float64", "none", "cpu")


def logprobs(before: np.ndarray, ids: np.ndarray, seen: int) -> np.ndarray:
    """Return the log-probabilities of tokens after others; the first has `seen` before it."""
    places = seen + np.arange(len(ids))
    return -1.0 - ((31 * before.astype(np.int64) + ids) % 97) / 13 - 1 / places
