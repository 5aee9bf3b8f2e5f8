"""One block of the embedded demo model, small enough to load in every case."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from drill.model_files import seeds
from gpt2eval.config.catalog import DEMO

BLOCKS = "transformer.h."
KEPT_BLOCK = "transformer.h.0."

GGUF_NAMES = {"transformer.h.": "blk.", "transformer.": "", **seeds.GGUF_NAMES}


def weights(scale: float = 1.0) -> dict[str, np.ndarray]:
    """Return the weights of the demo model's first block, its embeddings times `scale`."""
    every = load_file(DEMO / "model/model.safetensors")
    kept = {
        name: array
        for name, array in every.items()
        if name.startswith(KEPT_BLOCK) or not name.startswith(BLOCKS)
    }
    embeddings = "transformer.wte.weight"
    return kept | {embeddings: (kept[embeddings] * scale).astype(np.float16)}


def configuration() -> dict[str, Any]:
    """Return the configuration of a GPT-2 of one block."""
    config = json.loads((DEMO / "model/config.json").read_text())
    return config | {"n_layer": 1}


def save_small_model(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a model of one block with the demo model's tokenizer, as transformers writes it."""
    folder.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(DEMO / "model" / name, folder)
    (folder / "config.json").write_text(json.dumps(configuration()))
    save_file(dict(arrays), folder / "model.safetensors", {"format": "pt"})


def save_pytorch(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a model of one block as older versions of transformers write it."""
    import torch

    save_small_model(folder, arrays)
    (folder / "model.safetensors").unlink()
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    torch.save(state, folder / "pytorch_model.bin")


def save_nanogpt(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a model of one block as nanoGPT's train.py does, with its tokenizer."""
    import torch

    folder.mkdir(parents=True)
    shutil.copy(DEMO / "model/tokenizer.json", folder)
    state = {
        name: torch.from_numpy(np.ascontiguousarray(stored(name, array).astype(np.float32)))
        for name, array in arrays.items()
    }
    state["lm_head.weight"] = state["transformer.wte.weight"]
    config = configuration()
    sizes = {name: config[name] for name in ("n_layer", "n_head", "n_embd", "vocab_size")}
    arguments = sizes | {"block_size": config["n_positions"], "bias": True, "dropout": 0.0}
    torch.save({"model": state, "model_args": arguments, "iter_num": 2000}, folder / "ckpt.pt")


def stored(name: str, array: np.ndarray) -> np.ndarray:
    """Return the weights of a linear layer as `[out, in]`; GPT-2 has them as `[in, out]`."""
    is_linear = name.endswith(".weight") and ("attn." in name or "mlp." in name)
    return array.T if is_linear else array


def save_gguf(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a model of one block as llama.cpp's converter does, with its tokenizer beside it."""
    from gguf import GGUFWriter, TokenType

    folder.mkdir(parents=True)
    config = configuration()
    content = json.loads((DEMO / "model/tokenizer.json").read_text())["model"]
    tokens = sorted(content["vocab"], key=content["vocab"].__getitem__)
    writer = GGUFWriter(folder / "model.gguf", "gpt2")
    writer.add_context_length(config["n_positions"])
    writer.add_embedding_length(config["n_embd"])
    writer.add_block_count(config["n_layer"])
    writer.add_feed_forward_length(4 * config["n_embd"])
    writer.add_head_count(config["n_head"])
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    kinds = [TokenType.CONTROL if n == 0 else TokenType.NORMAL for n in range(len(tokens))]
    writer.add_token_types(kinds)
    writer.add_token_merges(
        [" ".join(pair) if isinstance(pair, list) else pair for pair in content["merges"]]
    )
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(False)
    for name, array in arrays.items():
        new = name
        for ours, theirs in GGUF_NAMES.items():
            new = new.replace(ours, theirs)
        writer.add_tensor(new, np.ascontiguousarray(stored(name, array).astype(np.float32)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
