"""`openai:FOLDER`: GPT-2 as OpenAI released it.

The folder holds a TensorFlow checkpoint with `hparams.json`, `encoder.json` and `vocab.bpe`.
TensorFlow itself reads the tensors (`pip install gpt2eval[tensorflow]`); no code in the files runs.
"""

import re
from pathlib import Path
from typing import Any

import torch

from gpt2eval.errors import UsageError
from gpt2eval.models.engine.causal import CausalModel
from gpt2eval.models.formats import converted, files
from gpt2eval.models.formats.converted import ConvertedCheckpoint, GPT2Sizes, LazyTensor
from gpt2eval.models.load_errors import expected_errors
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.tokenization import loading

SIZES = ("n_layer", "n_head", "n_embd", "n_ctx", "n_vocab")  # in the order of GPT2Sizes
NAMES = {"g": "weight", "b": "bias", "w": "weight"}
FILES = ("checkpoint", "hparams.json", "encoder.json", "vocab.bpe")


def load(rest: str, options: LoadOptions) -> CausalModel:
    """Load a folder of OpenAI's release. Raises UsageError if a file is missing or invalid."""
    folder = Path(rest)
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        raise UsageError(
            f"model openai:{rest}: no {missing[0]} in the folder; "
            f"expected {', '.join(FILES)} and model.ckpt.*"
        )
    tokenizer = loading.requested_tokenizer(
        options.tokenizer
    ) or loading.from_vocabulary_and_merges(folder / "encoder.json", folder / "vocab.bpe")
    return converted.load_converted("openai", read(folder), tokenizer, options)


def read(folder: Path) -> ConvertedCheckpoint:
    """Read a folder's checkpoint.

    GPT-2's `model/h0/attn/c_attn/w`, `[1, in, out]`, becomes transformers'
    `transformer.h.0.attn.c_attn.weight`, `[in, out]`.
    """
    prefix = files.checkpoint_prefix(folder)
    hparams_path = folder / "hparams.json"
    hparams = files.load_json_object(hparams_path)
    sizes = GPT2Sizes(*(hparams.get(key) for key in SIZES))
    config = converted.gpt2_config(hparams_path, sizes, "gelu_new")
    reader = _reader(prefix)
    shapes: dict[str, list[int]] = reader.get_variable_to_shape_map()
    weights = {
        _parameter_name(variable): _lazy(reader, variable, shape)
        for variable, shape in sorted(shapes.items())
        if variable.startswith("model/")
    }
    if "transformer.wte.weight" in weights:
        weights["lm_head.weight"] = weights["transformer.wte.weight"]
    checksum = files.sha256_of_files(files.openai_files(folder))
    return ConvertedCheckpoint(folder, config, weights, checksum, file=prefix)


def _reader(prefix: Path) -> Any:
    """Open a checkpoint with TensorFlow's reader."""
    try:
        from tensorflow.errors import OpError  # type: ignore[import-not-found]
        from tensorflow.train import load_checkpoint  # type: ignore[import-not-found]
    except ImportError:
        raise UsageError(
            "model openai: the package tensorflow is not installed; "
            "expected 'pip install gpt2eval[tensorflow]'"
        ) from None
    with expected_errors(
        str(prefix), OpError, ValueError, expectation="a complete TensorFlow checkpoint"
    ):
        return load_checkpoint(str(prefix))


def _parameter_name(variable: str) -> str:
    """Return transformers' name of a TensorFlow variable.

    >>> _parameter_name("model/h0/ln_1/g"), _parameter_name("model/wte")
    ('transformer.h.0.ln_1.weight', 'transformer.wte.weight')
    """
    parts = re.sub(r"^h(\d+)", r"h.\1", variable.removeprefix("model/")).split("/")
    *path, last = parts if parts[-1] in NAMES else [*parts, "w"]
    return ".".join(["transformer", *path, NAMES[last]])


def _lazy(reader: Any, variable: str, shape: list[int]) -> LazyTensor:
    """Return a variable without the leading 1 of convolutions."""
    is_convolution = len(shape) == 3 and shape[0] == 1
    plain_shape = tuple(shape[1:] if is_convolution else shape)
    return LazyTensor(
        plain_shape, lambda: torch.from_numpy(reader.get_tensor(variable)).reshape(plain_shape)
    )
