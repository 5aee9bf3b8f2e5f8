"""What a model's structure says about its engine: packed rows, padded rows, or one row alone.

Structure comes first: config entries, layer types and the arguments of every attention call. A
packed engine needs evidence, so an unknown model gets padded rows.
"""

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from gpt2eval.models.engine.context import entries
from gpt2eval.models.engine.probe import Probe
from gpt2eval.models.engine.scores import depends_on_length
from gpt2eval.models.engine.shadow import is_small
from gpt2eval.models.engine.trace import Trace, trace, trace_decoder

SHORT = 24  # tokens of the pass over the complete model
PLAIN_LAYERS = {"full_attention", "attention", "global"}
# Attention that selects positions by content.
SELECTION = re.compile(
    r"(index|block|key|token|sparse|window)\w*top_?k|top_?k\w*(index|block|key|token)|keep_window"
)
# The same; attention whose strength depends on the position, which only far positions would show;
# and capped logits.
UNPACKABLE = re.compile(
    rf"{SELECTION.pattern}|temperature_tuning|llama_4_scaling|logn|log_scal|floor_scale|softcap"
)
# What a forward pass raises in a model that does not fit the question.
MISFITS = (TypeError, ValueError, AttributeError, RuntimeError, KeyError, IndexError)


def plain_structure(model: Any, probe: Probe) -> Trace | None:
    """Return the evidence that attention is plain, or None if there is an objection."""
    if stated_objection(model.config) or probe.unreached or model.get_output_embeddings() is None:
        return None
    if _is_patched(model) or (_has_own_code(model) and not is_small(model)):
        return None
    ids = torch.from_numpy(probe.text.astype("int64"))[None].to(model.device)
    try:
        short = trace(model, ids[:, :SHORT])
        long = trace_decoder(probe.decoder, ids)
    except MISFITS:
        return None
    return None if short.objection or long.objection else short


def _has_own_code(model: nn.Module) -> bool:
    """Return whether a model has modules that are not transformers' or torch's.

    A large model is probed by its first layers, and code of its own may do anything in a later one.
    """
    return any(
        type(module).__module__.partition(".")[0] not in ("transformers", "torch")
        and not isinstance(module, nn.Linear)  # a quantized layer
        for module in model.modules()
    )


def _is_patched(model: nn.Module) -> bool:
    """Return whether a module's `forward` is replaced; the probe's copy runs the class's own."""
    return any(
        "forward" in vars(module) and not hasattr(module, "_hf_hook") for module in model.modules()
    )


def selects_positions(config: Any) -> bool:
    """Return whether a config says that attention selects positions by their content."""
    return any(SELECTION.search(key) and value for key, value in entries(config.to_dict()))


def stated_objection(config: Any) -> str:
    """Return what a config states against packed rows, or ""."""
    text = config.get_text_config()
    if depends_on_length(text):
        return "positions that depend on the length of the input"
    return next(_stated(config), "")


def _stated(config: Any) -> Iterator[str]:
    for key, value in entries(config.to_dict()):
        if key == "sliding_window" and value:
            yield key
        elif key in ("layer_types", "layers_block_type") and isinstance(value, list | tuple):
            yield from (kind for kind in map(str, value) if kind not in PLAIN_LAYERS)
        elif value and UNPACKABLE.search(key):
            yield key
