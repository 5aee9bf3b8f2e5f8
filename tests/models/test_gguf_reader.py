"""Our reader of GGUF headers gives what the package gguf's own gives, also to transformers."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf import GGUFEndian, GGUFReader, GGUFWriter
from test_formats import gguf as write_model
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

from gpt2eval.config.catalog import DEMO
from gpt2eval.models.formats.gguf_reader import Reader, lent

ARRAYS: dict[str, list[Any]] = {
    "strings": ["", "a", "\u2581café 🙂", "x" * 1000, ""],
    "one string": ["only"],
    "integers": [0, 1, -7, 2**31 - 1],
    "floats": [0.5, -1e30, 3.25],
    "truths": [True, False, True],
    "none": [],
}


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = GPT2Config(n_layer=1, n_head=2, n_embd=16, n_positions=32, vocab_size=2560)
    return write_model(GPT2LMHeadModel(config), DEMO / "model", tmp_path / "tiny.gguf")


def check_equal(path: Path) -> None:
    ours, theirs = Reader(path), GGUFReader(path)
    assert ours.fields.keys() == theirs.fields.keys()
    for key, field in theirs.fields.items():
        assert ours.fields[key].contents() == field.contents(), key
        assert ours.fields[key].types == field.types, key
        assert ours.fields[key].offset == field.offset, key
        assert len(ours.fields[key].data) == len(field.data), key
        for our_part, part in zip(ours.fields[key].data, field.data, strict=True):
            assert np.array_equal(ours.fields[key].parts[our_part], field.parts[part]), key
    assert [tensor[:-2] for tensor in map(_plain, ours.tensors)] == [
        tensor[:-2] for tensor in map(_plain, theirs.tensors)
    ]
    for one, other in zip(ours.tensors, theirs.tensors, strict=True):
        assert np.array_equal(one.data, other.data)


def _plain(tensor: Any) -> tuple[Any, ...]:
    return (tensor.name, tensor.tensor_type, tensor.shape.tolist(), *tensor[3:])


@pytest.mark.parametrize("endianess", [GGUFEndian.LITTLE, GGUFEndian.BIG])
def test_the_same_fields_as_the_package(tmp_path: Path, endianess: GGUFEndian) -> None:
    writer = GGUFWriter(tmp_path / "x.gguf", "gpt2", endianess=endianess)
    for key, values in ARRAYS.items():
        if values:  # the writer leaves an empty array out
            writer.add_array(key, values)
    writer.add_string("after", "the arrays")
    writer.add_tensor("t", np.arange(64, dtype=np.float32).reshape(2, 32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    check_equal(tmp_path / "x.gguf")


def test_the_same_model_as_the_package(model_file: Path) -> None:
    check_equal(model_file)


def test_transformers_reads_the_same_through_it(
    model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=16, vocab_size=2560))
    expected = load_gguf_checkpoint(model_file, return_tensors=True, model_to_load=model)
    reader = Reader(model_file)
    original = gguf.GGUFReader
    with lent(reader, model_file):
        assert gguf.GGUFReader(str(model_file)) is reader
        monkeypatch.setattr(Reader, "__init__", None)  # nothing is read anew
        read = load_gguf_checkpoint(model_file, return_tensors=True, model_to_load=model)
    assert gguf.GGUFReader is original
    tensors = read.pop("tensors")
    expected_tensors = expected.pop("tensors")
    assert read == expected
    assert tensors.keys() == expected_tensors.keys()
    assert all(torch.equal(tensors[key], value) for key, value in expected_tensors.items())


def test_another_file_is_read_by_the_package(model_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    other.write_bytes(model_file.read_bytes())
    with lent(Reader(model_file), model_file):
        assert type(gguf.GGUFReader(other)) is GGUFReader


def test_an_error_gives_the_package_its_reader_back(model_file: Path) -> None:
    with pytest.raises(KeyError), lent(Reader(model_file), model_file):
        raise KeyError
    assert gguf.GGUFReader is GGUFReader
