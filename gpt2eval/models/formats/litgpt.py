"""`litgpt:FOLDER`: a checkpoint of LitGPT.

The folder holds `lit_model.pth`, `model_config.yaml` and the tokenizer. LLaMA's family (with Qwen's
biases and Qwen 3's norms) and GPT-NeoX's (Pythia) are supported; LitGPT itself converts the others.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor
from transformers import GPTNeoXForCausalLM

from gpt2eval.errors import UsageError
from gpt2eval.models.engine.causal import CausalModel
from gpt2eval.models.formats import converted, files, safe
from gpt2eval.models.formats.converted import ConvertedCheckpoint, LazyTensor, lazy
from gpt2eval.models.formats.litgpt_config import (
    LitConfig,
    llama_config,
    neox_config,
    read_config,
)
from gpt2eval.models.load_errors import expected_errors
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.tokenization import loading

FILES = ("lit_model.pth", "model_config.yaml")
ADAPTER_PARTS = ("lora", "adapter", "gating_factor")
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
    # the name of the output matrix depends on the version of transformers
    "lm_head.weight": next(iter(GPTNeoXForCausalLM._tied_weights_keys or {}), "lm_head.weight"),
    ".norm_1.": ".input_layernorm.",
    ".norm_2.": ".post_attention_layernorm.",
    ".attn.qkv.": ".attention.query_key_value.",
    ".attn.proj.": ".attention.dense.",
    ".mlp.fc.": ".mlp.dense_h_to_4h.",
    ".mlp.proj.": ".mlp.dense_4h_to_h.",
}
# (rows of queries, keys and values; groups; queries per group; head size) -> selected rows
SelectRows = Callable[[Tensor, int, int, int], Tensor]


def load(rest: str, options: LoadOptions) -> CausalModel:
    """Load a folder of LitGPT.

    Raises:
        UsageError: If a file is missing, or the architecture is not supported.
    """
    folder = Path(rest)
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        raise UsageError(
            f"model litgpt:{rest}: no {missing[0]} in the folder; expected {' and '.join(FILES)}"
        )
    checkpoint = read(folder)
    with expected_errors(
        f"model litgpt:{rest}",
        OSError,
        ValueError,
        expectation="its tokenizer.json, or --tokenizer",
    ):
        tokenizer = loading.requested_tokenizer(options.tokenizer) or loading.from_place(
            rest, options.tokenizer
        )
    return converted.load_converted("litgpt", checkpoint, tokenizer, options)


def read(folder: Path) -> ConvertedCheckpoint:
    """Read a folder's checkpoint, under the names of the equivalent transformers model."""
    weights_path = folder / "lit_model.pth"
    config_path = folder / "model_config.yaml"
    lit_config = read_config(config_path)
    content = safe.load_torch_file(weights_path)
    content = content.get("model", content) if isinstance(content, Mapping) else {}
    state = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    for name in state:
        if any(part in name for part in ADAPTER_PARTS):
            raise UsageError(
                f"{weights_path}: {name} belongs to an adapter; "
                "expected merged weights, as 'litgpt merge_lora' writes them"
            )
    is_neox = lit_config["mlp_class_name"] == "GptNeoxMLP"
    with expected_errors(
        str(config_path), StrictDataclassError, ValueError, expectation="LitGPT's config"
    ):
        config = (neox_config if is_neox else llama_config)(config_path, lit_config)
    rename = _neox_weights if is_neox else _llama_weights
    weights: dict[str, LazyTensor] = {}
    for name, value in state.items():
        weights |= rename(name, value, lit_config)
    checksum = files.sha256_of_files(files.litgpt_files(folder))
    return ConvertedCheckpoint(folder, config, weights, checksum, file=weights_path)


def _neox_weights(name: str, value: Tensor, config: LitConfig) -> Iterator[tuple[str, LazyTensor]]:
    """Yield a tensor under GPT-NeoX's names.

    LitGPT stores queries, keys and values in one tensor: all queries first, or in old files group
    by group (`attn.attn`), which is also the order of GPT-NeoX.
    """
    is_grouped = ".attn.attn." in name
    new_name = _replaced(name, NEOX)
    if is_grouped or "query_key_value" not in new_name:
        yield new_name, lazy(name, value)
    else:
        yield new_name, _rows(value, config, _by_groups)


def _llama_weights(name: str, value: Tensor, config: LitConfig) -> Iterator[tuple[str, LazyTensor]]:
    """Yield a tensor under LLaMA's names; queries, keys and values become three tensors."""
    is_grouped = ".attn.attn." in name
    new_name = _replaced(name, LLAMA)
    if ".attn.qkv." not in new_name:
        yield new_name, lazy(name, value)
        return
    for index, letter in enumerate("qkv"):
        select = _one_of_qkv(index, is_grouped=is_grouped)
        part_name = new_name.replace(".attn.qkv.", f".self_attn.{letter}_proj.")
        yield part_name, _rows(value, config, select)


def _replaced(name: str, replacements: Mapping[str, str]) -> str:
    name = name.replace(".attn.attn.", ".attn.qkv.")
    for old, new in replacements.items():
        name = name.replace(old, new)
    return name


def _rows(value: Tensor, config: LitConfig, select: SelectRows) -> LazyTensor:
    """Select rows of queries, keys and values, if their number matches the config."""
    groups = config["n_query_groups"]
    head_size = config["head_size"]
    queries = config["n_head"] // groups  # per group
    if len(value) != groups * (queries + 2) * head_size:
        # the wrong shape for the architecture, which `load_converted` reports
        return LazyTensor(tuple(value.shape), lambda: value)
    shape = select(value.to("meta"), groups, queries, head_size).shape
    return LazyTensor(tuple(shape), lambda: select(value, groups, queries, head_size).contiguous())


def _one_of_qkv(index: int, *, is_grouped: bool) -> SelectRows:
    """Return a function that selects the rows of the queries (0), keys (1) or values (2)."""

    def select(value: Tensor, groups: int, queries: int, head_size: int) -> Tensor:
        if is_grouped:
            # [groups, queries + key + value, head size]
            by_group = value.unflatten(0, (groups, queries + 2, head_size))
            return by_group.split((queries, 1, 1), 1)[index].flatten(0, 2)
        return _split_qkv(value, groups, queries, head_size)[index]

    return select


def _by_groups(value: Tensor, groups: int, queries: int, head_size: int) -> Tensor:
    """Reorder rows from all queries, all keys, all values to group by group."""
    parts = [
        part.unflatten(0, (groups, -1, head_size))
        for part in _split_qkv(value, groups, queries, head_size)
    ]
    return torch.cat(parts, 1).flatten(0, 2)


def _split_qkv(value: Tensor, groups: int, queries: int, head_size: int) -> Sequence[Tensor]:
    """Split rows into all queries, all keys and all values."""
    return value.split((groups * queries * head_size, groups * head_size, groups * head_size))
