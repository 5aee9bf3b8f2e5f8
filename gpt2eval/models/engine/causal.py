"""A causal language model of transformers, its tokenizer and an engine: what every kind of checkpoint becomes.

It knows requests, not what they are for, and not where the weights came from.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from gpt2eval.errors import UsageError, unknown
from gpt2eval.models.engine import onednn
from gpt2eval.models.engine.best_word import Vocabulary, best_words
from gpt2eval.models.engine.packed import PackedEngine
from gpt2eval.models.engine.padded import PaddedEngine
from gpt2eval.models.engine.scores import ROWS
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.tokenization.loading import LoadedTokenizer
from gpt2eval.types import Encoding, Ids, ModelIdentity, Request, TokenScores

DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
}
UNBOUNDED = 1 << 20


class CausalModel:
    """A causal LM and its tokenizer; `model(input_ids)` gives logits `[batch, length, vocabulary]`."""

    def __init__(
        self,
        engine: PackedEngine | PaddedEngine,
        tokenizer: LoadedTokenizer,
        identity: ModelIdentity,
    ) -> None:
        self._engine = engine
        self._tokens = tokenizer.tokens
        self.start = tokenizer.start
        self.added = tokenizer.added
        self._specials = tokenizer.specials
        self._identity = identity
        self._config = engine.model.config.get_text_config()
        self.context: int = getattr(self._config, "max_position_embeddings", None) or UNBOUNDED

    def encode(self, text: str) -> Encoding:
        return self._checked(self._tokens.encode(text))

    def encode_specials(self, text: str) -> Encoding:
        """As `encode`, but `<unk>` and the like in a text are read as the tokens they name."""
        return self._checked(self._tokens.encode(text, specials=True))

    def identity(self) -> ModelIdentity:
        return self._identity

    def score(self, batch: Sequence[Request]) -> TokenScores:
        return self._engine.score(batch)

    def _checked(self, encoding: Encoding) -> Encoding:
        """An encoding, every id of which the model has."""
        highest, size = int(encoding.ids.max(initial=0)), self._config.vocab_size
        if highest >= size:
            raise UsageError(
                f"model {self._identity.name}: its tokenizer gives token {highest}, the model has {size}; "
                "expected --tokenizer with the one it was trained with"
            )
        return encoding


class BestWordModel(CausalModel):
    """A causal LM whose tokenizer states the bytes of each piece, so that whole words can be searched for."""

    def best_words(
        self, prefixes: Sequence[Ids], banned: frozenset[str], width: int, depth: int
    ) -> list[str]:
        at_once = max(1, ROWS.get(self._engine.model.device.type, 64) // width)
        cut = [prefix[-max(1, self.context - depth) :] for prefix in prefixes]
        return [
            word
            for at in range(0, len(cut), at_once)
            for word in best_words(
                cut[at : at + at_once],
                banned,
                self._engine.following,
                self._vocabulary,
                width,
                depth,
            )
        ]

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary(
            self._tokens.pieces or {},
            self._specials,
            self._config.vocab_size,
            self._engine.model.device,
        )


def assembled(
    model: Any,
    tokenizer: LoadedTokenizer,
    identity: Mapping[str, str],
    options: LoadOptions,
    *,
    live: bool = False,
) -> CausalModel:
    """A loaded model, ready to score: packed where its architecture allows, on the device it lies on.

    The weights of one that is `live` are not laid out anew, which would copy them.
    Raises UsageError for one whose predictions depend on what comes after, and for `--attn packed` where that cannot be.
    """
    model.eval()
    padded = PaddedEngine(model)
    _refuse_foresight(identity["name"], padded)
    plain = options.attn not in (None, "packed")
    engine = padded if plain else PackedEngine.of(model, padded, live=live) or padded
    if options.attn == "packed" and engine is padded:
        raise UsageError(
            f"model {identity['name']}: its architecture does not take packed rows; expected --attn sdpa or eager"
        )
    stated = {**_said(model), **identity, **onednn.said(engine.model)}
    stated |= {"tokenizer": tokenizer.fingerprint, "attn": engine.name}
    kind = BestWordModel if tokenizer.tokens.pieces else CausalModel
    return kind(engine, tokenizer, ModelIdentity(**stated))


def dtype_of(options: LoadOptions) -> torch.dtype:
    """The dtype of a name. Raises UsageError for another name."""
    if options.dtype not in DTYPES:
        raise unknown("dtype", options.dtype, DTYPES)
    return DTYPES[options.dtype]


def _said(model: Any) -> dict[str, str]:
    """The fields of a model's identity that can be seen in itself."""
    config = model.config.get_text_config()
    depth, width = (getattr(config, key, "?") for key in ("num_hidden_layers", "hidden_size"))
    return {
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": model.device.type,
        "shape": f"{config.model_type}-{depth}x{width}-{config.vocab_size}",
    }


def _refuse_foresight(name: str, padded: PaddedEngine) -> None:
    """Raise UsageError where what comes later changes what was predicted before, as in masked language models."""
    size = padded.model.config.get_text_config().vocab_size
    ids = (np.arange(1, 14, dtype=np.int64) * 7919 % size).astype(np.int32)
    other = np.concatenate([ids[:6], (ids[6:] + 1) % size])
    first, second = (padded.score([Request(x[:1], (x[1:],))]).logprobs[:5] for x in (ids, other))
    if not np.isfinite(first).all():
        raise UsageError(
            f"model {name}: its log-probabilities are not numbers; expected weights that are"
        )
    tolerance = 0.3 if padded.model.dtype in (torch.bfloat16, torch.float16) else 1e-4
    if not np.allclose(first, second, atol=tolerance, rtol=0):
        raise UsageError(
            f"model {name}: what it predicts depends on later tokens; expected a causal language model"
        )
