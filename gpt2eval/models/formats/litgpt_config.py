"""LitGPT model configurations as transformers configurations."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import (
    GPTNeoXConfig,
    LlamaConfig,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from gpt2eval.config.yaml_reader import read_yaml
from gpt2eval.errors import UsageError
from gpt2eval.models.formats.converted import check_positive

LitConfig = Mapping[str, Any]

UNSUPPORTED = (  # keys that, if set, imply an unsupported architecture
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
REQUIRED_SIZES = ("block_size", "n_layer", "n_head", "n_embd", "vocab_size", "padding_multiple")
OPTIONAL_SIZES = ("head_size", "n_query_groups", "padded_vocab_size", "intermediate_size")
NUMBERS = ("norm_eps", "rotary_percentage", "rope_base", "rope_condense_ratio")
ROPE_ADJUSTMENTS = ("factor", "low_freq_factor", "high_freq_factor", "original_max_seq_len")
CONVERT = "expected 'litgpt convert_from_litgpt' and the folder it writes"


def read_config(path: Path) -> dict[str, Any]:
    """Read LitGPT's config and fill in its defaults.

    Raises:
        UsageError: If the file is invalid, or the architecture is not supported.
    """
    config: dict[str, Any] = DEFAULTS | read_yaml(path)
    for key in (*REQUIRED_SIZES, *OPTIONAL_SIZES):
        if config[key] or key in REQUIRED_SIZES:
            check_positive(path, key, config[key])
    for key in NUMBERS:
        config[key] = _number(path, key, config[key])
    if adjustments := config["rope_adjustments"]:
        values = adjustments if isinstance(adjustments, dict) else {}
        config["rope_adjustments"] = {
            key: _number(path, f"rope_adjustments.{key}", values.get(key))
            for key in ROPE_ADJUSTMENTS
        }
    config["head_size"] = config["head_size"] or config["n_embd"] // config["n_head"]
    config["n_query_groups"] = config["n_query_groups"] or config["n_head"]
    multiple = config["padding_multiple"]
    rounded_up = -(-config["vocab_size"] // multiple) * multiple
    config["padded_vocab_size"] = config["padded_vocab_size"] or rounded_up
    unsupported = [key for key in UNSUPPORTED if config.get(key)]
    if config["mlp_class_name"] not in ("GptNeoxMLP", "LLaMAMLP"):
        unsupported.append("mlp_class_name")
    if unsupported:
        key = unsupported[0]
        raise UsageError(f"{path}: {key}: {config[key]} is not supported; {CONVERT}")
    return config


def _number(path: Path, key: str, value: Any) -> float:
    """Return a value as a number; YAML reads 1e-5 as a string."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UsageError(f"{path}: {key} is {value!r:.40}; expected a number") from None


def llama_config(path: Path, config: LitConfig) -> PreTrainedConfig:
    """Return the configuration of LLaMA's family: RMS norms and gated feed-forward blocks.

    Raises:
        UsageError: If the architecture is of another family.
    """
    if (
        config["norm_class_name"] != "RMSNorm"
        or config["parallel_residual"]
        or config["bias"]
        or config["rotary_percentage"] != 1.0
    ):
        raise _unknown_family(path)
    settings = _common_settings(config) | {
        "intermediate_size": config["intermediate_size"],
        "num_key_value_heads": config["n_query_groups"],
        "head_dim": config["head_size"],
        "rms_norm_eps": config["norm_eps"],
    }
    if config["norm_qk"]:
        return Qwen3Config(**settings, attention_bias=bool(config["attn_bias"]))
    return Qwen2Config(**settings) if config["attn_bias"] else LlamaConfig(**settings)


def neox_config(path: Path, config: LitConfig) -> PreTrainedConfig:
    """Return the configuration of GPT-NeoX's family: layer norms with biases, fused attention.

    Raises:
        UsageError: If the architecture is of another family.
    """
    if config["norm_class_name"] != "LayerNorm" or not config["bias"]:
        raise _unknown_family(path)
    settings: dict[str, Any] = _common_settings(config) | {
        "rope_parameters": _rope_parameters(config)
        | {"partial_rotary_factor": config["rotary_percentage"]},
        "intermediate_size": config["intermediate_size"] or 4 * config["n_embd"],
        "layer_norm_eps": config["norm_eps"],
        "use_parallel_residual": config["parallel_residual"],
        "hidden_act": "gelu" if config["gelu_approximate"] == "none" else "gelu_pytorch_tanh",
    }
    return GPTNeoXConfig(**settings)


def _unknown_family(path: Path) -> UsageError:
    return UsageError(f"{path}: neither LLaMA's family nor GPT-NeoX's; {CONVERT}")


def _common_settings(config: LitConfig) -> dict[str, Any]:
    return {
        "vocab_size": config["padded_vocab_size"],
        "hidden_size": config["n_embd"],
        "num_hidden_layers": config["n_layer"],
        "num_attention_heads": config["n_head"],
        "max_position_embeddings": config["block_size"],
        "rope_parameters": _rope_parameters(config),
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": None,
    }


def _rope_parameters(config: LitConfig) -> dict[str, Any]:
    """Return the rotary embedding: plain, scaled linearly, or adjusted as in LLaMA 3.1."""
    base = {"rope_theta": config["rope_base"]}
    if adjustments := config["rope_adjustments"]:
        factors = {key: adjustments[key] for key in ROPE_ADJUSTMENTS[:3]}
        return {
            "rope_type": "llama3",
            **base,
            **factors,
            "original_max_position_embeddings": int(adjustments["original_max_seq_len"]),
        }
    if config["rope_condense_ratio"] != 1:
        return {"rope_type": "linear", **base, "factor": config["rope_condense_ratio"]}
    return {"rope_type": "default", **base}
