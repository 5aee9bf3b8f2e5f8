"""LitGPT model configurations as transformers configurations."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from transformers import (
    GPTNeoXConfig,
    LlamaConfig,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from gpt2eval.errors import UsageError

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


def read_config(path: Path) -> dict[str, Any]:
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


def llama_config(folder: Path, said: Mapping[str, Any]) -> PreTrainedConfig:
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


def neox_config(folder: Path, said: Mapping[str, Any]) -> PreTrainedConfig:
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
