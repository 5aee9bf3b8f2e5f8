"""`llmc:FILE`: a GPT-2 that llm.c wrote (`model_00001000.bin`): a header of 256 integers, then the weights in its order.

Versions 3 (float32) and 5 (bfloat16). The rows that pad the vocabulary are left out, as llm.c's own softmax does.
"""

import re
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gpt2eval.errors import UsageError
from gpt2eval.models.engine.causal import CausalModel
from gpt2eval.models.formats import converted, safe
from gpt2eval.models.formats.converted import ConvertedCheckpoint, Weights
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.tokenization import loading

MAGIC = 20240326
HEADER = 256  # 32-bit integers
VERSIONS = {3: (np.dtype("<f4"), torch.float32), 5: (np.dtype("<i2"), torch.bfloat16)}


def load(rest: str, options: LoadOptions) -> CausalModel:
    """The model in a file of llm.c. Raises UsageError for a file that is none."""
    path = Path(rest)
    return converted.load_converted(
        "llmc", read(path), loading.for_gpt2(path, options.tokenizer), options
    )


def read(path: Path) -> ConvertedCheckpoint:
    """The checkpoint in a file; its linear weights are `[out, in]`, transformers' GPT-2 has `[in, out]`."""
    try:
        with path.open("rb") as file:
            first = file.read(4 * HEADER)
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror}; expected a file of weights that llm.c wrote"
        ) from None
    header = np.frombuffer(first.ljust(4 * HEADER, b"\0"), "<i4")
    if len(first) < 4 * HEADER or header[0] != MAGIC or int(header[1]) not in VERSIONS:
        said = (
            f"magic {header[0]}, version {header[1]}"
            if len(first) == 4 * HEADER
            else f"{len(first)} bytes"
        )
        raise UsageError(
            f"{path}: {said}; expected a GPT-2 of llm.c, magic {MAGIC}, version 3 or 5"
        )
    stored, dtype = VERSIONS[int(header[1])]
    context, vocabulary, layers, heads, width, padded = (int(value) for value in header[2:8])
    config = converted.gpt2_config(
        path,
        layers=layers,
        heads=heads,
        width=width,
        context=context,
        vocabulary=vocabulary,
        gelu="gelu_new",
    )
    blocks = _blocks(layers, width, context, padded)
    expected = 4 * HEADER + stored.itemsize * sum(prod(shape) for shape in blocks.values())
    if padded < vocabulary or path.stat().st_size != expected:
        raise UsageError(
            f"{path}: {path.stat().st_size} bytes, a vocabulary of {vocabulary} in {padded} rows; expected {expected} bytes"
        )
    content = np.memmap(path, stored, "c", 4 * HEADER)
    weights, at = {}, 0
    for name, shape in blocks.items():
        block = content[at : at + prod(shape)].reshape(shape)
        at += prod(shape)
        weights |= _named(name, block, dtype, layers, vocabulary)
    weights["lm_head.weight"] = weights["transformer.wte.weight"]
    step = re.search(r"_(\d+)$", path.stem)
    return ConvertedCheckpoint(
        path, config, weights, safe.digest([path]), int(step[1]) if step else None
    )


def _blocks(layers: int, width: int, context: int, padded: int) -> dict[str, tuple[int, ...]]:
    """What lies in the file, in order; `{}` stands for the layer, all of which lie together."""
    return {
        "wte.weight": (padded, width),
        "wpe.weight": (context, width),
        "h.{}.ln_1.weight": (layers, width),
        "h.{}.ln_1.bias": (layers, width),
        "h.{}.attn.c_attn.weight": (layers, 3 * width, width),
        "h.{}.attn.c_attn.bias": (layers, 3 * width),
        "h.{}.attn.c_proj.weight": (layers, width, width),
        "h.{}.attn.c_proj.bias": (layers, width),
        "h.{}.ln_2.weight": (layers, width),
        "h.{}.ln_2.bias": (layers, width),
        "h.{}.mlp.c_fc.weight": (layers, 4 * width, width),
        "h.{}.mlp.c_fc.bias": (layers, 4 * width),
        "h.{}.mlp.c_proj.weight": (layers, width, 4 * width),
        "h.{}.mlp.c_proj.bias": (layers, width),
        "ln_f.weight": (width,),
        "ln_f.bias": (width,),
    }


def _named(
    name: str, block: np.ndarray, dtype: torch.dtype, layers: int, vocabulary: int
) -> dict[str, Weights]:
    """A block of the file as the tensors of transformers' model."""
    if "{}" not in name:
        return {
            f"transformer.{name}": _weights(
                block[:vocabulary] if name == "wte.weight" else block, dtype
            )
        }
    return {
        f"transformer.{name}".format(layer): _weights(block[layer].T, dtype)
        for layer in range(layers)
    }


def _weights(block: np.ndarray, dtype: torch.dtype) -> Weights:
    def read() -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(block)).view(dtype)

    return Weights(block.shape, read)
