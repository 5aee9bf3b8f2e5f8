"""`openai:FOLDER`: GPT-2 as OpenAI released it, a TensorFlow checkpoint with `hparams.json`, `encoder.json`, `vocab.bpe`.

The tensors are read by TensorFlow itself (`pip install gpt2eval[tensorflow]`); nothing in the files is run.
"""

import re
from pathlib import Path
from typing import Any

import torch

from gpt2eval.errors import UsageError
from gpt2eval.models.engine.causal import CausalModel
from gpt2eval.models.formats import converted, safe
from gpt2eval.models.formats.converted import ConvertedCheckpoint, Weights
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.tokenization import loading

SIZES = {
    "layers": "n_layer",
    "heads": "n_head",
    "width": "n_embd",
    "context": "n_ctx",
    "vocabulary": "n_vocab",
}
NAMES = {"g": "weight", "b": "bias", "w": "weight"}
FILES = ("checkpoint", "hparams.json", "encoder.json", "vocab.bpe")


def load(rest: str, options: LoadOptions) -> CausalModel:
    """The model in a folder of OpenAI's release. Raises UsageError for a folder that is not one."""
    folder = Path(rest)
    if lacking := [name for name in FILES if not (folder / name).is_file()]:
        raise UsageError(
            f"model openai:{rest}: no {lacking[0]} there; expected {', '.join(FILES)} and model.ckpt.*"
        )
    words = loading.asked_for(options.tokenizer) or loading.of_pair(
        folder / "encoder.json", folder / "vocab.bpe"
    )
    return converted.load_converted("openai", read(folder), words, options)


def read(folder: Path) -> ConvertedCheckpoint:
    """The checkpoint in a folder: GPT-2's `model/h0/attn/c_attn/w` `[1, in, out]` is transformers' `[in, out]`, and so on."""
    prefix = _prefix(folder)
    hparams = safe.json_file(folder / "hparams.json")
    sizes = {ours: hparams.get(theirs) for ours, theirs in SIZES.items()}
    config = converted.gpt2_config(folder, **sizes, gelu="gelu_new")
    reader = _reader(prefix)
    shapes: dict[str, list[int]] = reader.get_variable_to_shape_map()
    weights = {
        _name(theirs): _weights(reader, theirs, shape)
        for theirs, shape in sorted(shapes.items())
        if theirs[:6] == "model/"
    }
    if "transformer.wte.weight" in weights:
        weights["lm_head.weight"] = weights["transformer.wte.weight"]
    return ConvertedCheckpoint(
        folder,
        config,
        weights,
        safe.digest([folder / "hparams.json", *sorted(prefix.parent.glob(f"{prefix.name}.*"))]),
    )


def _prefix(folder: Path) -> Path:
    """The prefix of the bundle's files that `checkpoint` names."""
    text = (folder / "checkpoint").read_text(encoding="utf-8", errors="replace")
    named = re.search(r'^model_checkpoint_path: "([^"]*)"', text, re.MULTILINE)
    if not named:
        raise UsageError(
            f"{folder / 'checkpoint'}: no model_checkpoint_path; expected TensorFlow's checkpoint file"
        )
    prefix = safe.inside(folder, named[1], "checkpoint")
    if not prefix.with_name(f"{prefix.name}.index").is_file():
        raise UsageError(
            f"{folder}: no {prefix.name}.index there; expected the files that 'checkpoint' names"
        )
    return prefix


def _reader(prefix: Path) -> Any:
    try:
        from tensorflow.train import load_checkpoint  # type: ignore[import-not-found]
    except ImportError:
        raise UsageError(
            "model openai: the package tensorflow is not installed; expected 'pip install gpt2eval[tensorflow]'"
        ) from None
    try:
        return load_checkpoint(str(prefix))
    except Exception as error:  # TensorFlow's errors have no base that means a damaged file
        raise UsageError(
            f"{prefix}: {' '.join(str(error).split()):.200}; expected a TensorFlow checkpoint"
        ) from None


def _name(theirs: str) -> str:
    """`model/h0/ln_1/g` as `transformer.h.0.ln_1.weight`; `model/wte` as `transformer.wte.weight`."""
    parts = re.sub(r"^h(\d+)", r"h.\1", theirs.removeprefix("model/")).split("/")
    *path, last = parts if parts[-1] in NAMES else [*parts, "w"]
    return ".".join(["transformer", *path, NAMES[last]])


def _weights(reader: Any, name: str, shape: list[int]) -> Weights:
    plain = tuple(shape[1:] if len(shape) == 3 and shape[0] == 1 else shape)
    return Weights(plain, lambda: torch.from_numpy(reader.get_tensor(name)).reshape(plain))
