"""`litgpt:FOLDER`: a checkpoint of LitGPT (`lit_model.pth`, `model_config.yaml`, and the tokenizer it was made from).

LLaMA's family (with Qwen's biases, Qwen 3's norms) and GPT-NeoX's (Pythia). LitGPT itself converts the others.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    GPTNeoXForCausalLM,
)

from gpt2eval.errors import UsageError
from gpt2eval.models.engine.causal import CausalModel
from gpt2eval.models.formats import converted, safe
from gpt2eval.models.formats.converted import ConvertedCheckpoint, Weights, held
from gpt2eval.models.formats.litgpt_config import llama_config, neox_config, read_config
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.tokenization import loading

LLAMA = {
    "transformer.wte.": "model.embed_tokens.",
    "transformer.ln_f.": "model.norm.",
    "transformer.h.": "model.layers.",
    ".norm_1.": ".input_layernorm.",
    ".norm_2.": ".post_attention_layernorm.",
    ".attn.proj.": ".self_attn.o_proj.",
    ".attn.norm_q.": ".self_attn.q_norm.",
    ".attn.norm_k.": ".self_attn.k_norm.",
    ".mlp.fc_1.": ".mlp.gate_proj.",
    ".mlp.fc_2.": ".mlp.up_proj.",
    ".mlp.proj.": ".mlp.down_proj.",
}
NEOX = {
    "transformer.wte.": "gpt_neox.embed_in.",
    "transformer.ln_f.": "gpt_neox.final_layer_norm.",
    "transformer.h.": "gpt_neox.layers.",
    "lm_head.weight": next(iter(GPTNeoXForCausalLM._tied_weights_keys or {}), "lm_head.weight"),
    ".norm_1.": ".input_layernorm.",
    ".norm_2.": ".post_attention_layernorm.",
    ".attn.qkv.": ".attention.query_key_value.",
    ".attn.proj.": ".attention.dense.",
    ".mlp.fc.": ".mlp.dense_h_to_4h.",
    ".mlp.proj.": ".mlp.dense_4h_to_h.",
}


def load(rest: str, options: LoadOptions) -> CausalModel:
    """The model in a folder of LitGPT. Raises UsageError for a folder that is none, or of an architecture not read here."""
    folder = Path(rest)
    if lacking := [
        name for name in ("lit_model.pth", "model_config.yaml") if not (folder / name).is_file()
    ]:
        raise UsageError(
            f"model litgpt:{rest}: no {lacking[0]} there; expected lit_model.pth and model_config.yaml"
        )
    made = read(folder)
    try:
        words = loading.asked_for(options.tokenizer) or loading.of_place(rest, options.tokenizer)
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"model litgpt:{rest}: {' '.join(str(error).split()):.200}; expected its tokenizer.json, or --tokenizer"
        ) from None
    return converted.load_converted("litgpt", made, words, options)


def read(folder: Path) -> ConvertedCheckpoint:
    """The checkpoint in a folder, under the names of the transformers model that computes the same."""
    said = read_config(folder / "model_config.yaml")
    content = safe.torch_file(folder / "lit_model.pth")
    content = content.get("model", content) if isinstance(content, Mapping) else {}
    state = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if strange := [
        name for name in state if "lora" in name or "adapter" in name or "gating_factor" in name
    ]:
        raise UsageError(
            f"{folder}: {strange[0]} is an adapter's; expected it merged, by 'litgpt merge_lora'"
        )
    neox = said["mlp_class_name"] == "GptNeoxMLP"
    config = (neox_config if neox else llama_config)(folder, said)
    weights = dict(
        pair for name, value in state.items() for pair in _renamed(name, value, said, neox=neox)
    )
    return ConvertedCheckpoint(
        folder,
        config,
        weights,
        safe.digest([folder / "model_config.yaml", folder / "lit_model.pth"]),
    )


def _renamed(
    name: str, value: Tensor, said: Mapping[str, Any], *, neox: bool
) -> Iterator[tuple[str, Weights]]:
    """A tensor of LitGPT as transformers'; queries, keys and values lie in one, in old files by groups (`attn.attn`)."""
    grouped = ".attn.attn." in name
    new = name.replace(".attn.attn.", ".attn.qkv.")
    for theirs, ours in (NEOX if neox else LLAMA).items():
        new = new.replace(theirs, ours)
    if neox:
        yield (
            new,
            held(value)
            if grouped or "query_key_value" not in new
            else _parts(value, said, _by_groups),
        )
    elif ".attn.qkv." in new:
        for which, letter in enumerate("qkv"):
            yield (
                new.replace(".attn.qkv.", f".self_attn.{letter}_proj."),
                _parts(value, said, _taken(which, grouped=grouped)),
            )
    else:
        yield new, held(value)


def _parts(
    value: Tensor, said: Mapping[str, Any], take: Callable[[Tensor, int, int, int], Tensor]
) -> Weights:
    """Some of the rows of queries, keys and values; their number is checked before they are cut."""
    groups, size, each = (
        said["n_query_groups"],
        said["head_size"],
        said["n_head"] // said["n_query_groups"],
    )
    if len(value) != (groups * (each + 2)) * size:
        return Weights(tuple(value.shape), lambda: value)
    shape = take(value.to("meta"), groups, each, size).shape
    return Weights(tuple(shape), lambda: take(value, groups, each, size).contiguous())


def _taken(which: int, *, grouped: bool) -> Callable[[Tensor, int, int, int], Tensor]:
    """The rows of the queries (0), keys (1) or values (2)."""

    def take(value: Tensor, groups: int, each: int, size: int) -> Tensor:
        if grouped:
            by_group = value.unflatten(0, (groups, each + 2, size)).split((each, 1, 1), 1)
            return by_group[which].flatten(0, 2)
        return value.split((groups * each * size, groups * size, groups * size))[which]

    return take


def _by_groups(value: Tensor, groups: int, each: int, size: int) -> Tensor:
    """All queries, all keys, all values, as queries, keys and values group by group."""
    rows = (groups * each * size, groups * size, groups * size)
    parts = [part.unflatten(0, (groups, -1, size)) for part in value.split(rows)]
    return torch.cat(parts, 1).flatten(0, 2)
