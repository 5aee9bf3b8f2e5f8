"""Causal language models of transformers, by Hub id or folder: `hf:NAME`, or just `NAME`.

This file loads them and says what they are; `engine.py` computes. It knows requests, not what they are for.
"""

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.utils import logging as hub_logging
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from gpt2eval.catalog import DEMO
from gpt2eval.errors import UsageError, unknown
from gpt2eval.models import Options, onednn, words
from gpt2eval.models.engine import ROWS, Packed, Padded
from gpt2eval.models.fingerprint import chosen as chosen_tokenizer
from gpt2eval.models.tokens import Tokens
from gpt2eval.types import BestWords, Encoding, Ids, Request, TokenScores

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16, "float64": torch.float64}
UNBOUNDED = 1 << 20


class HfModel:
    """A causal LM and its tokenizer; `model(input_ids)` gives logits `[batch, length, vocabulary]`."""

    def __init__(self, engine: Packed | Padded, tokenizer: Any, backend: Any, identity: Mapping[str, str]) -> None:
        self._engine = engine
        self._tokens = Tokens(backend)
        self._identity = {**identity, "attn": engine.name} | onednn.said(engine.model)
        config = engine.model.config.get_text_config()
        self.context: int = getattr(config, "max_position_embeddings", None) or UNBOUNDED
        bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
        self.start: int | None = eos if bos is None else bos
        self.added = _added(backend)
        self._special = sorted(tokenizer.all_special_ids)

    def encode(self, text: str) -> Encoding:
        return self._tokens.encode(text)

    def encode_specials(self, text: str) -> Encoding:
        """As `encode`, but `<unk>` and the like in a text are read as the tokens they name."""
        return self._tokens.encode(text, specials=True)

    def identity(self) -> Mapping[str, str]:
        return self._identity

    def score(self, batch: Sequence[Request]) -> TokenScores:
        return self._engine.score(batch)

    @property
    def best_words(self) -> BestWords | None:
        """The capability of `types.BestWords`; None where the tokenizer does not say which bytes its pieces stand for."""
        return self._best_words if self._tokens.pieces else None

    def best_word(self, prefix: Ids, banned: frozenset[str], width: int = 20, depth: int = 6) -> str:
        """The likeliest whole word after a prefix that is not in the list. Raises UsageError without `best_words`."""
        if self.best_words is None:
            raise UsageError(f"model {self._identity['name']}: its tokenizer does not say which bytes its pieces stand for")
        return self.best_words([prefix], banned, width, depth)[0]

    def _best_words(self, prefixes: Sequence[Ids], banned: frozenset[str], width: int, depth: int) -> list[str]:
        at_once = max(1, ROWS.get(self._engine.model.device.type, 64) // width)
        cut = [prefix[-max(1, self.context - depth) :] for prefix in prefixes]
        return [
            word
            for at in range(0, len(cut), at_once)
            for word in words.best_words(cut[at : at + at_once], banned, self._engine.following, self._vocabulary, width, depth)
        ]

    @cached_property
    def _vocabulary(self) -> words.Vocabulary:
        model = self._engine.model
        size = model.config.get_text_config().vocab_size
        return words.Vocabulary(self._tokens.pieces or {}, self._special, size, model.device)


def _added(backend: Any) -> int | None:
    """The token that a tokenizer puts before every text by itself, if it does."""
    bare, full = (backend.encode("a", add_special_tokens=special).ids for special in (False, True))
    return full[0] if full[: len(bare)] != bare else None


def load(name: str, options: Options, *, called: str = "") -> HfModel:
    """A causal LM by Hub id or folder, in `options.dtype`, whatever the checkpoint stores; `called` renames it in results.

    Raises UsageError, in one line, for an unknown dtype, a name that is neither, a folder without a model, an
    architecture that transformers does not know, or a tokenizer without a fast form.
    """
    if options.dtype not in DTYPES:
        raise unknown("dtype", options.dtype, DTYPES)
    if not name:
        raise UsageError("model 'hf:': expected a Hub id or a folder after the colon, as in hf:gpt2")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    hub_logging.set_verbosity_error()
    chosen = {"revision": options.revision, "trust_remote_code": options.trust_remote_code}
    plain = None if options.attn == "packed" else options.attn
    spread = _spread(options)
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, **chosen)
        model: Any = AutoModelForCausalLM.from_pretrained(
            name, dtype=DTYPES[options.dtype], attn_implementation=plain, **spread, **chosen
        )
        if not spread:
            model = model.to(_device() if options.device == "auto" else options.device)
        model.eval()
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, AssertionError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"model {name}: {reason:.300}; expected a Hub id or a folder with a causal LM") from None
    if not getattr(tokenizer, "is_fast", False):
        raise UsageError(f"model {name}: its tokenizer has no fast form; expected a tokenizer.json")
    backend, tokens = chosen_tokenizer(name, tokenizer.backend_tokenizer, options.tokenizer, options.revision)
    identity = _identity(name, model) | {"name": called or name, "tokenizer": tokens}
    if spread:
        identity["map"] = options.device_map or f"tp{options.tp}"
    padded = Padded(model)
    engine = (Packed.of(model, padded) or padded) if plain is None else padded
    if options.attn == "packed" and engine is padded:
        raise UsageError(f"model {name}: its architecture does not take packed rows; expected --attn sdpa or eager")
    return HfModel(engine, tokenizer, backend, identity)


def load_demo(_: str, options: Options) -> HfModel:
    """The model that comes with the package."""
    return load(str(DEMO / "model"), options, called="demo")


def _spread(options: Options) -> dict[str, Any]:
    """How a model larger than a device is laid over several: by layers in one process, or by tensors in as many processes.

    Raises UsageError for both at once, and for another number of processes than `--tp` says.
    """
    if options.tp and options.device_map:
        raise UsageError("--tp and --device-map: expected one of the two")
    if options.device_map:
        return {"device_map": options.device_map}
    if options.tp is None:
        return {}
    processes = int(os.environ.get("WORLD_SIZE", 1))
    if processes != options.tp or options.tp < 2:
        raise UsageError(
            f"--tp {options.tp}: there are {processes} processes; expected 'torchrun --nproc-per-node N -m gpt2eval run --tp N'"
        )
    from transformers.distributed.configuration_utils import DistributedConfig

    return {"distributed_config": DistributedConfig(tp_size=options.tp)}


def _device() -> str:
    """The GPU of this worker (launchers number those of a machine by LOCAL_RANK), or the CPU."""
    return f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if torch.cuda.is_available() else "cpu"


def _identity(name: str, model: Any) -> dict[str, str]:
    config = model.config.get_text_config()
    weights = _weights_hash(Path(name)) if Path(name).is_dir() else str(model.config._commit_hash or "unknown")
    depth, width = (getattr(config, key, "?") for key in ("num_hidden_layers", "hidden_size"))
    return {
        "name": name,
        "revision": weights[:8],
        "weights": weights,
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": model.device.type,
        "shape": f"{config.model_type}-{depth}x{width}-{config.vocab_size}",
    }


def _weights_hash(folder: Path) -> str:
    """The sha256 over a folder's weight files, in order of their names."""
    digest = sha256()
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")]):
        with path.open("rb") as file:
            while block := file.read(1 << 24):
                digest.update(block)
    return digest.hexdigest()
