"""Evidence that a model's attention is plain and causal and that its head is a linear layer.

One forward pass with a recording attention function shows every argument that the model gives to
its attention, the mask included. The packed layout replaces exactly that function and that mask,
so a model that mixes positions by anything else must not be packed.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import causal_mask_function, sdpa_mask

from gpt2eval.models.engine.shadow import layer_lists

NAME = "gpt2eval-trace"
# Arguments that do not change what attention computes, or that `attend` honours.
NEUTRAL = frozenset({"scaling", "position_ids", "cache_position", "position_embeddings"})
CAUSAL = "_gpt2eval_causal"  # marks a mask that is causal and nothing else


@dataclass(slots=True)
class Trace:
    """What one forward pass shows.

    `objection` is the first reason against packed rows, or "". `selects` says that attention
    chooses positions by content. `calls` are the ids of the attention modules, in order.
    """

    tokens: int
    objection: str = ""
    selects: bool = False
    calls: list[int] = field(default_factory=list)
    last_block: str = ""
    decoder: Any = None

    def object(self, reason: str) -> None:
        """Note a reason against packed rows; the first one is kept."""
        self.objection = self.objection or reason


class Seen(NamedTuple):
    """What a module was called with, and its states, while `hooks` are installed."""

    module: nn.Module
    inputs: list[dict[Any, Any]]
    states: list[Any]
    hooks: list[Any]

    @classmethod
    def of(cls, module: nn.Module) -> "Seen":
        """Start watching a module."""
        seen = cls(module, [], [], [])
        before = module.register_forward_pre_hook(
            lambda _, args, kwargs: seen.inputs.append({**dict(enumerate(args)), **kwargs}),
            with_kwargs=True,
        )
        after = module.register_forward_hook(
            lambda _, __, out: seen.states.append(getattr(out, "last_hidden_state", None))
        )
        seen.hooks.extend([before, after])
        return seen


def decoder_of(model: Any, ids: Tensor) -> Any:
    """Return the module whose states the output layer reads, or None if there is no such module.

    Runs the model once on `ids` `[1, tokens]`.
    """
    head = model.get_output_embeddings()
    if head is None:
        return None
    read: list[Any] = []
    seen = [Seen.of(decoder) for decoder in {model.base_model: 0, model.get_decoder(): 0}]
    hook = head.register_forward_pre_hook(lambda _, args: read.append(args[0]))
    try:
        with torch.inference_mode():
            model(input_ids=ids, use_cache=False)
    finally:
        for each in (*(hook for part in seen for hook in part.hooks), hook):
            each.remove()
    for part in seen:
        states = part.states[-1] if part.states else None
        if len(read) == 1 and isinstance(states, Tensor) and torch.equal(states, read[0]):
            return part.module
    return None


def trace(model: Any, ids: Tensor) -> Trace:
    """Run a model once on `ids` `[1, tokens]` and return what its attention was given.

    Also notes an objection if the model is more than a decoder and a linear head after it.
    """
    record = Trace(ids.shape[1])
    head = model.get_output_embeddings()
    projected: list[tuple[Any, Any]] = []
    seen = [Seen.of(decoder) for decoder in {model.base_model: 0, model.get_decoder(): 0}]
    hook = head.register_forward_hook(lambda _, args, out: projected.append((args[0], out)))
    try:
        logits = _run(model, ids, record).logits
    finally:
        for hooks in (*(part.hooks for part in seen), [hook]):
            for each in hooks:
                each.remove()
    depth = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    # Differential attention calls twice per layer; a layer without attention does not call.
    if not depth or len(set(record.calls)) != depth or len(record.calls) % depth:
        record.object(f"{len(record.calls)} attention calls in {depth} layers")
    called = [part for part in seen if len(part.inputs) == 1]
    if not called or len(projected) != 1:
        record.object("no single decoder and head")
        return record
    record.decoder = called[0].module
    if record.last_block:  # its name within the model so far
        record.last_block = last_block(record.decoder)
    _check_ends(record, ids, called[0], projected[0], logits)
    return record


def trace_decoder(decoder: Any, ids: Tensor) -> Trace:
    """Run a decoder once on `ids` `[1, tokens]` and return what its attention was given."""
    record = Trace(ids.shape[1])
    _run(decoder, ids, record)
    return record


@torch.inference_mode()
def _run(model: Any, ids: Tensor, record: Trace) -> Any:
    block = last_block(model)
    note = lambda _, args, out: _note_block(record, block, args, out)  # noqa: E731
    hook = model.get_submodule(block).register_forward_hook(note) if block else None
    original = model.config._attn_implementation
    try:
        model.set_attn_implementation(NAME)
        return model(input_ids=ids, use_cache=False, layout=record)
    finally:
        if hook is not None:
            hook.remove()
        model.set_attn_implementation(original)


def record_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    layout: Trace,
    **options: Any,
) -> tuple[Tensor, None]:
    """Note what an attention function is given, and compute attention as transformers does."""
    layout.calls.append(id(module))
    layout.last_block = ""  # a block before this call is not the last
    tokens = layout.tokens
    if not query.shape[2] == key.shape[2] == value.shape[2] == tokens:
        layout.object("attention between other positions than the input's")
    if not getattr(attention_mask, CAUSAL, False):
        layout.object("attention with a mask that is not the plain causal one")
    if options.get("is_causal") is False or not getattr(module, "is_causal", True):
        layout.object("attention that is not causal")
    for name, option in options.items():
        if name in NEUTRAL or name == "is_causal" or not _is_set(option):
            continue
        layout.object(f"attention with {name}")
        if isinstance(option, Tensor) and not option.is_floating_point():
            layout.selects = True
    mask = attention_mask if isinstance(attention_mask, Tensor) else None
    return sdpa_attention_forward(module, query, key, value, mask, scaling=options.get("scaling"))


def causal_mask(*args: Any, mask_function: Any = None, **options: Any) -> Tensor | None:
    """Return the mask that a model asks for, marked if it is the plain causal one."""
    options |= {"allow_is_causal_skip": False, "allow_is_bidirectional_skip": False}
    mask = sdpa_mask(*args, mask_function=mask_function, **options)
    if mask_function is causal_mask_function and mask is not None:
        setattr(mask, CAUSAL, True)
    return mask


def last_block(decoder: Any) -> str:
    """Return the name of the last layer's feed-forward block, or "" if it has no such name."""
    lists = layer_lists(decoder, decoder.config.get_text_config())
    if len(lists) != 1:
        return ""
    path, layers = lists[0]
    name = f"{path}.{len(layers) - 1}.mlp"
    return name if hasattr(layers[-1], "mlp") else ""


def _note_block(record: Trace, name: str, args: Any, out: Any) -> None:
    """Note the last block if it maps states to states of the same shape."""
    if len(args) == 1 and isinstance(out, Tensor) and out.shape == args[0].shape:
        record.last_block = name


def _is_set(option: Any) -> bool:
    return isinstance(option, Tensor) or bool(option)


def _check_ends(
    record: Trace, ids: Tensor, decoder: Seen, projected: tuple[Any, Any], logits: Tensor
) -> None:
    """Check that the model is its decoder and its head, with nothing before, between or after."""
    given = [
        value for value in decoder.inputs[0].values() if _is_set(value) and value is not record
    ]
    if len(given) != 1 or not isinstance(given[0], Tensor) or not torch.equal(given[0], ids):
        record.object("a decoder with other inputs than token ids")
    read, out = projected
    if not isinstance(decoder.states[0], Tensor) or not torch.equal(read, decoder.states[0]):
        record.object("a head that does not read the decoder's states")
    if not torch.equal(out.float(), logits.float()):
        record.object("logits that are not the head's output")


AttentionInterface.register(NAME, record_attention)
AttentionMaskInterface.register(NAME, causal_mask)
