"""Refuse a folder of transformers with two different sets of weights.

transformers reads the first of `model.safetensors`, its index, `pytorch_model.bin` and its index,
and ignores the others in silence. The same weights stored twice, as in many repositories, give the
same numbers whichever is read; different ones do not.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from gpt2eval.errors import UsageError
from gpt2eval.models.formats import files, safe
from gpt2eval.models.load_errors import expected_errors

FORMATS = {"model": ".safetensors", "pytorch_model": ".bin"}
SHARD = re.compile(r"(model|pytorch_model)-\d+-of-\d+\.(safetensors|bin)")
PREFIX = re.compile(r"^(?:module\.|transformer\.|model\.)+")
ADAPTER = "adapter_config.json"
WHOLE = 1 << 22  # elements of a tensor that is compared as a whole
SAMPLE = 32  # elements of a larger tensor that are compared
UNMAPPED_BYTES = 1 << 30  # a file in torch's old format is read whole, and only up to this size
ROUNDING = 2.0**-7  # relative; half-precision formats differ by so much
EXPECTED = "expected one set of weights: move the other to another folder"


class WeightSet(NamedTuple):
    """The file that stands for a set of weights, its files, and the index that lists them."""

    name: str
    files: Sequence[Path]
    weight_map: Mapping[str, Any] = {}


def check_one_set(folder: Path) -> None:
    """Check which weights a folder holds.

    Raises:
        UsageError: If there is an adapter beside the weights, an index beside the single file of
            the same format, a shard that no index names, a tensor in two shards, or another set
            whose weights differ (compared on a sample of every tensor).
    """
    if (folder / ADAPTER).is_file():
        raise UsageError(
            f"{folder}: {ADAPTER} makes it an adapter; expected the folder of a whole model, "
            "with the adapter in --peft"
        )
    sets: list[WeightSet] = []
    for stem, suffix in FORMATS.items():
        sets += _sets_of_format(folder, stem, suffix)
    listed = {path.name for one in sets for path in one.files}
    for path in sorted(folder.iterdir()):
        if SHARD.fullmatch(path.name) and path.name not in listed:
            others = sets[0].name if sets else "no index"
            raise UsageError(
                f"{folder}: {others}, and the shard {path.name} that no index names; {EXPECTED}"
            )
    if not sets:
        return
    for one in sets:
        _check_shards(folder, one)
    chosen = sets[0]
    strays = [
        WeightSet(path.name, [path])
        for path in sorted(folder.glob("*.safetensors"))
        if path.name not in listed
    ]
    for other in [*sets[1:], *strays]:
        is_named = other in sets  # transformers would read it if the first were missing
        if _differ(chosen, other, default=is_named):
            raise UsageError(
                f"{folder}: {chosen.name} and {other.name} hold different weights; {EXPECTED}"
            )


def _sets_of_format(folder: Path, stem: str, suffix: str) -> Iterator[WeightSet]:
    """Yield the set of a format, if there is one: a single file, or the shards of an index.

    An index none of whose shards exist is left over from a download of the other format.
    """
    single = folder / f"{stem}{suffix}"
    index = folder / f"{stem}{suffix}.index.json"
    weight_map = files.load_json_object(index).get("weight_map") if index.is_file() else None
    names = sorted(set(map(str, weight_map.values()))) if isinstance(weight_map, dict) else []
    paths = [files.path_inside(folder, name, index.name) for name in names]
    has_shards = any(path.is_file() for path in paths)
    if single.is_file() and has_shards and paths != [single]:
        raise UsageError(f"{folder}: {single.name}, and {index.name} with its shards; {EXPECTED}")
    if single.is_file():
        yield WeightSet(single.name, [single])
    elif has_shards and isinstance(weight_map, dict):
        yield WeightSet(index.name, paths, weight_map)


def _check_shards(folder: Path, one: WeightSet) -> None:
    """Raise UsageError for a tensor in another shard than the index says, or in two shards."""
    if one.files[0].suffix != ".safetensors" or len(one.files) < 2:
        return
    place: dict[str, str] = {}
    for path in one.files:
        for tensor in _names(path):
            if tensor in place:
                raise UsageError(
                    f"{folder}: {tensor} is in {place[tensor]} and in {path.name}; expected each "
                    "tensor in one shard"
                )
            place[tensor] = path.name
    for tensor, name in one.weight_map.items():
        if place.get(tensor, name) != name:
            raise UsageError(
                f"{folder}: {one.name} names {str(name)!r:.80} for {str(tensor)!r:.80}, which is "
                f"in {place[tensor]}; expected an index of these shards"
            )


def _names(path: Path) -> list[str]:
    with (
        expected_errors(str(path), OSError, SafetensorError, expectation="a safetensors file"),
        safe_open(path, "pt") as file,
    ):
        return list(file.keys())


def _differ(first: WeightSet, second: WeightSet, *, default: bool) -> bool:
    """Return whether two sets differ in a tensor that both have; `default` if they share none."""
    large = any(not safe.is_mapped(p) and p.stat().st_size > UNMAPPED_BYTES for p in second.files)
    if large or not _may_hold_weights(first) or not _may_hold_weights(second):
        return False
    with ExitStack() as stack:
        ours = _tensors(first, stack)
        theirs = _tensors(second, stack)
        shared = ours.keys() & theirs.keys()
        return any(_is_other(ours[key](), theirs[key]()) for key in shared) if shared else default


def _may_hold_weights(one: WeightSet) -> bool:
    return all(path.is_file() for path in one.files)


def _tensors(one: WeightSet, stack: ExitStack) -> dict[str, Any]:
    """Return functions that read the tensors of a set, by name without the model's prefix."""
    readers: dict[str, Any] = {}
    for path in one.files:
        if path.suffix == ".safetensors":
            with expected_errors(
                str(path), OSError, SafetensorError, expectation="a safetensors file"
            ):
                file = stack.enter_context(safe_open(path, "pt"))
            for name in file.keys():  # noqa: SIM118 - not a mapping
                readers[PREFIX.sub("", name)] = lambda f=file, n=name: f.get_tensor(n)
        else:
            content = safe.load_torch_file(path)
            for name, value in content.items() if isinstance(content, Mapping) else ():
                if isinstance(value, Tensor):
                    readers[PREFIX.sub("", str(name))] = lambda v=value: v
    return readers


def _is_other(first: Tensor, second: Tensor) -> bool:
    """Return whether two tensors differ by more than rounding to another precision."""
    if first.shape != second.shape:
        return True
    if not first.is_floating_point() or not second.is_floating_point() or not first.numel():
        return False
    count = first.numel() if first.numel() <= WHOLE else SAMPLE
    places = torch.linspace(0, first.numel() - 1, count, dtype=torch.float64).round().long()
    ours = first.flatten()[places].double()
    theirs = second.flatten()[places].double()
    rounding = 0.0 if first.dtype == second.dtype else ROUNDING
    return not torch.allclose(ours, theirs, rtol=rounding, atol=rounding / 1e3, equal_nan=True)
