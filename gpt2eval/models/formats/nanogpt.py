"""`nanogpt:FILE`: a checkpoint that nanoGPT's train.py saved (`ckpt.pt`), by its own tokenizer or GPT-2's.

A `meta.pkl` beside it (or named by `--tokenizer`) is a vocabulary of characters. nanoGPT computes the exact GELU;
checkpoints from before it did (and those trained by others with GPT-2's approximation) are `nanogpt-tanh:FILE`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gpt2eval.errors import UsageError
from gpt2eval.models.engine.causal import CausalModel
from gpt2eval.models.formats import converted, safe
from gpt2eval.models.formats.converted import ConvertedCheckpoint, Weights, held
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.tokenization import loading
from gpt2eval.models.tokenization.loading import LoadedTokenizer

SIZES = {
    "layers": "n_layer",
    "heads": "n_head",
    "width": "n_embd",
    "context": "block_size",
    "vocabulary": "vocab_size",
}
COMPILED = "_orig_mod."  # before each name, where the model was compiled
TRANSPOSED = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
BUFFERS = (".attn.bias", ".attn.masked_bias")
BIASES = {
    "ln_1": 1,
    "attn.c_attn": 3,
    "attn.c_proj": 1,
    "ln_2": 1,
    "mlp.c_fc": 4,
    "mlp.c_proj": 1,
}  # in widths


def load(
    rest: str, options: LoadOptions, *, scheme: str = "nanogpt", gelu: str = "gelu"
) -> CausalModel:
    """The model in a checkpoint of nanoGPT. Raises UsageError for a file that is none, or would run something."""
    path = Path(rest)
    made = read(path, gelu)
    return converted.load_converted(scheme, made, _tokenizer(path, options.tokenizer), options)


def load_tanh(rest: str, options: LoadOptions) -> CausalModel:
    """The same with GPT-2's approximation of GELU."""
    return load(rest, options, scheme="nanogpt-tanh", gelu="gelu_new")


def read(path: Path, gelu: str = "gelu") -> ConvertedCheckpoint:
    """The checkpoint in a file: nanoGPT's linear weights are `[out, in]`, transformers' GPT-2 has `[in, out]`."""
    content = safe.torch_file(path)
    parts = content if isinstance(content, Mapping) else {}
    args, state = parts.get("model_args"), parts.get("model")
    if not isinstance(args, Mapping) or not isinstance(state, Mapping):
        raise UsageError(
            f"{path}: no 'model_args' and 'model' in it; expected a checkpoint of nanoGPT's train.py"
        )
    config = converted.gpt2_config(
        path, **{ours: args.get(theirs) for ours, theirs in SIZES.items()}, gelu=gelu
    )
    plain = {str(name).removeprefix(COMPILED): value for name, value in state.items()}
    weights = {
        name: _transposed(value) if name.endswith(TRANSPOSED) else held(value)
        for name, value in plain.items()
        if isinstance(value, Tensor) and not name.endswith(BUFFERS)
    }
    if "transformer.wte.weight" in weights:
        weights.setdefault("lm_head.weight", weights["transformer.wte.weight"])
    if not args.get("bias", True) and config.n_layer <= len(weights):
        weights = _absent_biases(config.n_layer, config.n_embd) | weights
    step = parts.get("iter_num")
    return ConvertedCheckpoint(
        path, config, weights, safe.digest([path]), step if isinstance(step, int) else None
    )


def _transposed(tensor: Tensor) -> Weights:
    converted.real(tensor)
    return Weights(tuple(tensor.shape[::-1]), lambda: tensor.t().contiguous())


def _absent_biases(layers: int, width: int) -> dict[str, Weights]:
    """The biases that a model without any has as zeros."""
    sizes = {
        f"h.{layer}.{name}": widths * width
        for layer in range(min(layers, 1 << 16))
        for name, widths in BIASES.items()
    }
    return {
        f"transformer.{name}.bias": _zeros(size) for name, size in (sizes | {"ln_f": width}).items()
    }


def _zeros(size: int) -> Weights:
    return Weights((size,), lambda: torch.zeros(size))


def _tokenizer(path: Path, choice: str | None) -> LoadedTokenizer:
    meta = Path(choice) if choice and choice.endswith(".pkl") else path.parent / "meta.pkl"
    if (choice and choice != str(meta)) or not (choice or meta.is_file()):
        return loading.for_gpt2(path, choice)
    vocabulary: Any = safe.plain_pickle(meta)
    known = vocabulary.get("stoi") if isinstance(vocabulary, dict) else None
    if not isinstance(known, dict) or not all(
        isinstance(c, str) and len(c) == 1 and type(i) is int and i >= 0 for c, i in known.items()
    ):
        raise UsageError(
            f"{meta}: no 'stoi' of characters to ids in it; expected nanoGPT's meta.pkl"
        )
    return loading.of_characters(known)
