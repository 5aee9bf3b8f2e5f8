"""Files of weights read without running anything in them, and without taking memory on their word alone.

A pickle may name only tensors and plain values; an archive holds no more than its size; every tensor lies in its own
storage; an index names files beside it. It does not know architectures.
"""

import json
import pickle
import re
import zipfile
from collections.abc import Iterable, Mapping
from hashlib import sha256
from os.path import normpath
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gpt2eval.errors import UsageError

PLAIN_PICKLE = 1 << 26  # bytes of a pickle that is to hold a small dictionary
BLOCK = 1 << 24


class PlainUnpickler(pickle.Unpickler):
    """Dictionaries, lists, strings and numbers; whatever names a class or function is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it names {module}.{name}, which would be run")


def plain_pickle(path: Path) -> Any:
    """The plain values in a pickle. Raises UsageError for one that is large, damaged, or needs anything to be run."""
    try:
        if path.stat().st_size > PLAIN_PICKLE:
            raise pickle.UnpicklingError(f"it is larger than {PLAIN_PICKLE} bytes")
        with path.open("rb") as file:
            return PlainUnpickler(file).load()
    except Exception as error:  # a damaged pickle may raise anything
        reason = str(error) or type(error).__name__
        raise UsageError(
            f"{path}: {reason}; expected a pickle of plain dictionaries, strings and numbers"
        ) from None


def torch_file(path: Path) -> Any:
    """What `torch.save` wrote, mapped from disk: tensors and plain values.

    Raises UsageError for a file that needs anything else to be run, for an archive whose members are compressed or larger
    than itself, and for a tensor that claims more than its storage holds.
    """
    try:
        zipped = zipfile.is_zipfile(path)
        if zipped:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
            if (
                any(m.compress_type != zipfile.ZIP_STORED for m in members)
                or sum(m.file_size for m in members) > path.stat().st_size
            ):
                raise UsageError(
                    f"{path}: an archive that would unpack to more than it is; expected what torch.save writes"
                )
        made = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped or None)
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror or error}; expected a file that torch.save wrote"
        ) from None
    except UsageError:
        raise
    except pickle.UnpicklingError as error:
        raise UsageError(f"{path}: {_needs(str(error))}") from None
    except Exception as error:  # a damaged file may raise anything
        raise UsageError(
            f"{path}: {' '.join(str(error).split()):.200}; expected a file that torch.save wrote"
        ) from None
    _refuse_inflated(path, made)
    return made


def _needs(reason: str) -> str:
    """The name that a refused pickle asks for, out of torch's long message."""
    named = re.search(r"GLOBAL (\S+)", reason)
    what = (
        f"it needs {named[1]}, which would be run" if named else f"{' '.join(reason.split()):.160}"
    )
    return f"{what}; expected tensors and plain values alone: load it where you trust it, and torch.save only those"


def _refuse_inflated(path: Path, content: Any) -> None:
    """Raise UsageError for a tensor, however deep, with more elements than its storage."""
    seen, left = set[int](), [content]
    while left:
        value = left.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            if (
                value.layout is not torch.strided
                or value.numel() * value.element_size() > value.untyped_storage().nbytes()
            ):
                raise UsageError(
                    f"{path}: a tensor of shape {list(value.shape)} that its storage does not hold; expected plain tensors"
                )
        elif isinstance(value, Mapping):
            left.extend(value.values())
        elif isinstance(value, list | tuple):
            left.extend(value)


def json_file(path: Path) -> dict[str, Any]:
    """A JSON object. Raises UsageError for anything else."""
    try:
        made = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; expected a JSON object") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: {error}; expected a JSON object") from None
    if not isinstance(made, dict):
        raise UsageError(f"{path}: a {type(made).__name__}; expected a JSON object")
    return made


def inside(folder: Path, name: str, said_by: str) -> Path:
    """The file of a name that something in a folder says. Raises UsageError where it leads out of the folder."""
    path = Path(normpath(folder / name))
    if not path.is_relative_to(normpath(folder)):
        raise UsageError(
            f"{folder}: {said_by} names {name!r:.80}, outside of it; expected a file in the folder"
        )
    return path


def check_folder(folder: Path) -> None:
    """Raise UsageError for a folder whose index names files outside, or whose config claims more weights than it has bytes."""
    for index in folder.glob("*.index.json"):
        names = json_file(index).get("weight_map", {})
        for name in (
            sorted({str(name) for name in names.values()}) if isinstance(names, dict) else ()
        ):
            inside(folder, name, index.name)
    held = sum(path.stat().st_size for path in weight_files(folder))
    if not (folder / "config.json").is_file() or not held:
        return
    config = json_file(folder / "config.json")
    sizes = {key: config[key] for key in SIZES if isinstance(config.get(key), int)}
    width = max((sizes.get(key, 1) for key in WIDTHS), default=1)
    for key, value in sizes.items():
        if value < 0 or (key not in WIDTHS and value * max(width, 1) > held) or value > held:
            raise UsageError(
                f"{folder / 'config.json'}: {key} is {value}, more than the {held} bytes of weights can hold"
            )


WIDTHS = ("hidden_size", "n_embd", "d_model")
SIZES = (
    *WIDTHS,
    "vocab_size",
    "num_labels",
    "num_hidden_layers",
    "n_layer",
    "n_layers",
    "intermediate_size",
    "n_inner",
)


def weight_files(folder: Path) -> list[Path]:
    """A folder's files of weights, in order of their names."""
    return sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")])


def digest(paths: Iterable[Path]) -> str:
    """The sha256 over files, one after the other; those that are not there are passed over."""
    made = sha256()
    for path in filter(Path.is_file, paths):
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                made.update(block)
    return made.hexdigest()
