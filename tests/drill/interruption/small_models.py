"""One block of the embedded demo model, small enough to load in every case."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from gpt2eval.config.catalog import DEMO

BLOCKS = "transformer.h."
KEPT_BLOCK = "transformer.h.0."


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


def configuration() -> dict[str, object]:
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
