"""Files that claim more than they hold, or whose bytes changed: one line, little memory."""

import json
import pickle
import shutil
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import beside
from transformers import GPT2Config, GPT2LMHeadModel

from gpt2eval.config.catalog import DEMO
from gpt2eval.errors import UsageError
from gpt2eval.models import registry
from gpt2eval.models.formats import safe
from gpt2eval.models.formats.gguf_header import check_header
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.tokenization import loading
from gpt2eval.models.tokenization.claims import check_place
from gpt2eval.models.tokenization.tiling import TiledEncoder
from gpt2eval.training import checkpoints

WORDS = str(DEMO / "model")
CPU = LoadOptions(device="cpu")
ARGS = {"n_layer": 1, "n_head": 2, "n_embd": 8, "block_size": 64, "bias": False, "vocab_size": 65}


def rejected(name: str, match: str, **options: Any) -> None:
    start = time.monotonic()
    with pytest.raises(UsageError, match=match) as caught:
        registry.load_model(name, LoadOptions(device="cpu", **options))
    assert "\n" not in str(caught.value)
    assert time.monotonic() - start < 20


def problem(load: Callable[[], Any]) -> str:
    """Return the message of the error in one line that a function raises, or ""."""
    try:
        load()
    except UsageError as error:
        return str(error)
    return ""


# -- pickles ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b"(dp99999999\n.",
        b"\x80\x04}r\xff\xff\xff\x7f.",
        b"(dg99999999\n.",
        b"\x80\x04}j\xff\xff\xff\x7f.",
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f}.",
        b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7fx.",
        b"\x80\x04B\xff\xff\xff\x7fx.",
        b"\x80\x02\x8b\xff\xff\xff\x7fx.",
        b"I" + b"9" * 10_000 + b"\n.",
        b"(dp-5\n.",
        b"]" * 1000,
        b"\x80\x02\x82\x01.",
        b"\x80\x02U\x01aQ.",
        b"\x80\x04}\x94(\x8c\x04stoi\x94h\x09.",
    ],
)
def test_a_pickle_that_claims_memory(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "meta.pkl"
    path.write_bytes(raw)
    tracemalloc.start()
    with pytest.raises(UsageError, match=r"meta.pkl: .*; expected a pickle of plain") as caught:
        safe.load_plain_pickle(path)
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500 + len(str(tmp_path))


def test_a_large_pickle_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe, "MAX_PICKLE", 100)
    (tmp_path / "meta.pkl").write_bytes(pickle.dumps(list(range(100))))
    with pytest.raises(UsageError, match="larger than 100 bytes"):
        safe.load_plain_pickle(tmp_path / "meta.pkl")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_honest_pickle_is_read(tmp_path: Path, protocol: int) -> None:
    content = {"stoi": {chr(i): i for i in range(2000)}, "vocab_size": 2000}
    (tmp_path / "meta.pkl").write_bytes(pickle.dumps(content, protocol))
    assert safe.load_plain_pickle(tmp_path / "meta.pkl") == content


def gpt(width: int = 8) -> dict[str, torch.Tensor]:
    names = {"wte": (65, width), "wpe": (64, width), "ln_f": (width,)}
    state = {f"transformer.{name}.weight": torch.randn(size) for name, size in names.items()}
    for name, size in {
        "ln_1": (width,),
        "attn.c_attn": (3 * width, width),
        "attn.c_proj": (width, width),
        "ln_2": (width,),
        "mlp.c_fc": (4 * width, width),
        "mlp.c_proj": (width, 4 * width),
    }.items():
        state[f"transformer.h.0.{name}.weight"] = torch.randn(size)
    return state


def save_nanogpt(folder: Path, stoi: dict[str, Any]) -> str:
    torch.save({"model": gpt(), "model_args": ARGS}, folder / "ckpt.pt")
    (folder / "meta.pkl").write_bytes(pickle.dumps({"stoi": stoi}))
    return f"nanogpt:{folder / 'ckpt.pt'}"


@pytest.mark.parametrize("id_", [10**12, 2**31, -1, True, pytest.param(10**5000, id="long")])
def test_an_id_that_no_vocabulary_has(tmp_path: Path, id_: int) -> None:
    rejected(save_nanogpt(tmp_path, {"a": 0, "b": id_}), "meta.pkl: no 'stoi' of characters to ids")


def test_an_id_without_a_row(tmp_path: Path) -> None:
    model = registry.load_model(save_nanogpt(tmp_path, {"a": 0, "b": 65}), CPU)
    with pytest.raises(UsageError, match="gives token 65, but the model's vocabulary has 65"):
        model.encode("ab")


# -- archives --------------------------------------------------------------------------------------


def test_every_flipped_bit_of_an_archive_is_noticed(tmp_path: Path) -> None:
    """A file that loads at all has the bytes that were saved."""
    name = save_nanogpt(tmp_path, {chr(97 + i): i for i in range(26)})
    path = tmp_path / "ckpt.pt"
    raw = path.read_bytes()
    original = safe.load_torch_file(path)["model"]
    random = np.random.default_rng(0)
    refused = 0
    for position in random.integers(0, len(raw), 150):
        changed = bytearray(raw)
        changed[position] ^= 1 << int(random.integers(8))
        path.write_bytes(changed)
        if message := problem(lambda: safe.load_torch_file(path)):
            refused += 1
            assert message.startswith(f"{path}: ")
        else:
            loaded = safe.load_torch_file(path)["model"]
            assert loaded.keys() == original.keys()
            assert all(torch.equal(loaded[key], original[key]) for key in original)
    assert refused > 30
    path.write_bytes(raw)
    assert registry.load_model(name, CPU).identity().name == name


def weights_position(path: Path) -> int:
    with zipfile.ZipFile(path) as archive:
        member = max(archive.infolist(), key=lambda m: m.file_size)
    raw = path.read_bytes()
    name = len(member.filename)
    extra = struct.unpack_from("<H", raw, member.header_offset + 28)[0]
    return member.header_offset + 30 + name + extra


@pytest.mark.parametrize("kind", ["nanogpt", "folder"])
def test_a_flipped_bit_in_the_weights_is_named(tmp_path: Path, kind: str) -> None:
    if kind == "nanogpt":
        name = save_nanogpt(tmp_path, {"a": 0})
        path = tmp_path / "ckpt.pt"
    else:
        shutil.copytree(DEMO / "model", tmp_path / "model")
        model = GPT2LMHeadModel.from_pretrained(DEMO / "model", dtype=torch.float32)
        (tmp_path / "model" / "model.safetensors").unlink()
        path = tmp_path / "model" / "pytorch_model.bin"
        torch.save(model.state_dict(), path)
        name = str(tmp_path / "model")
    raw = bytearray(path.read_bytes())
    raw[weights_position(path) + 5] ^= 0x40
    path.write_bytes(raw)
    rejected(name, f"^{path}: .*[Bb]ad CRC.*copy or download it again")


def test_two_members_of_one_name(tmp_path: Path) -> None:
    torch.save({"x": torch.zeros(3)}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt", "a") as archive:
        name = archive.namelist()[-1]
        content = archive.read(name)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr(name, content)
    with pytest.raises(UsageError, match="two members of one name"):
        safe.load_torch_file(tmp_path / "a.pt")


# -- headers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [2**63, 2**62, 10**12, 10**9, 100_000_001])
def test_a_safetensors_header_that_claims_a_size(tmp_path: Path, length: int) -> None:
    folder = shutil.copytree(DEMO / "model", tmp_path / "model")
    path = folder / "model.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + path.read_bytes()[8:])
    rejected(str(folder), f"{path}: incomplete or corrupt .*; copy or download it again")
    assert checkpoints._expected_safetensors_size(path) is None


@pytest.mark.parametrize("shape", [[2**40, 2**40], [-1], [2**62], [10**30]])
def test_a_safetensors_tensor_that_claims_a_size(tmp_path: Path, shape: list[int]) -> None:
    folder = shutil.copytree(DEMO / "model", tmp_path / "model")
    tensor = {"dtype": "F32", "shape": shape, "data_offsets": [0, 8]}
    header = json.dumps({"transformer.wte.weight": tensor}).encode()
    content = len(header).to_bytes(8, "little") + header + b"\0" * 8
    (folder / "model.safetensors").write_bytes(content)
    rejected(str(folder), "model.safetensors: incomplete or corrupt")


def gguf_bytes(
    *fields: bytes, tensors: bytes = b"", counts: tuple[int, int] | None = None
) -> bytes:
    tensor_count, field_count = counts or (0, len(fields))
    head = b"GGUF" + struct.pack("<IQQ", 3, tensor_count, field_count)
    return head + b"".join(fields) + tensors


def text(value: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(value) if length is None else length) + value


HUGE = 1 << 60
GGUF = {
    "fields": gguf_bytes(counts=(0, HUGE)),
    "tensors": gguf_bytes(counts=(HUGE, 0)),
    "key": gguf_bytes(text(b"k", HUGE)),
    "string": gguf_bytes(text(b"k") + struct.pack("<I", 8) + text(b"v", HUGE)),
    "numbers": gguf_bytes(text(b"k") + struct.pack("<IIQ", 9, 0, HUGE)),
    "strings": gguf_bytes(text(b"k") + struct.pack("<IIQ", 9, 8, HUGE)),
    "nested": gguf_bytes(
        text(b"k") + struct.pack("<IIQ", 9, 9, 1) + struct.pack("<IQ", 9, 1) * 999
    ),
    "type": gguf_bytes(text(b"k") + struct.pack("<I", 77)),
    "version": b"GGUF" + struct.pack("<IQQ", 9, 0, 0),
    "name": gguf_bytes(tensors=text(b"t", HUGE) + b"\0" * 64, counts=(1, 0)),
    "dimensions": gguf_bytes(
        tensors=text(b"t") + struct.pack("<I", 2**31) + b"\0" * 64, counts=(1, 0)
    ),
    "elements": gguf_bytes(
        tensors=text(b"t") + struct.pack("<IQQ", 2, 2**31, 2**31) + b"\0" * 64, counts=(1, 0)
    ),
    "short": b"GGUF\3\0",
}


@pytest.mark.parametrize("case", GGUF)
def test_a_gguf_header_that_claims_more_than_the_file(tmp_path: Path, case: str) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(GGUF[case])
    rejected(f"gguf:{path}", f"^model gguf:{path}: .* in the header; expected")


def test_an_honest_gguf_header(tmp_path: Path) -> None:
    from test_formats import gguf

    config = GPT2Config(vocab_size=2560, n_positions=32, n_embd=16, n_layer=1, n_head=2)
    check_header(gguf(GPT2LMHeadModel(config), DEMO / "model", tmp_path / "whole.gguf"))


def test_a_folder_of_gguf_files(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).touch()
    rejected(f"gguf:{tmp_path}", "Is a directory; expected a GGUF file, such as a.gguf in this")


# -- tokenizers ------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(DEMO / "model", tmp_path / "model")


def tokenizer_with(**changes: Any) -> str:
    return json.dumps(json.loads((DEMO / "model" / "tokenizer.json").read_text()) | changes)


@pytest.mark.parametrize("token", [{"bos_token": "zzz"}, {"bos_token": "zzz", "eos_token": "zzz"}])
def test_a_start_token_without_a_row(folder: Path, token: dict[str, str]) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | token))
    rejected(
        str(folder),
        "start token is 2560, but the model's vocabulary has 2560; expected --tokenizer",
    )


def test_a_start_token_without_a_row_beside_converted_weights(tmp_path: Path) -> None:
    torch.save({"model": gpt(), "model_args": ARGS}, tmp_path / "ckpt.pt")
    tokens = json.loads((DEMO / "model" / "tokenizer.json").read_text())["added_tokens"]
    shifted = [{**tokens[0], "id": 2560, "content": "<|endoftext|>x"}]
    (tmp_path / "words.json").write_text(tokenizer_with(added_tokens=tokens + shifted))
    loaded = loading.from_place(str(tmp_path / "words.json"))
    assert loaded.start == 0
    post = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<|endoftext|>x", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {
            "<|endoftext|>x": {"id": "<|endoftext|>x", "ids": [2560], "tokens": ["<|endoftext|>x"]}
        },
    }
    content = tokenizer_with(added_tokens=tokens + shifted, post_processor=post)
    (tmp_path / "words.json").write_text(content)
    rejected(
        f"nanogpt:{tmp_path / 'ckpt.pt'}",
        "start token is 2560, but the model's vocabulary has 65",
        tokenizer=str(tmp_path / "words.json"),
    )


@pytest.mark.parametrize("key", ["bos_token_id", "eos_token_id", "pad_token_id"])
@pytest.mark.parametrize("id_", [10**12, -5, 2560])
def test_ids_in_a_config_that_no_row_has(folder: Path, key: str, id_: int) -> None:
    """They decide no score: loading works, or is refused in one line."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: id_}))
    message = problem(lambda: registry.load_model(str(folder), CPU))
    assert not message or str(folder) in message


def test_a_tokenizer_that_makes_the_library_panic(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    case = beside("cases") / "tokenizers" / "tokenizer-panic.json"
    shutil.copy(case, folder / "tokenizer.json")
    rejected(str(folder), r"a library panicked \(.*\); expected an undamaged tokenizer")
    rejected("demo", r"--tokenizer .*panic.json: a library panicked", tokenizer=str(case))
    assert capfd.readouterr().err == ""


def test_a_panic_while_encoding() -> None:
    class PanicException(BaseException):
        """As pyo3 defines it."""

    class Backend:
        decoder = None

        def __getattr__(self, name: str) -> Any:
            return lambda *_, **__: {}

        def get_vocab(self, **_: Any) -> dict[str, int]:
            return {}

        def encode(self, *_: Any, **__: Any) -> None:
            raise PanicException("index out of bounds")

    encoder = TiledEncoder(Backend())
    with pytest.raises(UsageError, match=r"tokenizer: a library panicked \(index out of bounds\)"):
        encoder.encode("text")


@pytest.mark.parametrize(
    "changes",
    [
        {
            "padding": {
                "strategy": {"Fixed": 10**12},
                "direction": "Right",
                "pad_to_multiple_of": None,
                "pad_id": 0,
                "pad_type_id": 0,
                "pad_token": "x",
            }
        },
        {
            "truncation": {
                "direction": "Right",
                "max_length": 1,
                "strategy": "LongestFirst",
                "stride": 0,
            }
        },
    ],
)
def test_padding_and_truncation_in_a_file_do_nothing(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    (tmp_path / "tokenizer.json").write_text(tokenizer_with(**changes))
    loaded = loading.from_place(str(tmp_path / "tokenizer.json"))
    plain = loading.from_place(str(DEMO / "model" / "tokenizer.json"))
    assert loaded.tokens.encode("it was").ids.tolist() == plain.tokens.encode("it was").ids.tolist()
    assert loaded.fingerprint == plain.fingerprint


@pytest.mark.parametrize("id_", [2**31, 2**32 - 1, 2**32, 10**12, -1, "x", None, 1.5])
def test_ids_of_a_tokenizer_that_no_row_has(folder: Path, id_: Any) -> None:
    content = json.loads((folder / "tokenizer.json").read_text())
    content["added_tokens"].append(content["added_tokens"][0] | {"id": id_, "content": "zzz"})
    content["model"]["vocab"]["it"] = id_
    (folder / "tokenizer.json").write_text(json.dumps(content))

    def encode() -> None:
        registry.load_model(str(folder), CPU).encode("it was zzz it")

    assert "expected" in problem(encode)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("vocab.json", {"a": 0, "b": 2**31}),
        ("added_tokens.json", {"b": 2**40}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"3000000000": {"content": "b"}}}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"9" * 9999: {"content": "b"}}}),
        ("tokenizer.json", {"added_tokens": [{"id": 2**31, "content": "b"}]}),
    ],
)
def test_an_id_in_any_file_of_a_tokenizer(folder: Path, name: str, content: Any) -> None:
    (folder / name).write_text(json.dumps(content))
    rejected(str(folder), rf"{name}: a token has the id .*; expected ids from 0 to 16,777,215")


def test_the_longest_text_of_a_configuration_is_no_id(folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer", "model_max_length": 10**30}))
    check_place(str(folder))
