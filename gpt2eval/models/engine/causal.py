"""The backend that every checkpoint format loads into: a causal LM, its tokenizer and an engine.

Knows requests. Does not know their purpose or the origin of the weights.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from gpt2eval.errors import UsageError, unknown
from gpt2eval.identity import Sizes
from gpt2eval.models.engine import onednn
from gpt2eval.models.engine.best_word import Vocabulary, best_words
from gpt2eval.models.engine.packed import PackedEngine
from gpt2eval.models.engine.padded import PaddedEngine
from gpt2eval.models.engine.probe import Probe, spread_ids, tolerance
from gpt2eval.models.engine.scores import ROWS
from gpt2eval.models.engine.sizes import fits, sizes_of
from gpt2eval.models.engine.structure import selects_positions
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.tokenization.loading import LoadedTokenizer
from gpt2eval.types import Encoding, Ids, ModelIdentity, Request, TokenScores

DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
}


class CausalModel:
    """A causal LM of transformers and its tokenizer.

    The model maps `input_ids` `[batch, length]` to logits `[batch, length, vocabulary]`.
    """

    def __init__(
        self,
        engine: PackedEngine | PaddedEngine,
        tokenizer: LoadedTokenizer,
        identity: ModelIdentity,
        context: int,
        sizes: Sizes,
    ) -> None:
        self._engine = engine
        self._sizes = sizes
        self._tokens = tokenizer.tokens
        self.start = tokenizer.start
        self.added = tokenizer.added
        self._specials = tokenizer.specials
        self._identity = identity
        self._config = engine.model.config.get_text_config()
        self.context = context

    def encode(self, text: str) -> Encoding:
        """Encode a text; special tokens in it are read as text.

        Raises UsageError for an id that the model does not have.
        """
        return self._checked(self._tokens.encode(text))

    def encode_specials(self, text: str) -> Encoding:
        """Encode a text; `<unk>` and other special tokens in it are read as those tokens."""
        return self._checked(self._tokens.encode(text, specials=True))

    def token_name(self, token: int) -> str:
        """Return how the tokenizer's vocabulary writes a token, such as `<bos>`, or ""."""
        return self._tokens.name(token)

    def identity(self) -> ModelIdentity:
        return self._identity

    def sizes(self) -> Sizes:
        return self._sizes

    def fits(self, batch: Sequence[Request]) -> bool:
        return fits(self._engine, batch)

    def score(self, batch: Sequence[Request]) -> TokenScores:
        return self._engine.score(batch)

    def _checked(self, encoding: Encoding) -> Encoding:
        highest = int(encoding.ids.max(initial=0))
        size = self._config.vocab_size
        if highest >= size:
            raise UsageError(
                f"model {self._identity.name}: its tokenizer gives token {highest}, but the "
                f"model's vocabulary has {size}; expected --tokenizer with the "
                "tokenizer that it was trained with"
            )
        return encoding


class BestWordModel(CausalModel):
    """A causal LM whose tokenizer states the bytes of each piece, so it can search for words."""

    def best_words(
        self, prefixes: Sequence[Ids], banned: frozenset[str], width: int, depth: int
    ) -> list[str]:
        """Return for each prefix the most likely complete word that is not banned, or "".

        See `engine/best_word.py`.
        """
        # Each prefix has up to `width` hypotheses; together they fill one vocabulary projection.
        at_once = max(1, ROWS.get(self._engine.model.device.type, 64) // width)
        # Leave `depth` positions of the context for the word itself, and one for the prefix.
        depth = min(depth, self.context - 1)
        cut = [self._cut(prefix, self.context - depth) for prefix in prefixes]
        words: list[str] = []
        for start in range(0, len(cut), at_once):
            words += best_words(
                cut[start : start + at_once],
                banned,
                self._engine.next_token_logprobs,
                self._vocabulary,
                width,
                depth,
            )
        return words

    def _cut(self, prefix: Ids, length: int) -> Ids:
        """Return the last tokens of a prefix, after the start token that the tokenizer adds."""
        last = prefix[-length:]
        if self.added is not None and prefix[0] == self.added:
            last = np.concatenate([prefix[:1], last[1:]])
        return last

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary(
            self._tokens.pieces or {},
            self._specials,
            self._config.vocab_size,
            self._engine.model.device,
        )


def assemble(
    model: Any,
    tokenizer: LoadedTokenizer,
    identity: Mapping[str, str],
    options: LoadOptions,
    *,
    live: bool = False,
) -> CausalModel:
    """Return a loaded model as a backend, on its device, packed if its architecture allows.

    The weights of a `live` model, one in training, are not rearranged, because that would copy
    them. Raises UsageError for a model that is not causal, and for `--attn packed` if the packed
    engine does not reproduce the model's scores.
    """
    model.eval()
    sizes = sizes_of(model)
    probe = _probe(identity["name"], model)
    alone = selects_positions(model.config) or not probe.rows.neutral
    padded = PaddedEngine(model, alone=alone)
    _check_causal(identity["name"], padded, probe)
    packed = None
    if not alone and options.attn in (None, "packed"):
        packed = PackedEngine.if_equivalent(model, padded, live=live, probe=probe)
    engine = packed or padded
    if options.attn == "packed" and engine is padded:
        raise UsageError(
            f"model {identity['name']}: its architecture does not support packed rows; "
            "expected --attn sdpa or eager"
        )
    stated = {**_config_identity(model), **identity, **onednn.identity_fields(engine.model)}
    stated |= {"tokenizer": tokenizer.fingerprint, "attn": engine.name}
    kind = BestWordModel if tokenizer.tokens.pieces else CausalModel
    return kind(engine, tokenizer, ModelIdentity(**stated), probe.context, sizes)


def dtype_of(options: LoadOptions) -> torch.dtype:
    """Return the dtype that `--dtype` names. Raises UsageError for an unknown name."""
    if options.dtype not in DTYPES:
        raise unknown("dtype", options.dtype, DTYPES)
    return DTYPES[options.dtype]


def _config_identity(model: Any) -> dict[str, str]:
    """Return the fields of a model's identity that the model itself states."""
    config = model.config.get_text_config()
    depth = getattr(config, "num_hidden_layers", "?")
    width = getattr(config, "hidden_size", "?")
    return {
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": model.device.type,
        "shape": f"{config.model_type}-{depth}x{width}-{config.vocab_size}",
    }


def _probe(name: str, model: Any) -> Probe:
    """Return a probe of a model. Raises UsageError if it does not run on a single token."""
    probe = Probe(model)
    if probe.context < 1:
        raise UsageError(
            f"model {name}: fails on a single token: {probe.failure}; "
            "expected a causal language model"
        )
    return probe


def _check_causal(name: str, padded: PaddedEngine, probe: Probe) -> None:
    """Raise UsageError if later tokens change earlier predictions, as in masked language models."""
    size = padded.model.config.get_text_config().vocab_size
    ids = spread_ids(min(13, probe.context + 1), size)
    changed = np.concatenate([ids[:6], (ids[6:] + 1) % size])
    # The first five targets, tokens 1 to 5, precede every change.
    original = padded.score([Request(ids[:1], (ids[1:],))]).logprobs[:5]
    after_change = padded.score([Request(changed[:1], (changed[1:],))]).logprobs[:5]
    if not np.isfinite(original).all():
        raise UsageError(
            f"model {name}: its log-probabilities are not finite; expected finite weights"
        )
    agree = np.allclose(original, after_change, atol=tolerance(padded.model.dtype), rtol=0)
    if not agree or not probe.rows.causal:
        raise UsageError(
            f"model {name}: its output depends on later tokens; expected a causal language model"
        )
