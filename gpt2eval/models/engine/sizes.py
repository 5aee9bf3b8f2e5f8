"""The sizes of a model, and whether a batch fits into its device's memory."""

import re
from collections.abc import Sequence
from typing import Any

import torch

from gpt2eval.identity import Sizes
from gpt2eval.models.engine.packed import PackedEngine
from gpt2eval.models.engine.padded import PaddedEngine
from gpt2eval.types import Request

BLOCK = re.compile(r"\.\d+\.")  # a block's number in the name of a weight, as in `h.11.attn`


def sizes_of(model: Any) -> Sizes:
    """Return the sizes of a model of transformers, whose layers no engine has replaced yet.

    Tied weights count once. Of a mixture of experts, all experts count.
    """
    config = model.config.get_text_config()
    parameters = [*model.named_parameters()]
    in_blocks = [p for name, p in parameters if BLOCK.search(name) and p.dim() > 1]
    return Sizes(
        layers=getattr(config, "num_hidden_layers", 0),
        width=getattr(config, "hidden_size", 0),
        vocabulary=config.vocab_size,
        matrices=sum(parameter.numel() for parameter in in_blocks),
        weights=sum(parameter.numel() for _, parameter in parameters),
    )


def fits(engine: PackedEngine | PaddedEngine, batch: Sequence[Request]) -> bool:
    """Return whether a GPU scores a batch without running out of memory and dividing it.

    A CPU has no such limit at the sizes that make sense on it.
    """
    device = engine.model.device
    if device.type != "cuda":
        return True
    before = torch.cuda.memory_stats(device).get("num_ooms", 0)
    engine.score(batch)
    return torch.cuda.memory_stats(device).get("num_ooms", 0) == before
