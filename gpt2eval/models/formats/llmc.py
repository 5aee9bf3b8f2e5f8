"""`llmc:FILE`: a GPT-2 that llm.c wrote, such as `model_00001000.bin`.

The file is a header of 256 integers and the weights in llm.c's order, in version 3 (float32) or 5
(bfloat16). Rows that only pad the vocabulary are dropped, as in llm.c's own softmax.
"""

import re
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gpt2eval.errors import UsageError
from gpt2eval.models.engine.causal import CausalModel
from gpt2eval.models.formats import converted, files
from gpt2eval.models.formats.converted import ConvertedCheckpoint, GPT2Sizes, LazyTensor
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.tokenization.gpt2 import gpt2_tokenizer_for

MAGIC = 20240326
HEADER_BYTES = 4 * 256
VERSIONS = {3: (np.dtype("<f4"), torch.float32), 5: (np.dtype("<i2"), torch.bfloat16)}


class Header(NamedTuple):
    """The header's fields, in file order."""

    magic: int
    version: int
    context: int
    vocabulary: int
    layers: int
    heads: int
    width: int
    padded_vocabulary: int


def load(rest: str, options: LoadOptions) -> CausalModel:
    """Load a file of llm.c. Raises UsageError if the file is invalid."""
    path = Path(rest)
    checkpoint = read(path)
    tokenizer = gpt2_tokenizer_for(path, options.tokenizer)
    return converted.load_converted("llmc", checkpoint, tokenizer, options)


def read(path: Path) -> ConvertedCheckpoint:
    """Read a file's checkpoint.

    llm.c stores linear weights as `[out, in]`; transformers' GPT-2 has `[in, out]`.
    """
    header = _read_header(path)
    sizes = GPT2Sizes(*(getattr(header, name) for name in GPT2Sizes._fields))
    config = converted.gpt2_config(path, sizes, "gelu_new")
    stored, dtype = VERSIONS[header.version]
    shapes = _shapes(header)
    expected = HEADER_BYTES + stored.itemsize * sum(prod(shape) for shape in shapes.values())
    size = path.stat().st_size
    if header.padded_vocabulary < header.vocabulary or size != expected:
        raise UsageError(
            f"{path}: {size} bytes, a vocabulary of {header.vocabulary} in "
            f"{header.padded_vocabulary} rows; expected {expected} bytes"
        )
    # opened copy-on-write, because torch warns about read-only arrays
    content = np.memmap(path, stored, "c", HEADER_BYTES)
    weights: dict[str, LazyTensor] = {}
    offset = 0
    for name, shape in shapes.items():
        block = content[offset : offset + prod(shape)].reshape(shape)
        offset += prod(shape)
        weights |= _tensors(name, block, dtype, header)
    weights["lm_head.weight"] = weights["transformer.wte.weight"]
    step = re.search(r"_(\d+)$", path.stem)
    return ConvertedCheckpoint(
        path, config, weights, files.sha256_of_files([path]), int(step[1]) if step else None
    )


def _read_header(path: Path) -> Header:
    """Read the header. Raises UsageError unless it is llm.c's, of a known version."""
    try:
        with path.open("rb") as file:
            raw = file.read(HEADER_BYTES)
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror}; expected a file of weights that llm.c wrote"
        ) from None
    problem = f"{len(raw)} bytes"
    if len(raw) == HEADER_BYTES:
        header = Header(*map(int, np.frombuffer(raw, "<i4", len(Header._fields))))
        if header.magic == MAGIC and header.version in VERSIONS:
            return header
        problem = f"magic {header.magic}, version {header.version}"
    raise UsageError(f"{path}: {problem}; expected a GPT-2 of llm.c, magic {MAGIC}, version 3 or 5")


def _shapes(header: Header) -> dict[str, tuple[int, ...]]:
    """Return the blocks of the file in order; a block of `h.{}` holds one tensor per layer."""
    layers = header.layers
    width = header.width
    return {
        "wte.weight": (header.padded_vocabulary, width),
        "wpe.weight": (header.context, width),
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


def _tensors(
    name: str, block: np.ndarray, dtype: torch.dtype, header: Header
) -> dict[str, LazyTensor]:
    """Return a block of the file as tensors under transformers' names."""
    if "{}" in name:
        return {
            f"transformer.{name}".format(layer): _lazy(block[layer].T, dtype)
            for layer in range(header.layers)
        }
    rows = block[: header.vocabulary] if name == "wte.weight" else block
    return {f"transformer.{name}": _lazy(rows, dtype)}


def _lazy(block: np.ndarray, dtype: torch.dtype) -> LazyTensor:
    def read() -> Tensor:
        # numpy has no bfloat16: the bits are read as integers, and viewed as the dtype by torch
        return torch.from_numpy(np.ascontiguousarray(block)).view(dtype)

    return LazyTensor(block.shape, read)
