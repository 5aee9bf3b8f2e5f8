"""A training run's folder: which checkpoints lie in it, of which step, and whether each is written to its end.

It knows the names and the outer form of their files. It does not load them, and does not know what is done with them.
"""

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt2eval.errors import UsageError

Stamp = Mapping[str, list[int]]  # of each file: size, and time of the last change in ns

KINDS = {
    "hf": re.compile(r"checkpoint-\d+"),
    "nanogpt": re.compile(r"ckpt.*\.pt"),
    "llmc": re.compile(r"model_.*\.bin"),
}
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
TOKENIZER = (
    "tokenizer*",
    "vocab.*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "spiece.model",
)
DECIDING = (
    "config.json",
    "*.safetensors",
    "*.bin",
    "*.index.json",
    *TOKENIZER,
)  # not the state of the optimizer
LLMC_HEADER = 256 * 4
NUMBER = re.compile(r"\d+(?!.*\d)")


@dataclass(frozen=True, slots=True)
class TrainingCheckpoint:
    """A checkpoint as it lay there at one look: its scheme of models, its place, and the stamp of the files that matter."""

    scheme: str
    path: Path
    stamp: Stamp

    @property
    def model(self) -> str:
        """What `--model` calls it."""
        return f"{self.scheme}:{self.path}"

    @property
    def name(self) -> str:
        """What it is called in results."""
        return str(self.path) if self.scheme == "hf" else self.model

    @property
    def number(self) -> int | None:
        """The last number in its name; None for a `ckpt.pt` that is written over and over."""
        found = NUMBER.search(self.path.name)
        return int(found[0]) if found else None

    @property
    def series(self) -> str:
        """Where it and its like lie, with a `*` for the number."""
        return str(self.path.resolve().with_name(NUMBER.sub("*", self.path.name)))

    @property
    def written(self) -> int:
        """When it was last written to, in ns."""
        return max((changed for _, changed in self.stamp.values()), default=0)


def find(folder: Path) -> list[TrainingCheckpoint]:
    """The checkpoints in a folder, whole or not: in order of their numbers, those without one by time.

    Raises UsageError where there is no such folder.
    """
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise UsageError(
            f"{folder}: {error.strerror}; expected the folder of a training run"
        ) from None
    found = [checkpoint for path in paths if (checkpoint := look(path))]
    return sorted(found, key=lambda c: (c.number is None, c.number or 0, c.written))


def look(path: Path) -> TrainingCheckpoint | None:
    """The checkpoint at a path, if its name is that of one; None where it goes away while it is looked at."""
    scheme = next((scheme for scheme, name in KINDS.items() if name.fullmatch(path.name)), "")
    if not scheme or path.is_dir() != (scheme == "hf"):
        return None
    files = (
        sorted({file for pattern in DECIDING for file in path.glob(pattern)})
        if scheme == "hf"
        else [path]
    )
    with suppress(OSError):
        stats = {file.name: file.stat() for file in files}
        return TrainingCheckpoint(
            scheme, path, {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}
        )
    return None


def lacking(checkpoint: TrainingCheckpoint) -> str:
    """What a checkpoint still lacks, as far as its files' own form says; "" if it is whole.

    Raises UsageError for an index that names files outside the checkpoint.
    """
    forms = {"hf": _of_folder, "nanogpt": _of_zip, "llmc": _of_llmc}
    try:
        return next(forms[checkpoint.scheme](checkpoint.path), "")
    except OSError as error:
        return f"{error.strerror}"


def has_tokenizer(folder: Path) -> bool:
    """Whether a tokenizer was saved with a checkpoint."""
    return any(True for pattern in TOKENIZER for _ in folder.glob(pattern))


def _of_folder(folder: Path) -> Iterator[str]:
    """What is missing in a Hugging Face folder: its configuration, or weights that are whole."""
    if _json(folder / "config.json") is None:
        yield "config.json is not there, or not whole"
    weights = next((folder / name for name in WEIGHTS if (folder / name).exists()), None)
    if weights is None:
        yield f"it has no weights: expected one of {', '.join(WEIGHTS)}"
    elif weights.suffix != ".json":
        yield from _of_weights(weights)
    elif (shards := _shards(weights)) is None:
        yield f"{weights.name} is not whole"
    else:
        for name in shards:
            yield from _of_weights(folder / name)


def _shards(index: Path) -> list[str] | None:
    """The files that an index names; None while it is not whole."""
    content = _json(index)
    if not isinstance(content, dict) or not isinstance(content.get("weight_map"), dict):
        return None
    names = sorted({str(name) for name in content["weight_map"].values()})
    if outside := [name for name in names if Path(name).name != name or name in ("", "..")]:
        raise UsageError(f"{index}: names {outside[0]!r}; expected files of its own folder")
    return names


def _of_weights(path: Path) -> Iterator[str]:
    if not path.exists():
        yield f"{path.name} is not there"
    elif path.suffix != ".safetensors":
        yield from _of_zip(path)
    elif path.stat().st_size != _safetensors_size(path):
        yield f"{path.name} is not whole"


def _safetensors_size(path: Path) -> int | None:
    """The size that a safetensors file says it has: 8 bytes, a header of the length in them, and the tensors it lists."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            return None
        try:
            header = json.loads(file.read(length))
            ends = [
                tensor["data_offsets"][1]
                for name, tensor in header.items()
                if name != "__metadata__"
            ]
            return 8 + length + max(ends, default=0)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return None


def _of_zip(path: Path) -> Iterator[str]:
    if not zipfile.is_zipfile(path):  # a zip's directory is written last
        yield f"{path.name} is not whole"


def _of_llmc(path: Path) -> Iterator[str]:
    if path.stat().st_size <= LLMC_HEADER:
        yield f"{path.name} is no longer than its header"


def _json(path: Path) -> Any:
    """What a JSON file holds; None while it is not there, or not whole."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
