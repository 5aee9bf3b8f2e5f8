"""`litgpt:FOLDER`: a checkpoint of LitGPT (`lit_model.pth`, `model_config.yaml`, and the tokenizer it was made from).

LLaMA's family (with Qwen's biases, Qwen 3's norms) and GPT-NeoX's (Pythia). LitGPT itself converts the others.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor
from transformers import (
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from gpt2eval.errors import UsageError
from gpt2eval.models import Options, checkpoint, safe, tokenizer
from gpt2eval.models.causal import CausalModel
from gpt2eval.models.checkpoint import Checkpoint, Weights, held

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
UNREAD = (  # what, where a config has it, is another architecture
    "sliding_window_size",
    "attention_logit_softcapping",
    "final_logit_softcapping",
    "attention_scores_scalar",
    "post_attention_norm",
    "post_mlp_norm",
    "shared_attention_norm",
    "scale_embeddings",
    "lm_head_bias",
    "latent_attention",
    "rope_interleave",
    "rope_indices",
    "n_expert",
)


def load(rest: str, options: Options) -> CausalModel:
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
        words = tokenizer.asked_for(options.tokenizer) or tokenizer.of_place(
            rest, options.tokenizer
        )
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"model litgpt:{rest}: {' '.join(str(error).split()):.200}; expected its tokenizer.json, or --tokenizer"
        ) from None
    return checkpoint.load("litgpt", made, words, options)


def read(folder: Path) -> Checkpoint:
    """The checkpoint in a folder, under the names of the transformers model that computes the same."""
    said = _config(folder / "model_config.yaml")
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
    config = (_neox if neox else _llama)(folder, said)
    weights = dict(
        pair for name, value in state.items() for pair in _renamed(name, value, said, neox=neox)
    )
    return Checkpoint(
        folder,
        config,
        weights,
        safe.digest([folder / "model_config.yaml", folder / "lit_model.pth"]),
    )


def _config(path: Path) -> dict[str, Any]:
    """LitGPT's config with its defaults. Raises UsageError for one that is damaged, or of another architecture."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(
            f"{path}: {' '.join(str(error).split()):.200}; expected LitGPT's config"
        ) from None
    if not isinstance(found, dict):
        raise UsageError(f"{path}: expected LitGPT's config, a mapping")
    said: dict[str, Any] = DEFAULTS | found
    for key in ("block_size", "n_layer", "n_head", "n_embd", "vocab_size"):
        if not isinstance(said[key], int) or isinstance(said[key], bool) or said[key] < 1:
            raise UsageError(
                f"{path}: {key} is {said[key]!r:.40}; expected a whole number of 1 or more"
            )
    said |= {
        key: float(said[key]) for key in ("norm_eps", "rotary_percentage", "rope_base")
    }  # YAML reads 1e-5 as a string
    said["head_size"] = said["head_size"] or said["n_embd"] // said["n_head"]
    said["n_query_groups"] = said["n_query_groups"] or said["n_head"]
    said["padded_vocab_size"] = (
        said["padded_vocab_size"]
        or -(-said["vocab_size"] // said["padding_multiple"]) * said["padding_multiple"]
    )
    odd = [key for key in UNREAD if said.get(key)]
    if odd or said["mlp_class_name"] not in ("GptNeoxMLP", "LLaMAMLP"):
        what = f"{odd[0]}: {said[odd[0]]}" if odd else f"mlp_class_name: {said['mlp_class_name']}"
        raise UsageError(
            f"{path}: {what} is not read here; expected 'litgpt convert_from_litgpt' and the folder it makes"
        )
    return said


DEFAULTS: dict[str, Any] = {
    "block_size": 4096,
    "n_layer": 16,
    "n_embd": 4096,
    "n_head": 32,
    "head_size": None,
    "n_query_groups": None,
    "vocab_size": 50254,
    "padding_multiple": 512,
    "padded_vocab_size": None,
    "norm_class_name": "LayerNorm",
    "norm_eps": 1e-5,
    "norm_qk": False,
    "norm_qk_type": "default",
    "parallel_residual": True,
    "attn_bias": False,
    "bias": True,
    "rotary_percentage": 0.25,
    "rope_base": 10000,
    "rope_condense_ratio": 1,
    "rope_adjustments": None,
    "intermediate_size": None,
    "mlp_class_name": "GptNeoxMLP",
    "gelu_approximate": "none",
}


def _shared(said: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "vocab_size": said["padded_vocab_size"],
        "hidden_size": said["n_embd"],
        "num_hidden_layers": said["n_layer"],
        "num_attention_heads": said["n_head"],
        "max_position_embeddings": said["block_size"],
        "rope_parameters": _rope(said),
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": None,
    }


def _rope(said: Mapping[str, Any]) -> dict[str, Any]:
    """The rotary embedding: plain, stretched, or as LLaMA 3.1 adjusts it."""
    base = {"rope_theta": float(said["rope_base"])}
    if said["rope_adjustments"]:
        kept = ("factor", "low_freq_factor", "high_freq_factor")
        adjusted = {key: float(said["rope_adjustments"][key]) for key in kept}
        first = int(said["rope_adjustments"]["original_max_seq_len"])
        return {
            "rope_type": "llama3",
            **base,
            **adjusted,
            "original_max_position_embeddings": first,
        }
    if said["rope_condense_ratio"] != 1:
        return {"rope_type": "linear", **base, "factor": float(said["rope_condense_ratio"])}
    return {"rope_type": "default", **base}


def _llama(folder: Path, said: Mapping[str, Any]) -> PreTrainedConfig:
    """LLaMA's family: RMS norms, gated feed-forward blocks, one after the other."""
    if (
        said["norm_class_name"] != "RMSNorm"
        or said["parallel_residual"]
        or said["bias"]
        or said["rotary_percentage"] != 1.0
    ):
        raise UsageError(
            f"{folder}: neither LLaMA's family nor GPT-NeoX's; expected 'litgpt convert_from_litgpt' and the folder it makes"
        )
    shared = _shared(said) | {
        "intermediate_size": said["intermediate_size"],
        "num_key_value_heads": said["n_query_groups"],
        "head_dim": said["head_size"],
        "rms_norm_eps": said["norm_eps"],
    }
    if said["norm_qk"]:
        return Qwen3Config(**shared, attention_bias=bool(said["attn_bias"]))
    return Qwen2Config(**shared) if said["attn_bias"] else LlamaConfig(**shared)


def _neox(folder: Path, said: Mapping[str, Any]) -> PreTrainedConfig:
    """GPT-NeoX's family: layer norms with biases, one matrix for queries, keys and values."""
    if said["norm_class_name"] != "LayerNorm" or not said["bias"]:
        raise UsageError(
            f"{folder}: neither LLaMA's family nor GPT-NeoX's; expected 'litgpt convert_from_litgpt' and the folder it makes"
        )
    settings: dict[str, Any] = _shared(said) | {
        "rope_parameters": _rope(said) | {"partial_rotary_factor": said["rotary_percentage"]},
        "intermediate_size": said["intermediate_size"] or 4 * said["n_embd"],
        "layer_norm_eps": said["norm_eps"],
        "use_parallel_residual": said["parallel_residual"],
        "hidden_act": "gelu" if said["gelu_approximate"] == "none" else "gelu_pytorch_tanh",
    }
    return GPTNeoXConfig(**settings)


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
