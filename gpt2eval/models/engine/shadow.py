"""New module objects around a model's tensors: a complete copy, or a shallow one in float32.

Changes to a copy, such as hooks or another attention function, do not reach the original.
"""

import copy
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

HOOK_KEYS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
WIDEST = 6 << 30  # bytes of a shallow copy in float32; a larger one keeps its dtype
# Names of a layer's own number, which differs in every layer.
LAYER_NUMBER = re.compile(r"layer|block|idx|index")
SMALL = 5_000_000  # weights outside embeddings of a model that is never cut


def shadow_copy(
    module: nn.Module, copies: dict[int, Any] | None = None, *, hooks: bool = False
) -> nn.Module:
    """Copy a tree of modules but share its parameters and buffers.

    Configurations are copied; patched `forward` methods are left out, and so are hooks unless
    `hooks` is set. `copies` maps the id of an original to its copy, so that shared modules stay
    shared.
    """
    copies = {} if copies is None else copies
    if id(module) in copies:
        return copies[id(module)]
    shadow = copy.copy(module)
    copies[id(module)] = shadow
    state = shadow.__dict__
    # copy.copy shares these dictionaries with the original, which must not see later changes.
    state |= {key: state[key].copy() for key in ("_parameters", "_buffers")}
    state |= {key: state[key].copy() if hooks else type(state[key])() for key in HOOK_KEYS}
    state["_modules"] = {
        name: child and shadow_copy(child, copies, hooks=hooks)
        for name, child in module._modules.items()
    }
    state.pop("forward", None)  # an instance attribute here is a patch
    if (config := state.get("config")) is not None:
        if id(config) not in copies:
            copies[id(config)] = copy.deepcopy(config)
        state["config"] = copies[id(config)]
    return shadow


def shallow_copy(model: Any) -> Any:
    """Return a copy of a model with its first layers only, in float32 where that is affordable.

    The layers go as far as one of each kind, so a model of equal layers keeps one. A small model
    keeps all its layers. Weights that are already float32 are shared, not copied. A model whose
    layers move between devices, which hooks do, is returned as it is.
    """
    if any(hasattr(module, "_hf_hook") for module in model.modules()):
        return model
    shadow: Any = shadow_copy(model, hooks=True)
    for module in () if is_small(model) else shadow.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.ModuleList) and len(child) > 1:
                setattr(module, name, child[: _distinct(child, shadow.config)])
    _widen(shadow)
    return shadow


def is_small(model: nn.Module) -> bool:
    """Return whether a model is small enough that a probe of all its layers is quick."""
    return weights(model) <= SMALL


def weights(model: nn.Module) -> int:
    """Return how many weights a model has, without its embedding tables."""
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    return sum(p.numel() for p in model.parameters() if id(p) not in tables)


def layer_lists(model: nn.Module, config: Any) -> list[tuple[str, nn.ModuleList]]:
    """Return the names and lists of a model's layers."""
    depth = getattr(config, "num_hidden_layers", None)
    return [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == depth
    ]


def _distinct(layers: nn.ModuleList, config: Any) -> int:
    """Return how many of the first layers contain one of each kind of layer."""
    text = config.get_text_config()
    if len(layers) != getattr(text, "num_hidden_layers", None):
        return len(layers)
    per_layer = [
        value
        for value in vars(text).values()
        if isinstance(value, list | tuple) and len(value) == len(layers)
    ]
    kinds = [_kind(layer, [str(of[i]) for of in per_layer]) for i, layer in enumerate(layers)]
    return 1 + max(kinds.index(kind) for kind in kinds)


def _kind(layer: nn.Module, stated: Sequence[str]) -> Any:
    """Return what makes two layers alike: modules, shapes, flags and what the config states."""
    parts: list[Any] = [*stated]
    for name, module in layer.named_modules():
        flags = [
            (key, _flag(key, value))
            for key, value in vars(module).items()
            if not key.startswith("_") and isinstance(value, bool | str | int | float | None)
        ]
        shapes = [tuple(parameter.shape) for parameter in module.parameters(recurse=False)]
        parts.append((name, type(module), sorted(flags, key=str), shapes))
    return parts


def _flag(key: str, value: Any) -> Any:
    """Return what of a setting distinguishes kinds of layers: not a layer's own number."""
    varies = isinstance(value, float) or LAYER_NUMBER.search(key)
    return type(value).__name__ if varies else value


def _widen(model: nn.Module) -> None:
    """Replace a copy's parameters and buffers by float32 ones, unless they are too many bytes."""
    tensors: dict[int, Tensor] = {
        id(tensor): tensor for tensor in [*model.parameters(), *model.buffers()]
    }
    narrow = [t for t in tensors.values() if t.is_floating_point() and t.itemsize < 4]
    size = 4 * sum(tensor.numel() for tensor in narrow)
    plain = all(type(t.detach()) is Tensor and t.device.type != "meta" for t in tensors.values())
    quantized = any(parameter.itemsize < 2 for parameter in model.parameters())
    if not plain or quantized or size > WIDEST:
        return
    wide = {id(tensor): tensor.detach().float() for tensor in narrow}
    for module in model.modules():
        for key, parameter in module._parameters.items():
            if parameter is not None and id(parameter) in wide:
                module._parameters[key] = nn.Parameter(wide[id(parameter)], requires_grad=False)
        for key, buffer in module._buffers.items():
            if buffer is not None and id(buffer) in wide:
                module._buffers[key] = wide[id(buffer)]
    for module in model.modules():
        config: Any = getattr(module, "config", None)
        if narrow and getattr(config, "dtype", None) is not None:
            config.dtype = torch.float32
