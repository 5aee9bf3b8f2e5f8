"""`nanogpt:FILE`: a checkpoint that nanoGPT's train.py saved (`ckpt.pt`).

Its tokenizer is the character vocabulary `meta.pkl` beside it (or named by `--tokenizer`), else
GPT-2's tokenizer. nanoGPT computes the exact GELU; older checkpoints, and models trained
with GPT-2's tanh approximation, are `nanogpt-tanh:FILE`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gpt2eval.errors import UsageError
from gpt2eval.models.engine.causal import CausalModel
from gpt2eval.models.formats import converted, files, safe
from gpt2eval.models.formats.converted import ConvertedCheckpoint, GPT2Sizes, LazyTensor, lazy
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.tokenization import loading
from gpt2eval.models.tokenization.gpt2 import gpt2_tokenizer_for
from gpt2eval.models.tokenization.loaded import LoadedTokenizer

SIZES = ("n_layer", "n_head", "n_embd", "block_size", "vocab_size")  # in the order of GPT2Sizes
COMPILED = "_orig_mod."  # the prefix that torch.compile adds to names
TRANSPOSED = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
BUFFERS = (".attn.bias", ".attn.masked_bias")
BIASES = {  # the biases of a layer, and their sizes in widths
    "ln_1": 1,
    "attn.c_attn": 3,
    "attn.c_proj": 1,
    "ln_2": 1,
    "mlp.c_fc": 4,
    "mlp.c_proj": 1,
}
MAX_LAYERS = 1 << 16
MAX_IDS = 1 << 31  # more than any vocabulary has, and the first id that int32 cannot hold


def load(
    rest: str, options: LoadOptions, *, scheme: str = "nanogpt", gelu: str = "gelu"
) -> CausalModel:
    """Load a checkpoint of nanoGPT. Raises UsageError if it is invalid or needs code to run."""
    path = Path(rest)
    checkpoint = read(path, gelu)
    tokenizer = _load_tokenizer(path, options.tokenizer)
    return converted.load_converted(scheme, checkpoint, tokenizer, options)


def load_tanh(rest: str, options: LoadOptions) -> CausalModel:
    """Load a checkpoint of nanoGPT that uses GPT-2's approximation of GELU."""
    return load(rest, options, scheme="nanogpt-tanh", gelu="gelu_new")


def read(path: Path, gelu: str = "gelu") -> ConvertedCheckpoint:
    """Read a file's checkpoint.

    nanoGPT stores linear weights as `[out, in]`; transformers' GPT-2 has `[in, out]`.
    """
    content = safe.load_torch_file(path)
    entries = content if isinstance(content, Mapping) else {}
    args = entries.get("model_args")
    state = entries.get("model")
    if not isinstance(args, Mapping) or not isinstance(state, Mapping):
        raise UsageError(
            f"{path}: no 'model_args' and 'model' in the file; "
            "expected a checkpoint of nanoGPT's train.py"
        )
    sizes = GPT2Sizes(*(args.get(key) for key in SIZES))
    config = converted.gpt2_config(path, sizes, gelu)
    tensors = {str(name).removeprefix(COMPILED): value for name, value in state.items()}
    weights = {
        name: _transposed(name, value) if name.endswith(TRANSPOSED) else lazy(name, value)
        for name, value in tensors.items()
        if isinstance(value, Tensor) and not name.endswith(BUFFERS)
    }
    if "transformer.wte.weight" in weights:
        weights.setdefault("lm_head.weight", weights["transformer.wte.weight"])
    if not args.get("bias", True) and config.n_layer <= len(weights):
        weights = _zero_biases(config.n_layer, config.n_embd) | weights
    step = entries.get("iter_num")
    return ConvertedCheckpoint(
        path,
        config,
        weights,
        files.sha256_of_files([path]),
        step if isinstance(step, int) else None,
    )


def _transposed(name: str, tensor: Tensor) -> LazyTensor:
    converted.check_floating_point(name, tensor)
    return LazyTensor(tuple(tensor.shape[::-1]), lambda: tensor.t().contiguous())


def _zero_biases(layers: int, width: int) -> dict[str, LazyTensor]:
    """Return zeros as the biases of a model that was trained without biases."""
    sizes = {
        f"h.{layer}.{name}": widths * width
        for layer in range(min(layers, MAX_LAYERS))
        for name, widths in BIASES.items()
    }
    sizes["ln_f"] = width
    return {f"transformer.{name}.bias": _zeros(size) for name, size in sizes.items()}


def _zeros(size: int) -> LazyTensor:
    return LazyTensor((size,), lambda: torch.zeros(size))


def _load_tokenizer(path: Path, choice: str | None) -> LoadedTokenizer:
    """Load the characters of a `meta.pkl`, or a GPT-2 tokenizer."""
    meta = Path(choice) if choice else path.parent / "meta.pkl"
    if not (choice.endswith(".pkl") if choice else meta.is_file()):
        return gpt2_tokenizer_for(path, choice)
    content: Any = safe.load_plain_pickle(meta)
    vocabulary = content.get("stoi") if isinstance(content, dict) else None
    if not isinstance(vocabulary, dict) or not all(map(_is_character, vocabulary.items())):
        raise UsageError(
            f"{meta}: no 'stoi' of characters to ids in the file; expected nanoGPT's meta.pkl"
        )
    return loading.from_characters(vocabulary)


def _is_character(entry: tuple[Any, Any]) -> bool:
    """Return whether a vocabulary entry is one character and its id."""
    character, id_ = entry
    is_character = isinstance(character, str) and len(character) == 1
    return is_character and type(id_) is int and 0 <= id_ < MAX_IDS
