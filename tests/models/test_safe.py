"""Hostile checkpoints: no code in them runs, no path leaves their folder, no size is trusted."""

import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertLMHeadModel,
    GPT2Config,
    GPT2LMHeadModel,
    T5Config,
    T5ForConditionalGeneration,
)

from gpt2eval.config.catalog import DEMO
from gpt2eval.errors import UsageError
from gpt2eval.models import registry
from gpt2eval.models.formats import files, safe
from gpt2eval.models.formats.pickle_claims import check_claims
from gpt2eval.models.options import LoadOptions

WORDS = str(DEMO / "model")


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.path),)


def check_rejected(name: str, match: str, **options: Any) -> None:
    with pytest.raises(UsageError, match=match) as caught:
        registry.load_model(name, LoadOptions(device="cpu", **options))
    assert "\n" not in str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(DEMO / "model", tmp_path / "model")
    return tmp_path / "model"


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


ARGS = {"n_layer": 1, "n_head": 2, "n_embd": 8, "block_size": 16, "bias": True, "vocab_size": 2560}


@pytest.mark.parametrize("legacy", [False, True])
def test_a_hostile_torch_file(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "ckpt.pt"
    content = {"model": {"x": torch.zeros(2)}, "model_args": ARGS, "config": Bomb(tmp_path / "ran")}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    check_rejected(
        f"nanogpt:{path}",
        r"it would run \S*mkdir; expected only tensors and plain values",
        tokenizer=WORDS,
    )
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    check_rejected(f"nanogpt:{tmp_path / 'raw.pt'}", "raw.pt: ", tokenizer=WORDS)
    assert not (tmp_path / "ran").exists()


def test_a_torch_file_that_needs_numpy_is_rejected_with_a_remedy(tmp_path: Path) -> None:
    torch.save({"model": {}, "model_args": ARGS, "iter_num": np.float64(3)}, tmp_path / "ckpt.pt")
    check_rejected(
        f"nanogpt:{tmp_path / 'ckpt.pt'}",
        r"would run numpy\S*; .* load the file where you trust it, and torch.save only",
        tokenizer=WORDS,
    )


def test_a_hostile_vocabulary(tmp_path: Path) -> None:
    torch.save({"model": {}, "model_args": ARGS}, tmp_path / "ckpt.pt")
    for content, message in (
        (
            pickle.dumps({"stoi": Bomb(tmp_path / "ran")}),
            r"meta.pkl: it would run \w+.mkdir",
        ),
        (pickle.dumps({"stoi": {"ab": 1}}), "no 'stoi' of characters to ids"),
        (pickle.dumps([1, 2]), "no 'stoi'"),
        (b"\x80\x05garbage", "expected a pickle of plain dictionaries"),
        (b"", "expected a pickle of plain dictionaries"),
    ):
        (tmp_path / "meta.pkl").write_bytes(content)
        check_rejected(f"nanogpt:{tmp_path / 'ckpt.pt'}", message)
    assert not (tmp_path / "ran").exists()


def test_an_archive_that_unpacks_to_more_than_its_size(tmp_path: Path) -> None:
    torch.save({"model": {"x": torch.zeros(1 << 22)}, "model_args": ARGS}, tmp_path / "plain.pt")
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as plain,
        zipfile.ZipFile(tmp_path / "ckpt.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for member in plain.infolist():
            packed.writestr(member.filename, plain.read(member))
    assert (tmp_path / "ckpt.pt").stat().st_size < 1 << 17
    check_rejected(
        f"nanogpt:{tmp_path / 'ckpt.pt'}", "unpacks to more than its own size", tokenizer=WORDS
    )


def test_a_tensor_larger_than_its_storage(tmp_path: Path) -> None:
    huge = torch.zeros(1).expand(1 << 20, 1 << 20)
    torch.save(
        {"model": {"transformer.wte.weight": huge}, "model_args": ARGS}, tmp_path / "ckpt.pt"
    )
    check_rejected(
        f"nanogpt:{tmp_path / 'ckpt.pt'}",
        r"shape \[1048576, 1048576\] exceeds its storage",
        tokenizer=WORDS,
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_layer": 1 << 40}, r"1099511627776 layers in \d+ tensors"),
        ({"n_embd": 1 << 30}, r"expected the sizes of a GPT2LMHeadModel|expected \["),
        ({"n_head": 3}, "width 8 with 3 heads"),
        ({"n_layer": -1}, "layers is -1; expected a positive integer"),
        ({"vocab_size": "many"}, "vocabulary is 'many'"),
        ({"block_size": True}, "context is True"),
        ({"n_layer": 2}, "is missing"),
    ],
)
def test_sizes_that_do_not_fit(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    state = {
        "transformer.wte.weight": torch.zeros(2560, 8),
        "transformer.wpe.weight": torch.zeros(16, 8),
    }
    torch.save({"model": state, "model_args": ARGS | changes}, tmp_path / "ckpt.pt")
    check_rejected(f"nanogpt:{tmp_path / 'ckpt.pt'}", message, tokenizer=WORDS)


@pytest.mark.parametrize(
    ("header", "extra", "message"),
    [
        ([1, 3], 0, "magic 1, version 3; expected a GPT-2 of llm.c, magic 20240326"),
        ([20240326, 2], 0, "version 2; expected"),
        (
            [20240326, 3, 16, 100, 1, 2, 8, 128],
            0,
            "1024 bytes, a vocabulary of 100 in 128 rows; expected 9184 bytes",
        ),
        (
            [20240326, 3, 2**31 - 1, 2**31 - 1, 2**31 - 1, 1, 2**31 - 1, 2**31 - 1],
            0,
            r"expected \d+ bytes",
        ),
        ([20240326, 5, -4, 100, 1, 2, 8, 128], 0, "context is -4"),
    ],
)
def test_llmc_headers(tmp_path: Path, header: list[int], extra: int, message: str) -> None:
    content = np.zeros(256, "<i4")
    content[: len(header)] = header
    (tmp_path / "model.bin").write_bytes(content.tobytes() + b"\0" * extra)
    check_rejected(f"llmc:{tmp_path / 'model.bin'}", message, tokenizer=WORDS)
    (tmp_path / "short.bin").write_bytes(b"abc")
    check_rejected(
        f"llmc:{tmp_path / 'short.bin'}", "3 bytes; expected a GPT-2 of llm.c", tokenizer=WORDS
    )


def test_another_config_is_another_model(folder: Path) -> None:
    first = registry.load_model(str(folder), LoadOptions(device="cpu")).identity()
    edit(folder / "config.json", activation_function="relu")
    second = registry.load_model(str(folder), LoadOptions(device="cpu")).identity()
    assert first.revision != second.revision
    assert first.weights != second.weights


@pytest.mark.parametrize("field", ["block_count", "embedding_length", "feed_forward_length"])
def test_a_gguf_that_claims_more_than_it_has(tmp_path: Path, field: str) -> None:
    from test_formats import gguf

    config = GPT2Config(vocab_size=512, n_positions=32, n_embd=16, n_layer=1, n_head=2)
    raw = gguf(GPT2LMHeadModel(config), DEMO / "model", tmp_path / "whole.gguf").read_bytes()
    offset = (
        raw.index(f"gpt2.{field}".encode()) + len(f"gpt2.{field}") + 4
    )  # after the value's type
    (tmp_path / "more.gguf").write_bytes(
        raw[:offset] + (10**9).to_bytes(4, "little") + raw[offset + 4 :]
    )
    check_rejected(
        f"gguf:{tmp_path / 'more.gguf'}",
        f"gpt2.{field} is 1,000,000,000; expected at most",
        tokenizer=WORDS,
    )


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        # Tables that no computer holds: each number is possible alone.
        ("context_length", 200_000_000, "imply 3,200,.* parameters; the file has"),
        ("attention.head_count", 0, "its metadata: .*; expected values that transformers accepts"),
        ("attention.head_count", 3, "must be divisible by num_heads"),
    ],
)
def test_a_gguf_whose_sizes_do_not_fit_each_other(
    tmp_path: Path, field: str, value: int, message: str
) -> None:
    from test_formats import gguf

    config = GPT2Config(vocab_size=512, n_positions=32, n_embd=16, n_layer=1, n_head=2)
    raw = gguf(GPT2LMHeadModel(config), DEMO / "model", tmp_path / "whole.gguf").read_bytes()
    offset = raw.index(f"gpt2.{field}".encode()) + len(f"gpt2.{field}") + 4
    path = tmp_path / "more.gguf"
    path.write_bytes(raw[:offset] + value.to_bytes(4, "little") + raw[offset + 4 :])
    check_rejected(f"gguf:{path}", f"^model gguf:{path}: .*{message}", tokenizer=WORDS)


def test_a_damaged_gguf(tmp_path: Path) -> None:
    from test_formats import gguf

    config = GPT2Config(
        n_layer=1,
        n_head=2,
        n_embd=8,
        n_positions=16,
        vocab_size=2560,
        bos_token_id=0,
        eos_token_id=0,
    )
    raw = gguf(GPT2LMHeadModel(config), DEMO / "model", tmp_path / "whole.gguf").read_bytes()
    random = np.random.default_rng(0)
    for cut in (0, 3, 4, 8, 24, 100, 500, 3000, len(raw) // 3, len(raw) - 1):
        (tmp_path / "cut.gguf").write_bytes(raw[:cut])
        check_rejected(f"gguf:{tmp_path / 'cut.gguf'}", "cut.gguf|model ", tokenizer=WORDS)
    for _ in range(8):
        changed = bytearray(raw)
        changed[24:60] = random.bytes(36)
        (tmp_path / "changed.gguf").write_bytes(changed)
        check_rejected(f"gguf:{tmp_path / 'changed.gguf'}", "model ", tokenizer=WORDS)
    for place in ("", "nowhere", "."):
        check_rejected(f"gguf:{tmp_path / place}", "expected a GGUF file", tokenizer=WORDS)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        '{"model_type": 3}',
        '{"model_type": "gpt2", "n_embd": "x"}',
        '{"model_type": "gpt2", "n_head": 0}',
    ],
)
def test_an_invalid_config(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    check_rejected(str(folder), "config|model ")


# -- folders of transformers -----------------------------------------------------------------------


def test_an_index_that_leads_outside(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "secret.safetensors")
    names = dict.fromkeys(load_file(folder.parent / "secret.safetensors"), "../secret.safetensors")
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": names})
    )
    check_rejected(
        str(folder),
        r"model.safetensors.index.json names '../secret.safetensors', outside the folder",
    )


@pytest.mark.parametrize("key", ["n_layer", "n_embd", "vocab_size", "n_positions"])
def test_a_config_that_claims_more_than_the_weights(folder: Path, key: str) -> None:
    edit(folder / "config.json", **{key: 1 << 40})
    check_rejected(
        str(folder),
        rf"{key} is \d+; the weights have only|\d+ parameters; the weight files have \d+ bytes",
    )


def test_layers_are_not_ignored(folder: Path) -> None:
    edit(folder / "config.json", n_layer=2)
    check_rejected(
        str(folder), r"its config has no layer for transformer.h.\d+\S+ \(\d+ weights ignored\)"
    )


def test_nothing_in_a_config_turns_the_checks_off(folder: Path) -> None:
    names = dict.fromkeys(load_file(folder / "model.safetensors"), "../secret.safetensors")
    (folder / "model.safetensors").rename(folder.parent / "secret.safetensors")
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": names})
    )
    for more in (
        {"auto_map": {"AutoModelForX": "a.B"}},
        {"quantization_config": {"quant_method": "gptq"}},
    ):
        edit(folder / "config.json", **more)
        check_rejected(str(folder), "outside the folder")


def test_an_unknown_quantization(folder: Path) -> None:
    edit(folder / "config.json", quantization_config={"quant_method": "nope"})
    check_rejected(str(folder), "nope")


def test_files_may_be_links_as_in_the_cache_of_the_hub(folder: Path) -> None:
    (folder.parent / "blobs").mkdir()
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    save_file(state, folder.parent / "blobs" / "1", {"format": "pt"})
    (folder / "model-1.safetensors").symlink_to("../blobs/1")
    index = {
        "metadata": {"total_size": 1},
        "weight_map": dict.fromkeys(state, "model-1.safetensors"),
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert registry.load_model(str(folder), LoadOptions(device="cpu")).identity().name == str(
        folder
    )


def test_recursive_and_strange_structures(tmp_path: Path) -> None:
    content: dict[str, Any] = {"model": {}, "model_args": ARGS}
    content["me"] = content
    nested: list[Any] = []
    for _ in range(60):
        nested = [nested, nested]
    content["nested"] = nested
    torch.save(content, tmp_path / "ckpt.pt")
    check_rejected(f"nanogpt:{tmp_path / 'ckpt.pt'}", "1 layers in 0 tensors", tokenizer=WORDS)
    torch.save(
        {
            "model": {"transformer.wte.weight": torch.zeros(2, 2, dtype=torch.complex64)},
            "model_args": ARGS,
        },
        tmp_path / "ckpt.pt",
    )
    check_rejected(
        f"nanogpt:{tmp_path / 'ckpt.pt'}",
        "wte.weight has dtype complex64; expected floating point",
        tokenizer=WORDS,
    )
    torch.save(
        {"model": {}, "model_args": ARGS | {"bias": False, "n_layer": 60000}}, tmp_path / "ckpt.pt"
    )
    check_rejected(f"nanogpt:{tmp_path / 'ckpt.pt'}", "60000 layers in 0 tensors", tokenizer=WORDS)


def test_a_damaged_tokenizer(tmp_path: Path) -> None:
    torch.save({"model": {}, "model_args": ARGS}, tmp_path / "ckpt.pt")
    for content in (b"", b"{", b"\xff\xfe", b"[[["):
        (tmp_path / "tokenizer.json").write_bytes(content)
        check_rejected(f"nanogpt:{tmp_path / 'ckpt.pt'}", "model nanogpt:|tokenizer")


def test_weights_that_are_not_numbers(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    state["transformer.wte.weight"][:] = float("nan")
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    check_rejected(str(folder), "are not finite; expected finite weights")


def test_missing_weights_are_not_initialized(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    removed = next(name for name in state if name.endswith("mlp.c_fc.weight"))
    save_file(
        {name: value for name, value in state.items() if name != removed},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    check_rejected(
        str(folder), r"missing keys: \S*mlp.c_fc.weight \(1 in all\); expected all its weights"
    )


def test_weights_of_another_shape(folder: Path) -> None:
    edit(folder / "config.json", n_inner=64)
    check_rejected(str(folder), "mismatch")


def test_a_hostile_pickle_in_a_folder(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(
        {"transformer.wte.weight": Bomb(folder / "ran"), "x": torch.zeros(1 << 24)},
        folder / "pytorch_model.bin",
    )
    check_rejected(str(folder), r"model \S+: .*[Ww]eights")
    assert not (folder / "ran").exists()


def test_code_in_a_folder_runs_only_if_trusted_and_is_then_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_MODULES_CACHE", str(folder.parent / "modules"))
    code = (
        "from pathlib import Path\nPath(__file__).with_name('ran').touch()\n"
        "from transformers import GPT2Config, GPT2LMHeadModel\n"
        "class MineConfig(GPT2Config):\n    model_type = 'mine'\n"
        "class Mine(GPT2LMHeadModel):\n    config_class = MineConfig\n"
    )
    (folder / "mine.py").write_text(code)
    edit(
        folder / "config.json",
        model_type="mine",
        auto_map={"AutoConfig": "mine.MineConfig", "AutoModelForCausalLM": "mine.Mine"},
    )
    check_rejected(str(folder), "trust_remote_code|custom code")
    assert not list(folder.parent.rglob("ran"))
    identity = registry.load_model(
        str(folder), LoadOptions(device="cpu", trust_remote_code=True)
    ).identity()
    assert identity.code


def test_models_that_see_later_tokens_are_rejected(folder: Path) -> None:
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    bert = BertConfig(**sizes, vocab_size=2560, initializer_range=0.3)
    kinds = {
        "masked": (BertForMaskedLM(bert), "BertForMaskedLM; expected a causal language model"),
        "both-ways": (
            BertLMHeadModel(bert),
            "depends on later tokens; expected a causal language model",
        ),
        "t5": (
            T5ForConditionalGeneration(
                T5Config(vocab_size=2560, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
            ),
            r"an encoder-decoder \(t5\)",
        ),
    }
    for name, (model, message) in kinds.items():
        place = folder.parent / name
        model.save_pretrained(place)
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(folder / file, place)
        check_rejected(str(place), message)
    decoder = BertConfig(**sizes, vocab_size=2560, initializer_range=0.3, is_decoder=True)
    BertLMHeadModel(decoder).save_pretrained(folder.parent / "decoder")
    assert (
        registry.load_model(
            str(folder.parent / "decoder"), LoadOptions(device="cpu", tokenizer=str(folder))
        )
        .identity()
        .name
    )


def test_a_tokenizer_of_another_model(tmp_path: Path) -> None:
    shutil.copytree(DEMO / "model", tmp_path / "model")
    content = json.loads((tmp_path / "model" / "tokenizer.json").read_text())
    content["added_tokens"].append(
        content["added_tokens"][0] | {"id": 2600, "content": "zzz", "special": False}
    )
    (tmp_path / "more.json").write_text(json.dumps(content))
    model = registry.load_model(
        str(tmp_path / "model"), LoadOptions(device="cpu", tokenizer=str(tmp_path / "more.json"))
    )
    with pytest.raises(
        UsageError,
        match="gives token 2560, but the model's vocabulary has 2560; expected --tokenizer",
    ):
        model.encode("it is zzz")


@pytest.mark.parametrize("option", ["peft", "quantization", "revision", "device_map"])
def test_options_that_do_not_apply_to_a_format(tmp_path: Path, option: str) -> None:
    torch.save({"model": {}, "model_args": ARGS}, tmp_path / "ckpt.pt")
    message = f"--{option.replace('_', '-')}: does not apply to nanogpt:"
    check_rejected(f"nanogpt:{tmp_path / 'ckpt.pt'}", message, tokenizer=WORDS, **{option: "auto"})
    check_rejected(
        "api:http://127.0.0.1:9#x",
        f"--{option.replace('_', '-')}: does not apply to api:",
        **{option: "auto"},
    )


@pytest.mark.parametrize("method", ["bnb-8bit", "bnb-4bit", "gptq", "awq"])
def test_quantization_names_what_is_missing(
    folder: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpt2eval.models.formats import devices

    check_rejected(
        str(folder),
        f"--quantization {method}: the package .* is not installed|no GPU available",
        quantization=method,
    )
    monkeypatch.setattr(devices, "find_spec", lambda name: object())
    if not torch.cuda.is_available():
        check_rejected(
            str(folder), f"--quantization {method}: no GPU available", quantization=method
        )
    check_rejected(str(folder), "unknown quantization 'int3'", quantization="int3")


def test_paths_stay_inside(tmp_path: Path) -> None:
    assert files.path_inside(tmp_path, "a/b", "x") == (tmp_path / "a" / "b").resolve()
    for name in ("../a", "/etc/passwd", "a/../../b"):
        with pytest.raises(UsageError, match="outside the folder"):
            files.path_inside(tmp_path, name, "x")
    (tmp_path / "openai").mkdir()
    for name, content in {
        "hparams.json": "{}",
        "encoder.json": '{"a": 0}',
        "vocab.bpe": "#version: 0.2\n",
    }.items():
        (tmp_path / "openai" / name).write_text(content)
    (tmp_path / "openai" / "checkpoint").write_text(
        'model_checkpoint_path: "/elsewhere/model.ckpt"\n'
    )
    check_rejected(
        f"openai:{tmp_path / 'openai'}",
        "checkpoint names '/elsewhere/model.ckpt', outside the folder",
    )


def test_a_pickle_of_nested_tuples_as_a_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "meta.pkl"
    path.write_bytes(b"\x80\x04}K\x01" + b"22\x87" * 40 + b"K\x01s.")  # 3^40 steps to hash
    with pytest.raises(UsageError, match="tuples nested more than 16 deep"):
        safe.load_plain_pickle(path)


def nested(depth: int) -> object:
    """Return a small pickle's worth of tuples that take 2^depth steps to hash."""
    value: object = (1,)
    for _ in range(depth):
        value = (value, value)
    return value


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
def test_tuples_that_take_forever_to_hash_are_refused(tmp_path: Path, protocol: int) -> None:
    check_claims(pickle.dumps({"a": (1, (2, 3)), "b": nested(10)}, protocol))
    bomb = pickle.dumps([nested(40)], protocol)
    with pytest.raises(pickle.UnpicklingError, match="tuples nested more than 16 deep"):
        check_claims(bomb)
    with zipfile.ZipFile(tmp_path / "ckpt.pt", "w") as archive:
        archive.writestr("a/data.pkl", bomb)
        archive.writestr("a/version", "3\n")
    with pytest.raises(UsageError, match=r"ckpt\.pt: tuples nested more than 16 deep"):
        safe.load_torch_file(tmp_path / "ckpt.pt")
