"""Tiny random models of every causal-LM architecture that the installed transformers has."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedConfig
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
)

VOCABULARY = 120
CONTEXT = 96
# Sizes by the names that configurations give them.
SIZES: dict[str, Any] = {
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input", "text_vocab_size"), VOCABULARY),
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "embedding_size"), 32),
    **dict.fromkeys(("hidden_size_per_layer_input", "emb_dim", "lru_width"), 32),
    **dict.fromkeys(("num_hidden_layers", "num_layers", "n_layer", "n_layers"), 2),
    **dict.fromkeys(("decoder_layers", "encoder_layers", "num_decoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("decoder_attention_heads", "encoder_attention_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads"), 2),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "decoder_ffn_dim", "encoder_ffn_dim"), 48),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 16),
    **dict.fromkeys(("shared_intermediate_size", "moe_shared_expert_intermediate_size"), 16),
    **dict.fromkeys(("expert_ffn_hidden_size", "ffn_hidden_size", "dense_intermediate_size"), 16),
    **dict.fromkeys(("head_dim", "v_head_dim", "qk_nope_head_dim", "index_head_dim"), 8),
    **dict.fromkeys(("attention_head_dim", "mamba_d_head", "mamba_head_dim", "d_kv"), 8),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim", "rotary_dim"), 8),
    **dict.fromkeys(("global_head_dim", "swa_head_dim", "swa_v_head_dim"), 8),
    "qk_rope_head_dim": 4,
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "o_lora_rank"), 8),
    **dict.fromkeys(("linear_num_key_heads", "linear_num_value_heads"), 4),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("moe_num_experts", "num_routed_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_k", "num_experts_per_token", "moe_topk"), 2),
    **dict.fromkeys(("n_group", "topk_group"), 1),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_target_positions"), CONTEXT),
    **dict.fromkeys(("max_seq_len", "max_sequence_length", "seq_length"), CONTEXT),
    **dict.fromkeys(("sliding_window", "attention_chunk_size", "window_size"), 24),
    **dict.fromkeys(("local_attention", "attention_window_size", "mamba_chunk_size"), 24),
    "chunk_size": 8,
    **dict.fromkeys(("keep_window_size", "index_topk"), 20),
    "index_block_size": 12,
    "index_topk_blocks": 1,
    **dict.fromkeys(("mamba_n_heads", "mamba_num_heads"), 8),
    **dict.fromkeys(("state_size", "mamba_d_state", "ssm_state_size"), 8),
}
# What `SIZES` alone does not make consistent.
SPECIAL: dict[str, dict[str, Any]] = {
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "rope_theta": 10000.0, "clip_qkv": 8.0},
        "ffn_config": {"ffn_hidden_size": 16, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "deepseek_v2": {"num_experts_per_tok": 2},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "falcon_h1": {"mamba_d_ssm": 64},
    "gemma3n_text": {"num_kv_shared_layers": 0},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "hunyuan_v1_dense": {"head_dim": 8},
    "hunyuan_v1_moe": {"head_dim": 8},
    "kimi_linear": {"linear_head_dim": 8, "linear_num_heads": 4},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "mamba2": {"num_heads": 8},
    "minimax_m3_vl_text": {
        "layer_types": ["minimax_m3_sparse"] * 2,
        "index_n_heads": 2,
        "index_local_blocks": 1,
    },
    "ministral": {"head_dim": 8},
    "nemotron": {"num_key_value_heads": 2},
    "prophetnet": {"num_hidden_layers": None},
    "xmod": {"default_language": "en_XX", "languages": ["en_XX"]},
    "zamba": {"layer_types": ["linear_attention", "hybrid"] * 2, "num_hidden_layers": 4},
    "zamba2": {"layers_block_type": ["linear_attention", "hybrid"] * 2, "num_hidden_layers": 4},
    "cohere_compass_text": {
        "layer_types": ["sliding_attention", "full_attention"],
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": 10000.0}
            for kind in ("sliding_attention", "full_attention")
        },
    },
    "zaya": {"num_experts_per_tok": 1},
}
NOT_BUILT = {
    "reformer": "its forward runs at multiples of its chunk length only",
    "blt": "the sizes of its byte patcher do not shrink with the others",
    "dots3_note": "the model of dots3_note_text, in a configuration that does not shrink",
    "gemma3n": "its vision tower needs the package timm",
    "gemma4_assistant": "a draft model that reads the states of another model",
    "gemma4_unified_assistant": "a draft model that reads the states of another model",
    "musicgen": "reads several streams of audio tokens",
    "musicgen_melody": "reads several streams of audio tokens",
}


def architectures() -> Iterator[str]:
    """Yield the model types, in order; one per class of configuration."""
    yield from sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def shrink(config: PreTrainedConfig) -> dict[str, Any]:
    """Return the arguments of a configuration with small sizes."""
    arguments: dict[str, Any] = {}
    stated = config.to_dict()
    names = {config.attribute_map.get(name, name): value for name, value in SIZES.items()}
    for name, value in names.items():
        old = stated.get(name)
        if isinstance(old, int) and not isinstance(old, bool):
            arguments[name] = value
    if "qk_rope_head_dim" in arguments:  # latent attention rotates a part of each head
        arguments |= {"head_dim": 4, "num_key_value_heads": 4}
    for name, value in vars(config).items():
        if "drop" in name and isinstance(value, float):
            arguments[name] = 0.0
        elif isinstance(value, PreTrainedConfig):
            arguments[name] = shrink(value)
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        if isinstance(stated.get(name), int | list):
            arguments[name] = min(1, stated[name]) if name == "pad_token_id" else 2
    arguments["is_decoder"] = True
    return arguments


def tiny_config(kind: str) -> Any:
    """Return a small configuration of a model type."""
    default = AutoConfig.for_model(kind)
    arguments = {**shrink(default), **copy.deepcopy(SPECIAL.get(kind, {}))}
    return type(default)(**{key: value for key, value in arguments.items() if value is not None})


def tiny_model(kind: str, dtype: torch.dtype = torch.float32) -> Any:
    """Return a random model of a type whose scores depend visibly on every input."""
    torch.manual_seed(1)
    config = tiny_config(kind)
    architecture: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    if not isinstance(config, architecture.config_class):
        config = config.get_text_config(decoder=True)
    model = architecture(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model.to(dtype)
