"""Checkpoints of other frameworks, written from small models, against transformers' own scores.

Log-probabilities are compared token by token.
"""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.trainers import BpeTrainer
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from gpt2eval import demo, evaluate
from gpt2eval.analysis.reproduce import rerun
from gpt2eval.errors import UsageError
from gpt2eval.models import registry
from gpt2eval.models.options import LoadOptions
from gpt2eval.pipeline import Settings
from gpt2eval.types import Request

END = "<|endoftext|>"
VOCABULARY = 400
NATS = 1e-4  # per token
TEXT = (
    "Pride and Prejudice, by Jane Austen: it is a truth universally acknowledged, café and all."
    "\n\tNo 42!  "
)
TRANSPOSED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
WIDTH, LAYERS, HEADS, CONTEXT = 32, 3, 4, 64


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a byte-level BPE as GPT-2's two files and as a tokenizer.json."""
    tokenizer: Any = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train([str(demo.data()["wikitext2"])], trainer)
    folder = tmp_path_factory.mktemp("words")
    tokenizer.model.save(str(folder))
    vocabulary = json.loads((folder / "vocab.json").read_text())
    (folder / "vocab.json").write_text(json.dumps(vocabulary | {END: 0}))
    (folder / "encoder.json").write_text((folder / "vocab.json").read_text())
    (folder / "vocab.bpe").write_text((folder / "merges.txt").read_text())
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=END, eos_token=END
    ).save_pretrained(folder)
    return folder


def random_model(config: Any) -> Any:
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


@pytest.fixture(scope="module")
def gpt2() -> Any:
    return random_model(
        GPT2Config(
            n_layer=LAYERS,
            n_head=HEADS,
            n_embd=WIDTH,
            n_positions=CONTEXT,
            vocab_size=VOCABULARY,
            initializer_range=0.15,
            bos_token_id=0,
            eos_token_id=0,
        )
    )


def scores(name: str, ids: list[int], **options: Any) -> NDArray[np.floating]:
    """Return the log-probabilities of all tokens but the first, by our backend."""
    model = registry.load_model(name, LoadOptions(device="cpu", **options))
    row = np.array(ids, np.int32)
    return model.score([Request(row[:1], (row[1:],))]).logprobs


def reference_scores(model: Any, ids: list[int], size: int = VOCABULARY) -> NDArray[np.floating]:
    """Return the same by a plain call of transformers' model, in float64."""
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([ids])).logits[0, :-1, :size].double()
    return logits.log_softmax(1)[range(len(ids) - 1), ids[1:]].numpy()


def ids_of(name: str, text: str = TEXT, **options: Any) -> list[int]:
    return (
        registry.load_model(name, LoadOptions(device="cpu", **options))
        .encode(text)
        .ids.tolist()[:CONTEXT]
    )


def check_agreement(name: str, model: Any, words: Path, **options: Any) -> None:
    """Check that the tokens are the tokenizer's and the log-probabilities the model's."""
    ids = Tokenizer.from_file(str(words / "tokenizer.json")).encode(TEXT).ids[:CONTEXT]
    assert ids_of(name, **options) == ids
    assert len(set(ids)) > 20
    np.testing.assert_allclose(
        scores(name, ids, **options), reference_scores(model, ids), atol=NATS, rtol=0
    )


def copy_files(words: Path, folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes((words / name).read_bytes())


# -- nanoGPT ---------------------------------------------------------------------------------------


def nanogpt(model: Any, path: Path, *, prefix: str = "", bias: bool = True, **more: Any) -> Path:
    """Write a checkpoint as train.py does: linear layers `[out, in]`, the mask as a buffer."""
    state = {}
    for name, value in model.state_dict().items():
        if bias or not name.endswith(".bias"):
            state[prefix + name] = (
                value.t().contiguous() if name.endswith(TRANSPOSED) else value.clone()
            )
    state[f"{prefix}transformer.h.0.attn.bias"] = torch.tril(torch.ones(CONTEXT, CONTEXT))[
        None, None
    ]
    config = model.config
    args = {
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "n_embd": config.n_embd,
        "block_size": config.n_positions,
        "bias": bias,
        "vocab_size": config.vocab_size,
        "dropout": 0.0,
    }
    content = {
        "model": state,
        "model_args": args,
        "iter_num": 2000,
        "best_val_loss": torch.tensor(1.5),
    }
    torch.save(content | {"config": {"seed": 1337}} | more, path)
    return path


@pytest.mark.parametrize("prefix", ["", "_orig_mod."])
def test_nanogpt(gpt2: Any, words: Path, tmp_path: Path, prefix: str) -> None:
    copy_files(words, tmp_path, "encoder.json", "vocab.bpe")
    path = nanogpt(gpt2, tmp_path / "ckpt.pt", prefix=prefix)
    check_agreement(f"nanogpt-tanh:{path}", gpt2, words)
    exact = random_model(GPT2Config(**gpt2.config.to_dict() | {"activation_function": "gelu"}))
    check_agreement(f"nanogpt:{path}", exact, words)
    assert registry.load_model(f"nanogpt:{path}").identity().step == "2000"


def test_nanogpt_without_biases(gpt2: Any, words: Path, tmp_path: Path) -> None:
    bare = random_model(gpt2.config)
    with torch.no_grad():
        for name, parameter in bare.named_parameters():
            if name.endswith(".bias"):
                parameter.zero_()
    path = nanogpt(bare, tmp_path / "ckpt.pt", bias=False)
    check_agreement(f"nanogpt-tanh:{path}", bare, words, tokenizer=str(words))


def test_nanogpt_by_character(tmp_path: Path) -> None:
    text = demo.data()["text8"].read_text()[:3000]
    characters = sorted(set(text))
    model = random_model(
        GPT2Config(
            n_layer=2,
            n_head=2,
            n_embd=16,
            n_positions=32,
            vocab_size=len(characters),
            activation_function="gelu",
        )
    )
    path = nanogpt(model, tmp_path / "ckpt.pt")
    vocabulary = {c: i for i, c in enumerate(characters)}
    meta = {"vocab_size": len(characters), "stoi": vocabulary, "itos": dict(enumerate(characters))}
    (tmp_path / "meta.pkl").write_bytes(pickle.dumps(meta))
    ids = [vocabulary[c] for c in text[:32]]
    (tmp_path / "elsewhere").mkdir()
    elsewhere = nanogpt(model, tmp_path / "elsewhere" / "ckpt.pt")
    assert ids_of(f"nanogpt:{elsewhere}", text[:32], tokenizer=str(tmp_path / "meta.pkl")) == ids
    assert ids_of(f"nanogpt:{path}", text[:32]) == ids
    np.testing.assert_allclose(
        scores(f"nanogpt:{path}", ids), reference_scores(model, ids), atol=NATS, rtol=0
    )
    (tmp_path / "mine.txt").write_text(text)
    result = evaluate(
        f"nanogpt:{path}",
        ["text8"],
        data={"text8": tmp_path / "mine.txt"},
        settings=Settings(context=32),
    )[0]
    assert result.tally.tokens == result.tally.units.chars - 1 == len(text) - 1
    with pytest.raises(
        UsageError, match=r"character 'É' \(at 2, in 'abÉd'\) is not among the \d+ characters"
    ):
        registry.load_model(f"nanogpt:{path}").encode("abÉd")


# -- llm.c -----------------------------------------------------------------------------------------


def llmc(model: Any, path: Path, version: int, padded: int = 512) -> Path:
    """Write a file as llm.c does: a header, then each kind of tensor with all layers together."""
    config, state = model.config, model.state_dict()
    header = np.zeros(256, "<i4")
    sizes = [
        config.n_positions,
        config.vocab_size,
        config.n_layer,
        config.n_head,
        config.n_embd,
        padded,
    ]
    header[:8] = [20240326, version, *sizes]
    rows = torch.full((padded - config.vocab_size, config.n_embd), 7.0)  # padding must not be read
    kinds = [
        "ln_1.weight",
        "ln_1.bias",
        "attn.c_attn.weight",
        "attn.c_attn.bias",
        "attn.c_proj.weight",
        "attn.c_proj.bias",
    ]
    kinds += [
        "ln_2.weight",
        "ln_2.bias",
        "mlp.c_fc.weight",
        "mlp.c_fc.bias",
        "mlp.c_proj.weight",
        "mlp.c_proj.bias",
    ]
    tensors = [state["transformer.wte.weight"], rows, state["transformer.wpe.weight"]]
    for kind in kinds:
        for layer in range(config.n_layer):
            value = state[f"transformer.h.{layer}.{kind}"]
            tensors.append(value.t() if kind.endswith(TRANSPOSED) else value)
    tensors += [state["transformer.ln_f.weight"], state["transformer.ln_f.bias"]]
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    body = (
        flat.numpy().tobytes()
        if version == 3
        else flat.to(torch.bfloat16).view(torch.int16).numpy().tobytes()
    )
    path.write_bytes(header.tobytes() + body)
    return path


@pytest.mark.parametrize("version", [3, 5])
def test_llmc(gpt2: Any, words: Path, tmp_path: Path, version: int) -> None:
    model = random_model(gpt2.config)
    if version == 5:
        model = model.to(torch.bfloat16).float()
    name = f"llmc:{llmc(model, tmp_path / 'model_00000300.bin', version)}"
    check_agreement(name, model, words, tokenizer=str(words / "tokenizer.json"))
    identity = registry.load_model(name, LoadOptions(tokenizer=str(words))).identity()
    assert identity.step == "300"
    assert identity.shape == f"gpt2-{LAYERS}x{WIDTH}-{VOCABULARY}"


@pytest.mark.parametrize("scheme", ["nanogpt", "llmc"])
def test_overwriting_a_file_after_loading_changes_no_score(
    gpt2: Any, words: Path, tmp_path: Path, scheme: str
) -> None:
    path = (
        nanogpt(gpt2, tmp_path / "ckpt.pt")
        if scheme == "nanogpt"
        else llmc(gpt2, tmp_path / "model_00000001.bin", 3)
    )
    copy_files(words, tmp_path, "encoder.json", "vocab.bpe")
    model = registry.load_model(f"{scheme}:{path}", LoadOptions(device="cpu"))
    row = np.array(model.encode(TEXT).ids[:CONTEXT], np.int32)
    before = model.score([Request(row[:1], (row[1:],))]).logprobs
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    np.testing.assert_array_equal(model.score([Request(row[:1], (row[1:],))]).logprobs, before)


# -- OpenAI ----------------------------------------------------------------------------------------


class Bundle:
    """A replacement for TensorFlow's reader: names, shapes and arrays."""

    def __init__(self, arrays: Mapping[str, NDArray[np.floating]]) -> None:
        self.arrays = arrays

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        return {name: list(array.shape) for name, array in self.arrays.items()}

    def get_tensor(self, name: str) -> NDArray[np.floating]:
        return self.arrays[name]


def openai_arrays(model: Any) -> dict[str, NDArray[np.floating]]:
    """Return tensors under the release's names; linear layers are convolutions `[1, in, out]`."""
    arrays = {}
    for name, value in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        *path, last = name.removeprefix("transformer.").replace("h.", "h", 1).split(".")
        norm = path[-1].startswith("ln_")
        array = value.numpy()
        if path[-1] in ("wte", "wpe"):
            arrays["/".join(["model", *path])] = array
        else:
            kind = ("g" if norm else "w") if last == "weight" else "b"
            arrays["/".join(["model", *path, kind])] = array[None] if array.ndim == 2 else array
    return arrays


def openai_folder(model: Any, words: Path, folder: Path) -> Path:
    copy_files(words, folder, "encoder.json", "vocab.bpe")
    config = model.config
    hparams = {"n_vocab": config.vocab_size, "n_ctx": config.n_positions, "n_embd": config.n_embd}
    hparams |= {"n_head": config.n_head, "n_layer": config.n_layer}
    (folder / "hparams.json").write_text(json.dumps(hparams))
    (folder / "checkpoint").write_text(
        'model_checkpoint_path: "model.ckpt"\nall_model_checkpoint_paths: "model.ckpt"\n'
    )
    return folder


def test_openai_names(
    gpt2: Any, words: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpt2eval.models.formats import openai

    folder = openai_folder(gpt2, words, tmp_path)
    (folder / "model.ckpt.index").write_bytes(b"not read")
    monkeypatch.setattr(openai, "_reader", lambda prefix: Bundle(openai_arrays(gpt2)))
    check_agreement(f"openai:{folder}", gpt2, words)


def test_openai_by_tensorflow(gpt2: Any, words: Path, tmp_path: Path) -> None:
    """TensorFlow reads a checkpoint that TensorFlow wrote."""
    pytest.importorskip("tensorflow", reason="needs gpt2eval[tensorflow]")
    from subprocess import run
    from sys import executable

    folder = openai_folder(gpt2, words, tmp_path)
    arrays: dict[str, Any] = {
        name.replace("/", "."): array for name, array in openai_arrays(gpt2).items()
    }
    np.savez(tmp_path / "arrays.npz", **arrays)
    write = (
        "import numpy as np, tensorflow as tf\n"
        f"arrays = np.load({str(tmp_path / 'arrays.npz')!r})\n"
        "with tf.Graph().as_default(), tf.compat.v1.Session() as session:\n"
        "    for name in arrays.files:\n"
        "        tf.compat.v1.Variable(arrays[name], name=name.replace('.', '/'))\n"
        "    session.run(tf.compat.v1.global_variables_initializer())\n"
        f"    tf.compat.v1.train.Saver().save(session, {str(folder / 'model.ckpt')!r})\n"
    )
    run([executable, "-c", write], check=True, capture_output=True)
    check_agreement(f"openai:{folder}", gpt2, words)


# -- LitGPT ----------------------------------------------------------------------------------------

SIZES: dict[str, Any] = {
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": 48,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": CONTEXT,
    "initializer_range": 0.15,
}
LLAMA_LIT = {
    "norm_class_name": "RMSNorm",
    "mlp_class_name": "LLaMAMLP",
    "parallel_residual": False,
    "bias": False,
}
LLAMA_LIT |= {"rotary_percentage": 1.0, "norm_eps": 1e-6, "n_query_groups": 2}
ROPE3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
RENAMED = {
    "model.embed_tokens.": "transformer.wte.",
    "model.norm.": "transformer.ln_f.",
    "model.layers.": "transformer.h.",
    "input_layernorm": "norm_1",
    "post_attention_layernorm": "norm_2",
    "self_attn.o_proj": "attn.proj",
    "self_attn.q_norm": "attn.norm_q",
    "self_attn.k_norm": "attn.norm_k",
    "mlp.gate_proj": "mlp.fc_1",
    "mlp.up_proj": "mlp.fc_2",
    "mlp.down_proj": "mlp.proj",
    "gpt_neox.embed_in.": "transformer.wte.",
    "gpt_neox.final_layer_norm.": "transformer.ln_f.",
    "gpt_neox.layers.": "transformer.h.",
    "embed_out.": "lm_head.",  # the name in some versions of transformers
    "attention.dense": "attn.proj",
    "mlp.dense_h_to_4h": "mlp.fc",
    "mlp.dense_4h_to_h": "mlp.proj",
}


def litgpt(
    model: Any, words: Path, folder: Path, lit_config: Mapping[str, Any], *, grouped: bool = False
) -> Path:
    """Write a folder of LitGPT; old checkpoints order queries, keys and values by group."""
    copy_files(words, folder, "tokenizer.json", "tokenizer_config.json")
    groups = lit_config.get("n_query_groups", HEADS)
    size = WIDTH // HEADS
    state: dict[str, torch.Tensor] = {}
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for name, value in model.state_dict().items():
        lit = name
        for ours, new in RENAMED.items():
            lit = lit.replace(ours, new)
        if ".self_attn." in name and name.split(".")[-2] in ("q_proj", "k_proj", "v_proj"):
            key = lit.replace("self_attn." + name.split(".")[-2], "attn.qkv")
            parts.setdefault(key, {})[name.split(".")[-2][0]] = value
        elif "query_key_value" in name:
            # transformers' layout: a head's queries, keys and values together
            heads = value.unflatten(0, (HEADS, 3, size))
            parts[lit.replace("attention.query_key_value", "attn.qkv")] = {
                letter: heads[:, i].flatten(0, 1) for i, letter in enumerate("qkv")
            }
        else:
            state[lit] = value
    for key, qkv in parts.items():
        if grouped:
            by_group = [qkv[letter].unflatten(0, (groups, -1, size)) for letter in "qkv"]
            state[key.replace("attn.qkv", "attn.attn")] = torch.cat(by_group, 1).flatten(0, 2)
        else:
            state[key] = torch.cat([qkv[letter] for letter in "qkv"])
    torch.save(state, folder / "lit_model.pth")
    sizes = {
        "n_embd": WIDTH,
        "n_layer": LAYERS,
        "n_head": HEADS,
        "vocab_size": VOCABULARY,
        "padded_vocab_size": VOCABULARY,
    }
    sizes |= {
        "block_size": CONTEXT,
        "intermediate_size": 48,
        "hf_config": {"name": "mine", "org": "me"},
    }
    (folder / "model_config.yaml").write_text(
        yaml.safe_dump({"name": "mine", **sizes, **lit_config})
    )
    return folder


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("kind", ["llama", "llama3", "qwen2", "qwen3", "neox", "neox-serial"])
def test_litgpt(words: Path, tmp_path: Path, kind: str, grouped: bool) -> None:
    llama = {**SIZES, "num_key_value_heads": 2, "tie_word_embeddings": False}
    first = {"original_max_position_embeddings": 32}
    configs = {
        "llama": (LlamaConfig(**llama), LLAMA_LIT),
        "llama3": (
            LlamaConfig(
                **llama,
                rope_parameters={"rope_type": "llama3", "rope_theta": 500000.0, **ROPE3, **first},
            ),
            LLAMA_LIT
            | {"rope_base": 500000, "rope_adjustments": {**ROPE3, "original_max_seq_len": 32}},
        ),
        "qwen2": (Qwen2Config(**llama), LLAMA_LIT | {"attn_bias": True}),
        "qwen3": (Qwen3Config(**llama, head_dim=8), LLAMA_LIT | {"norm_qk": True}),
        "neox": (GPTNeoXConfig(**SIZES), {"parallel_residual": True}),
        "neox-serial": (
            GPTNeoXConfig(**SIZES, use_parallel_residual=False),
            {"parallel_residual": False},
        ),
    }
    config, lit_config = configs[kind]
    model = random_model(config)
    check_agreement(
        f"litgpt:{litgpt(model, words, tmp_path, lit_config, grouped=grouped)}", model, words
    )


# -- GGUF ------------------------------------------------------------------------------------------


def gguf(model: Any, words: Path, path: Path) -> Path:
    """Write a GPT-2 as llama.cpp's converter does."""
    from gguf import GGUFWriter, TokenType

    config, state = model.config, model.state_dict()
    writer = GGUFWriter(path, "gpt2")
    writer.add_context_length(config.n_positions)
    writer.add_embedding_length(config.n_embd)
    writer.add_block_count(config.n_layer)
    writer.add_feed_forward_length(4 * config.n_embd)
    writer.add_head_count(config.n_head)
    writer.add_layer_norm_eps(config.layer_norm_epsilon)
    content = json.loads((words / "tokenizer.json").read_text())["model"]
    tokens = sorted(content["vocab"], key=content["vocab"].__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(
        [TokenType.CONTROL if token == END else TokenType.NORMAL for token in tokens]
    )
    writer.add_token_merges(
        [" ".join(pair) if isinstance(pair, list) else pair for pair in content["merges"]]
    )
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(False)
    names = {
        "attn.c_attn": "attn_qkv",
        "attn.c_proj": "attn_output",
        "ln_1": "attn_norm",
        "ln_2": "ffn_norm",
    }
    names |= {
        "mlp.c_fc": "ffn_up",
        "mlp.c_proj": "ffn_down",
        "wte": "token_embd",
        "wpe": "position_embd",
    }
    names |= {"ln_f": "output_norm", "lm_head": "output"}
    for name, value in state.items():
        new = name.removeprefix("transformer.").replace("h.", "blk.", 1)
        for ours, gguf_name in names.items():
            new = new.replace(ours, gguf_name)
        writer.add_tensor(
            new, (value.t() if name.endswith(TRANSPOSED) else value).contiguous().numpy()
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_gguf(gpt2: Any, words: Path, tmp_path: Path) -> None:
    name = f"gguf:{gguf(gpt2, words, tmp_path / 'tiny.gguf')}"
    check_agreement(name, gpt2, words)
    identity = registry.load_model(name, LoadOptions(device="cpu")).identity()
    assert (identity.name, identity.label) == (name, "gguf:tiny.gguf")
    assert identity.quant == "gguf"


def test_a_gguf_file_beside_an_adapter_is_refused(gpt2: Any, words: Path, tmp_path: Path) -> None:
    """transformers would load the file of the same name in the folder of the adapter's model."""
    path = gguf(gpt2, words, tmp_path / "tiny.gguf")
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "elsewhere"}')
    with pytest.raises(UsageError, match=r"tiny\.gguf: adapter_config\.json beside it"):
        registry.load_model(f"gguf:{path}")


def test_a_signature_of_a_gguf_file_runs_again(
    gpt2: Any, words: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gguf(gpt2, words, tmp_path / "tiny.gguf")
    monkeypatch.chdir(tmp_path)  # a signature names a local file without its path
    limits = {"data": demo.data(), "settings": Settings(limit=1)}
    (result,) = evaluate("gguf:tiny.gguf", ["text8"], **limits)
    assert "|quant:gguf|" in result.signature
    older = result.signature.replace("quant:gguf", "quant:QuantizationMethod.GGUF")
    for line in (result.signature, f"| `{result.signature}` |", f"{result.signature}|", older):
        for model in (None, "gguf:tiny.gguf"):
            (again,) = rerun(line, model, data=demo.data())
            assert again.metrics == result.metrics


# -- adapters --------------------------------------------------------------------------------------


# peft uses a deprecated attribute
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_an_adapter(gpt2: Any, words: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    gpt2.save_pretrained(tmp_path / "base")
    copy_files(words, tmp_path / "base", "tokenizer.json", "tokenizer_config.json")
    torch.manual_seed(5)
    adapted: Any = get_peft_model(
        AutoModelForCausalLM.from_pretrained(tmp_path / "base"),
        LoraConfig(
            r=4,
            target_modules=["c_attn"],
            task_type="CAUSAL_LM",
            init_lora_weights=False,
            fan_in_fan_out=True,
        ),
    )
    adapted.save_pretrained(tmp_path / "adapter")
    ids = ids_of(str(tmp_path / "base"))
    adapted_scores = scores(str(tmp_path / "base"), ids, peft=str(tmp_path / "adapter"))
    np.testing.assert_allclose(
        adapted_scores, reference_scores(adapted.eval(), ids), atol=NATS, rtol=0
    )
    assert np.abs(adapted_scores - scores(str(tmp_path / "base"), ids)).max() > 0.1
    identity = registry.load_model(
        str(tmp_path / "base"), LoadOptions(peft=str(tmp_path / "adapter"))
    ).identity()
    assert identity.peft.startswith("adapter@")
    with pytest.raises(
        UsageError, match=r"--peft .*nowhere: .*; expected an adapter for this model"
    ):
        registry.load_model(str(tmp_path / "base"), LoadOptions(peft=str(tmp_path / "nowhere")))
