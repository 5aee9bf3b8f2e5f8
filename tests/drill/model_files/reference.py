"""GPT-2 in numpy, and readers of the formats that share no code with the product.

An accepted file must give the scores of the weights that are in the file.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from drill.model_files.seeds import HEADS, LLMC_KINDS, TRANSPOSED

Weights = Mapping[str, np.ndarray]
PREFIX = "transformer."
NUMPY = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2"},
    **{f"I{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
}


def logprobs(weights: Weights, ids: np.ndarray) -> np.ndarray:
    """Return the log-probabilities of `ids[1:]`, each after the ids before it.

    Weights have transformers' names without `transformer.`; the activation is GPT-2's. The entries
    `heads` and `epsilon` are those of the file, if it states them.
    """
    heads = int(weights.get("heads", HEADS))
    hidden = weights["wte.weight"][ids[:-1]] + weights["wpe.weight"][: len(ids) - 1]
    layer = 0
    while f"h.{layer}.ln_1.weight" in weights:
        hidden = _layer(hidden, weights, f"h.{layer}.", heads)
        layer += 1
    logits = _norm(hidden, weights, "ln_f") @ weights["wte.weight"].T
    top = logits.max(1, keepdims=True)
    total = top[:, 0] + np.log(np.exp(logits - top).sum(1))
    return logits[np.arange(len(ids) - 1), ids[1:]] - total


def _layer(hidden: np.ndarray, weights: Weights, name: str, heads: int) -> np.ndarray:
    length, width = hidden.shape
    qkv = _linear(_norm(hidden, weights, f"{name}ln_1"), weights, f"{name}attn.c_attn")
    queries, keys, values = (
        part.reshape(length, heads, width // heads).swapaxes(0, 1) for part in np.split(qkv, 3, 1)
    )
    dots = queries @ keys.swapaxes(1, 2) / np.sqrt(width // heads)
    dots[:, np.triu(np.ones((length, length), np.bool_), 1)] = -np.inf
    shares = np.exp(dots - dots.max(2, keepdims=True))
    shares /= shares.sum(2, keepdims=True)
    mixed = (shares @ values).swapaxes(0, 1).reshape(length, width)
    hidden = hidden + _linear(mixed, weights, f"{name}attn.c_proj")
    inner = _linear(_norm(hidden, weights, f"{name}ln_2"), weights, f"{name}mlp.c_fc")
    bent = 0.5 * inner * (1 + np.tanh(np.sqrt(2 / np.pi) * (inner + 0.044715 * inner**3)))
    return hidden + _linear(bent, weights, f"{name}mlp.c_proj")


def _linear(hidden: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    return hidden @ weights[f"{name}.weight"] + weights[f"{name}.bias"]


def _norm(hidden: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    centred = hidden - hidden.mean(1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(1, keepdims=True) + weights.get("epsilon", 1e-5))
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def of_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Read a safetensors file: the length of its header, the header as JSON, the numbers."""
    raw = path.read_bytes()
    end = 8 + int.from_bytes(raw[:8], "little")
    header: dict[str, Any] = json.loads(raw[8:end])
    found = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        first, last = entry["data_offsets"]
        part = raw[end + first : end + last]
        if entry["dtype"] == "BF16":
            numbers = (np.frombuffer(part, "<u2").astype("<u4") << 16).view("<f4")
        else:
            numbers = np.frombuffer(part, NUMPY[entry["dtype"]])
        found[name.removeprefix(PREFIX)] = numbers.reshape(entry["shape"]).astype(np.float64)
    return found


def of_llmc(path: Path) -> dict[str, np.ndarray]:
    """Read a float32 file of llm.c."""
    raw = path.read_bytes()
    header = np.frombuffer(raw, "<i4", 8).tolist()
    context, size, layers, heads, width, rows = header[2:]
    numbers = np.frombuffer(raw, "<f4", offset=1024).astype(np.float64)
    shapes = {
        **{"ln_1.weight": (width,), "ln_1.bias": (width,), "ln_2.weight": (width,)},
        **{"ln_2.bias": (width,), "attn.c_attn.weight": (3 * width, width)},
        **{"attn.c_attn.bias": (3 * width,), "attn.c_proj.weight": (width, width)},
        **{"attn.c_proj.bias": (width,), "mlp.c_fc.weight": (4 * width, width)},
        **{"mlp.c_fc.bias": (4 * width,), "mlp.c_proj.weight": (width, 4 * width)},
        "mlp.c_proj.bias": (width,),
    }
    blocks = [("wte.weight", (rows, width)), ("wpe.weight", (context, width))]
    blocks += [
        (f"h.{layer}.{kind}", shapes[kind]) for kind in LLMC_KINDS for layer in range(layers)
    ]
    blocks += [("ln_f.weight", (width,)), ("ln_f.bias", (width,))]
    found = {"heads": np.array(heads)}
    place = 0
    for name, shape in blocks:
        count = int(np.prod(shape))
        block = numbers[place : place + count].reshape(shape)
        place += count
        found[name] = block.T if name.endswith(TRANSPOSED) else block
    found["wte.weight"] = found["wte.weight"][:size]
    return found


def of_gguf(path: Path) -> dict[str, np.ndarray]:
    """Read a GGUF file of plain float32 tensors, with the reader of the package gguf."""
    from gguf import GGUFReader

    from drill.model_files.seeds import GGUF_NAMES

    reader = GGUFReader(path)
    found = {}
    for key, name in (("head_count", "heads"), ("layer_norm_epsilon", "epsilon")):
        if field := reader.fields.get(f"gpt2.attention.{key}"):
            found[name] = np.array(field.contents())
    for tensor in reader.tensors:
        name = tensor.name.replace("blk.", "h.", 1)
        for ours, theirs in GGUF_NAMES.items():
            name = name.replace(theirs, ours)
        value = np.asarray(tensor.data, np.float64)
        found[name] = value.T if name.endswith(TRANSPOSED) else value
    return found
