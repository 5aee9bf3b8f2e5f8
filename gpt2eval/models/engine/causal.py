"""The backend that every checkpoint format loads into: a causal LM, its tokenizer and an engine.

Knows requests. Does not know their purpose or the origin of the weights.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch

from gpt2eval.errors import UsageError, unknown
from gpt2eval.identity import Sizes
from gpt2eval.models.engine import onednn
from gpt2eval.models.engine.packed import PackedEngine
from gpt2eval.models.engine.padded import PaddedEngine
from gpt2eval.models.engine.precision import notify_cost
from gpt2eval.models.engine.probe import Probe, spread_ids, tolerance
from gpt2eval.models.engine.scores import Pending
from gpt2eval.models.engine.sizes import fits, sizes_of
from gpt2eval.models.engine.structure import selects_positions
from gpt2eval.models.engine.terminated import TerminatedWords
from gpt2eval.models.engine.vocabulary import Vocabulary, word_starts
from gpt2eval.models.engine.word_scores import WordScorer
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.tokenization.loaded import LoadedTokenizer
from gpt2eval.models.tokenized import TokenizedModel
from gpt2eval.types import ModelIdentity, Request, TokenScores, WordRequest

DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
}


class CausalModel(TokenizedModel):
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
        super().__init__(tokenizer, identity, context, sizes)
        self._engine = engine

    def fits(self, batch: Sequence[Request]) -> bool:
        return fits(self._engine, batch)

    def score(self, batch: Sequence[Request]) -> TokenScores:
        return self._engine.score(batch)

    def launch(self, batch: Sequence[Request]) -> Pending:
        """Start scoring a batch on a GPU; a CPU computes when the scores are waited for."""
        if self._engine.model.device.type == "cuda":
            return self._engine.launch(batch)
        return partial(self._engine.score, batch)


class BestWordModel(CausalModel):
    """A causal LM whose tokenizer states the bytes of each piece, so it can search for words."""

    def score_words(
        self, batches: Sequence[Sequence[WordRequest]], banned: frozenset[str]
    ) -> list[TokenScores]:
        """Score batches, and decide whether each answer is the best word that is not banned.

        See `engine/best_word.py`.
        """
        scorer = WordScorer(self._engine, self._vocabulary, self.context, self.added, banned)
        return scorer.score(batches)

    def score_terminated(
        self, batches: Sequence[Sequence[WordRequest]], end: int
    ) -> list[TokenScores]:
        """Score batches, and decide whether each answer is the best word before the token `end`.

        See `engine/terminated.py`.
        """
        words = self._terminated_words.before(end)
        scorer = WordScorer(self._engine, words, self.context, self.added, frozenset())
        return scorer.score(batches)

    def score_starts(self, batch: Sequence[Request]) -> TokenScores:
        """Score a batch, with the log-probability of all tokens that begin a word."""
        starts = self._starts
        scores = self._engine.score(batch, np.flatnonzero(starts).astype(np.int32))
        ids = np.concatenate([branch for request in batch for branch in request.branches])
        return scores._replace(starts_word=starts[ids])

    @cached_property
    def _starts(self) -> np.ndarray:
        tokenizer = self.tokenizer
        pieces = tokenizer.tokens.pieces or {}
        return word_starts(pieces, tokenizer.specials, self.sizes().vocabulary)

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary(
            self.tokenizer.tokens.pieces or {},
            self.tokenizer.specials,
            self.sizes().vocabulary,
            self._engine.model.device,
        )

    @cached_property
    def _terminated_words(self) -> TerminatedWords:
        return TerminatedWords(
            self.tokenizer.tokens.pieces or {},
            self.tokenizer.specials,
            self.sizes().vocabulary,
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
    notify_cost(model.dtype, model.device)
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
    texts = [Request(text[:1], (text[1:],)) for text in (ids, changed)]
    # The first five targets, tokens 1 to 5, precede every change.
    original, after_change = padded.score(texts).logprobs.reshape(2, -1)[:, :5]
    agree = np.allclose(original, after_change, atol=tolerance(padded.model.dtype), rtol=0)
    is_causal = agree and probe.rows.causal
    # What is not a number equals nothing, and looks like foresight.
    if not np.isfinite(original).all() or not (is_causal or probe.states.isfinite().all()):
        raise UsageError(
            f"model {name}: its log-probabilities are not finite; expected finite weights"
        )
    if not is_causal:
        raise UsageError(
            f"model {name}: its output depends on later tokens; expected a causal language model"
        )
