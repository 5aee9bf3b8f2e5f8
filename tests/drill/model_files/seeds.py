"""Small valid checkpoints of every format, which the drill damages.

Each is a random GPT-2 (or LLaMA) of one layer with a byte-level tokenizer of 300 tokens.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import save_file
from spelled_models import END, byte_level
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

WIDTH, HEADS, LAYERS, CONTEXT = 8, 2, 1, 24
TRANSPOSED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
# The order of llm.c's blocks, after the two embeddings.
LLMC_KINDS = (
    *("ln_1.weight", "ln_1.bias", "attn.c_attn.weight", "attn.c_attn.bias"),
    *("attn.c_proj.weight", "attn.c_proj.bias", "ln_2.weight", "ln_2.bias"),
    *("mlp.c_fc.weight", "mlp.c_fc.bias", "mlp.c_proj.weight", "mlp.c_proj.bias"),
)
LITGPT_NAMES = {
    "model.embed_tokens": "transformer.wte",
    "model.norm": "transformer.ln_f",
    "model.layers": "transformer.h",
    "input_layernorm": "norm_1",
    "post_attention_layernorm": "norm_2",
    "self_attn.o_proj": "attn.proj",
    "mlp.gate_proj": "mlp.fc_1",
    "mlp.up_proj": "mlp.fc_2",
    "mlp.down_proj": "mlp.proj",
}
GGUF_NAMES = {
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_1": "attn_norm",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
    "wte": "token_embd",
    "wpe": "position_embd",
    "ln_f": "output_norm",
}


def gpt2(**changes: Any) -> Any:
    """Return a random GPT-2."""
    torch.manual_seed(3)
    sizes = {"n_layer": LAYERS, "n_head": HEADS, "n_embd": WIDTH, "n_positions": CONTEXT}
    config = GPT2Config(
        **{**sizes, "initializer_range": 0.15, "bos_token_id": 0, "eos_token_id": 0, **changes},
        vocab_size=vocabulary_size(),
    )
    return GPT2LMHeadModel(config).eval()


def vocabulary_size() -> int:
    """Return the number of tokens of the tokenizer."""
    return byte_level().get_vocab_size()


def write_tokenizer(folder: Path) -> None:
    """Write the tokenizer in every form: transformers' files, and GPT-2's two files."""
    tokenizer = byte_level()
    tokenizer.model.save(str(folder))
    vocabulary = json.loads((folder / "vocab.json").read_text("utf-8"))
    (folder / "vocab.json").write_text(json.dumps(vocabulary | {END: 0}), "utf-8")
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=END, eos_token=END)
    fast.save_pretrained(folder)
    (folder / "special_tokens_map.json").write_text(
        json.dumps({"bos_token": END, "eos_token": END}), "utf-8"
    )
    (folder / "added_tokens.json").write_text(json.dumps({END: 0}), "utf-8")


def write_transformers(folder: Path, *, shards: bool = False) -> None:
    """Write a folder of transformers, in one file of weights or in two with an index."""
    folder.mkdir(parents=True, exist_ok=True)
    model = gpt2()
    model.save_pretrained(folder, max_shard_size="8KB" if shards else "1GB")
    (folder / "generation_config.json").unlink(missing_ok=True)
    write_tokenizer(folder)


def write_nanogpt(path: Path) -> None:
    """Write a checkpoint as train.py of nanoGPT does: linear layers `[out, in]`."""
    model = gpt2(activation_function="gelu")
    state = {
        name: value.t().contiguous() if name.endswith(TRANSPOSED) else value.clone()
        for name, value in model.state_dict().items()
    }
    sizes = {"n_layer": LAYERS, "n_head": HEADS, "n_embd": WIDTH, "block_size": CONTEXT}
    args = {**sizes, "bias": True, "vocab_size": vocabulary_size(), "dropout": 0.0}
    torch.save({"model": state, "model_args": args, "iter_num": 200}, path)


def write_llmc(path: Path, version: int = 3) -> None:
    """Write a file as llm.c does: a header, then each kind of tensor with all layers together."""
    model = gpt2()
    state = model.state_dict()
    rows = 320
    header = np.zeros(256, "<i4")
    size = vocabulary_size()
    header[:8] = [20240326, version, CONTEXT, size, LAYERS, HEADS, WIDTH, rows]
    padding = torch.zeros(rows - size, WIDTH)
    tensors = [state["transformer.wte.weight"], padding, state["transformer.wpe.weight"]]
    for kind in LLMC_KINDS:
        for layer in range(LAYERS):
            value = state[f"transformer.h.{layer}.{kind}"]
            tensors.append(value.t() if kind.endswith(TRANSPOSED) else value)
    tensors += [state["transformer.ln_f.weight"], state["transformer.ln_f.bias"]]
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    half = flat.to(torch.bfloat16).view(torch.int16)
    body = flat.numpy() if version == 3 else half.numpy()
    path.write_bytes(header.tobytes() + body.tobytes())


def write_litgpt(folder: Path) -> None:
    """Write a folder of LitGPT: a LLaMA, queries, keys and values in one tensor."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(3)
    size = vocabulary_size()
    model = LlamaForCausalLM(
        LlamaConfig(
            hidden_size=WIDTH,
            intermediate_size=12,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            max_position_embeddings=CONTEXT,
            vocab_size=size,
        )
    )
    state = {}
    for name, value in model.state_dict().items():
        for ours, theirs in LITGPT_NAMES.items():
            name = name.replace(ours, theirs)
        state[name] = value
    for layer in range(LAYERS):
        before = f"transformer.h.{layer}"
        parts = [state.pop(f"{before}.self_attn.{letter}_proj.weight") for letter in "qkv"]
        state[f"{before}.attn.qkv.weight"] = torch.cat(parts)
    torch.save(state, folder / "lit_model.pth")
    config = {
        **{"name": "small", "n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS},
        **{"vocab_size": size, "padded_vocab_size": size, "block_size": CONTEXT},
        **{"intermediate_size": 12, "parallel_residual": False, "bias": False},
        **{"norm_class_name": "RMSNorm", "mlp_class_name": "LLaMAMLP", "rotary_percentage": 1.0},
        **{"norm_eps": 1e-6},
    }
    (folder / "model_config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    write_tokenizer(folder)


def write_gguf(path: Path) -> None:
    """Write a GPT-2 as llama.cpp's converter does."""
    from gguf import GGUFWriter, TokenType

    writer = GGUFWriter(path, "gpt2")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(4 * WIDTH)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_eps(1e-5)
    content: Mapping[str, Any] = json.loads(byte_level().to_str())["model"]
    tokens = sorted(content["vocab"], key=content["vocab"].__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(
        [TokenType.CONTROL if token == END else TokenType.NORMAL for token in tokens]
    )
    writer.add_token_merges([" ".join(pair) for pair in content["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(False)
    for name, value in gpt2().state_dict().items():
        if name == "lm_head.weight":
            continue
        new = name.removeprefix("transformer.").replace("h.", "blk.", 1)
        for ours, theirs in GGUF_NAMES.items():
            new = new.replace(ours, theirs)
        tensor = value.t() if name.endswith(TRANSPOSED) else value
        writer.add_tensor(new, tensor.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def safetensors_of(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write tensors as a safetensors file."""
    save_file(dict(tensors), path, {"format": "pt"})
