"""A folder with two sets of weights is refused; the same weights stored twice are not."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gpt2eval.config.catalog import DEMO
from gpt2eval.errors import UsageError
from gpt2eval.models import registry
from gpt2eval.models.formats import weight_sets
from gpt2eval.models.formats.folder import check_folder
from gpt2eval.models.options import LoadOptions

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
BIN = "pytorch_model.bin"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
State = dict[str, Tensor]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(DEMO / "model", tmp_path / "model")


@pytest.fixture
def state() -> State:
    return load_file(DEMO / "model" / SINGLE)


def save(path: Path, state: State) -> None:
    if path.suffix == ".bin":
        torch.save(state, path)
    else:
        save_file({key: value.contiguous() for key, value in state.items()}, path, {"format": "pt"})


def save_shards(folder: Path, state: State, index: str = INDEX) -> None:
    """Store the weights in two shards and their index."""
    suffix = index.removesuffix(".index.json").rpartition(".")[2]
    stem = index.partition(".")[0]
    half = len(state) // 2
    weight_map: dict[str, str] = {}
    for number, names in enumerate((list(state)[:half], list(state)[half:]), 1):
        name = f"{stem}-{number:05d}-of-00002.{suffix}"
        save(folder / name, {key: state[key] for key in names})
        weight_map |= dict.fromkeys(names, name)
    (folder / index).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def other(state: State) -> State:
    """A later checkpoint of the same model."""
    return {key: value * 1.01 + 0.001 for key, value in state.items()}


def loads(folder: Path) -> str:
    return registry.load_model(str(folder), LoadOptions(device="cpu")).identity().name


def rejected(folder: Path, *names: str) -> None:
    with pytest.raises(UsageError, match="expected") as caught:
        loads(folder)
    assert str(caught.value).startswith(f"{folder}: ")
    for name in names:
        assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("same", [False, True])
def test_an_index_with_shards_and_a_single_file(folder: Path, state: State, same: bool) -> None:
    """No program writes both, and transformers reads the single file in silence."""
    save_shards(folder, state)
    save(folder / SINGLE, state if same else other(state))
    rejected(folder, SINGLE, INDEX, "expected one set of weights")


def test_the_same_of_torch_files(folder: Path, state: State) -> None:
    (folder / SINGLE).unlink()
    save_shards(folder, state, f"{BIN}.index.json")
    save(folder / BIN, other(state))
    rejected(folder, BIN, f"{BIN}.index.json")


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_same_weights_in_two_formats(
    folder: Path, state: State, sharded: bool, dtype: torch.dtype
) -> None:
    """As in many repositories, also in another precision."""
    twin = {key: value.to(dtype) for key, value in state.items()}
    if sharded:
        save_shards(folder, twin, f"{BIN}.index.json")
    else:
        save(folder / BIN, twin)
    assert loads(folder) == str(folder)


@pytest.mark.parametrize("sharded", [False, True])
def test_other_weights_in_the_other_format(folder: Path, state: State, sharded: bool) -> None:
    index = f"{BIN}.index.json"
    if sharded:
        save_shards(folder, other(state), index)
    else:
        save(folder / BIN, other(state))
    rejected(folder, SINGLE, index if sharded else BIN, "hold different weights")


def test_one_other_tensor_is_enough(folder: Path, state: State) -> None:
    name = next(key for key in state if key.endswith("c_fc.weight"))
    save(folder / BIN, state | {name: state[name] + 0.01})
    rejected(folder, SINGLE, BIN)


def test_an_old_torch_file_is_compared_too(folder: Path, state: State) -> None:
    torch.save(other(state), folder / BIN, _use_new_zipfile_serialization=False)
    rejected(folder, SINGLE, BIN)


def test_names_without_the_prefix_of_the_model(folder: Path, state: State) -> None:
    save(folder / BIN, {key.removeprefix("transformer."): value for key, value in state.items()})
    assert loads(folder) == str(folder)
    save(folder / BIN, {"encoder.x": torch.zeros(2)})
    rejected(folder, SINGLE, BIN)


@pytest.mark.parametrize(
    "name", ["model.fp16.safetensors", "consolidated.safetensors", "x.safetensors"]
)
def test_a_file_that_transformers_does_not_read(folder: Path, state: State, name: str) -> None:
    save(folder / name, {key: value.half() for key, value in state.items()})
    assert loads(folder) == str(folder)
    save(folder / name, {f"layers.{key}.wq": value for key, value in state.items()})
    assert loads(folder) == str(folder), "other names, so not these weights"
    save(folder / name, other(state))
    rejected(folder, SINGLE, name)


def test_a_shard_that_no_index_names(folder: Path, state: State) -> None:
    (folder / SINGLE).unlink()
    save_shards(folder, state)
    save(folder / "model-00001-of-00003.safetensors", other(state))
    rejected(folder, INDEX, "model-00001-of-00003.safetensors")


def test_shards_without_an_index(folder: Path, state: State) -> None:
    (folder / SINGLE).unlink()
    save_shards(folder, state)
    (folder / INDEX).unlink()
    rejected(folder, "no index", SHARDS[0])


def test_a_tensor_in_two_shards(folder: Path, state: State) -> None:
    (folder / SINGLE).unlink()
    save_shards(folder, state)
    first = load_file(folder / SHARDS[0])
    name = next(iter(first))
    save(folder / SHARDS[1], load_file(folder / SHARDS[1]) | {name: first[name] + 1})
    rejected(folder, name, *SHARDS, "each tensor in one shard")


def test_an_index_of_other_shards(folder: Path, state: State) -> None:
    (folder / SINGLE).unlink()
    save_shards(folder, state)
    content = json.loads((folder / INDEX).read_text())
    name = next(iter(load_file(folder / SHARDS[0])))
    content["weight_map"][name] = SHARDS[1]
    (folder / INDEX).write_text(json.dumps(content))
    rejected(folder, INDEX, name, "expected an index of these shards")


def test_an_index_of_missing_files(folder: Path) -> None:
    (folder / SINGLE).unlink()
    names = dict(zip("ab", SHARDS, strict=True))
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": names}))
    with pytest.raises(UsageError, match=rf"{SHARDS[0]}: no such file, but {INDEX} names it"):
        check_folder(folder)
    (folder / INDEX).write_text('{"weight_map": {}}')
    with pytest.raises(UsageError, match=rf"{INDEX}: names no files"):
        check_folder(folder)


def test_an_index_left_over_from_the_other_format(folder: Path) -> None:
    names = {"a": "pytorch_model-00001-of-00001.bin"}
    (folder / f"{BIN}.index.json").write_text(json.dumps({"weight_map": names}))
    assert loads(folder) == str(folder)


def test_an_index_of_the_single_file(folder: Path, state: State) -> None:
    (folder / INDEX).write_text(json.dumps({"weight_map": dict.fromkeys(state, SINGLE)}))
    assert loads(folder) == str(folder)


def test_shards_alone(folder: Path, state: State) -> None:
    (folder / SINGLE).unlink()
    save_shards(folder, state)
    assert loads(folder) == str(folder)


def test_an_adapter_beside_whole_weights(folder: Path) -> None:
    """With peft installed, transformers applies it in silence."""
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "gpt2"}')
    rejected(folder, "adapter_config.json", "--peft")


def test_a_large_file_in_the_old_format_is_not_read(
    folder: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight_sets, "UNMAPPED_BYTES", 10)
    torch.save(other(state), folder / BIN, _use_new_zipfile_serialization=False)
    assert loads(folder) == str(folder)
