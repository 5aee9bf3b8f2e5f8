"""Find the checkpoints of a training run and decide whether each is written completely.

Knows file names and file headers. Does not load or use weights.
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

FileStats = Mapping[str, list[int]]  # file name -> [size in bytes, modification time in ns]

CHECKPOINT_NAMES = {
    "hf": re.compile(r"checkpoint-\d+"),
    "nanogpt": re.compile(r"ckpt.*\.pt"),
    "llmc": re.compile(r"model_.*\.bin"),
}
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
TOKENIZER_FILES = (
    "tokenizer*",
    "vocab.*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "spiece.model",
)
# The files that decide the scores. The optimizer's state is not among them.
MODEL_FILES = ("config.json", "*.safetensors", "*.bin", "*.index.json", *TOKENIZER_FILES)
LLMC_HEADER_BYTES = 256 * 4
LONGEST_HEADER = 100_000_000  # bytes; the limit of the library safetensors
LAST_NUMBER = re.compile(r"\d+(?!.*\d)")


@dataclass(frozen=True, slots=True)
class TrainingCheckpoint:
    """A checkpoint at one poll: its model scheme, its path, and the state of its files."""

    scheme: str
    path: Path
    file_stats: FileStats

    @property
    def model(self) -> str:
        """The value of `--model` that loads this checkpoint."""
        return f"{self.scheme}:{self.path}"

    @property
    def name(self) -> str:
        """The model name in results."""
        return str(self.path) if self.scheme == "hf" else self.model

    @property
    def number(self) -> int | None:
        """The last number in the file name; None for a `ckpt.pt` that the run overwrites."""
        match = LAST_NUMBER.search(self.path.name)
        return int(match[0]) if match else None

    @property
    def series(self) -> str:
        """The path with `*` for the number: all checkpoints of one run share it."""
        return str(self.path.resolve().with_name(LAST_NUMBER.sub("*", self.path.name)))

    @property
    def modified_ns(self) -> int:
        """The time of the latest change to any of its files, in nanoseconds."""
        return max((modified for _, modified in self.file_stats.values()), default=0)


def find_checkpoints(folder: Path) -> list[TrainingCheckpoint]:
    """Return the checkpoints in `folder`, complete or not.

    Numbered checkpoints come first, by number; the others follow, by modification time.
    Raises UsageError if the folder cannot be read.
    """
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise UsageError(
            f"{folder}: {error.strerror}; expected the folder of a training run"
        ) from None
    checkpoints = [checkpoint for path in paths if (checkpoint := read_checkpoint(path))]
    return sorted(checkpoints, key=lambda c: (c.number is None, c.number or 0, c.modified_ns))


def read_checkpoint(path: Path) -> TrainingCheckpoint | None:
    """Return the checkpoint at `path`.

    Returns None if the name does not match a checkpoint, or if a file disappears during the call.
    """
    scheme = next(
        (s for s, pattern in CHECKPOINT_NAMES.items() if pattern.fullmatch(path.name)), ""
    )
    if not scheme or path.is_dir() != (scheme == "hf"):
        return None
    files = [path]
    if scheme == "hf":
        files = sorted({file for pattern in MODEL_FILES for file in path.glob(pattern)})
    with suppress(OSError):
        stats = {file.name: file.stat() for file in files}
        return TrainingCheckpoint(
            scheme, path, {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}
        )
    return None


def find_incomplete_part(checkpoint: TrainingCheckpoint) -> str:
    """Describe the first missing or incomplete part of a checkpoint; "" if it is complete.

    Only headers and archive directories are read. Raises UsageError for an index that names files
    outside the checkpoint's folder.
    """
    checks = {"hf": _check_folder, "nanogpt": _check_zip, "llmc": _check_llmc}
    try:
        return next(checks[checkpoint.scheme](checkpoint.path), "")
    except OSError as error:
        return f"{error.strerror}"


def has_tokenizer(folder: Path) -> bool:
    """Return whether the checkpoint folder contains a tokenizer."""
    return any(True for pattern in TOKENIZER_FILES for _ in folder.glob(pattern))


def _check_folder(folder: Path) -> Iterator[str]:
    """Yield the problems of a Hugging Face folder: its configuration, then its weights."""
    if _read_json(folder / "config.json") is None:
        yield "config.json is missing or incomplete"
    weights = next((folder / name for name in WEIGHT_FILES if (folder / name).exists()), None)
    if weights is None:
        yield f"no weights; expected one of {', '.join(WEIGHT_FILES)}"
    elif weights.suffix != ".json":
        yield from _check_weights(weights)
    elif (shards := _shard_names(weights)) is None:
        yield f"{weights.name} is incomplete"
    else:
        for name in shards:
            yield from _check_weights(folder / name)


def _shard_names(index: Path) -> list[str] | None:
    """Return the file names that an index lists; None while the index is incomplete."""
    content = _read_json(index)
    if not isinstance(content, dict) or not isinstance(content.get("weight_map"), dict):
        return None
    names = sorted({str(name) for name in content["weight_map"].values()})
    if outside := [name for name in names if Path(name).name != name or name in ("", "..")]:
        raise UsageError(f"{index}: names {outside[0]!r}; expected files in the index's own folder")
    return names


def _check_weights(path: Path) -> Iterator[str]:
    if not path.exists():
        yield f"{path.name} is missing"
    elif path.suffix != ".safetensors":
        yield from _check_zip(path)
    elif path.stat().st_size != _expected_safetensors_size(path):
        yield f"{path.name} is incomplete"


def _expected_safetensors_size(path: Path) -> int | None:
    """Return the size that a safetensors header implies; None if the header is incomplete.

    The file is an 8-byte header length, a JSON header with every tensor's byte range, the tensors.
    """
    with path.open("rb") as file:
        header_length = int.from_bytes(file.read(8), "little")
        if header_length > min(path.stat().st_size, LONGEST_HEADER):
            return None
        try:
            header = json.loads(file.read(header_length))
            tensors = [value for name, value in header.items() if name != "__metadata__"]
            tensor_ends = [tensor["data_offsets"][1] for tensor in tensors]
            return 8 + header_length + max(tensor_ends, default=0)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return None


def _check_zip(path: Path) -> Iterator[str]:
    if not zipfile.is_zipfile(path):  # torch.save writes the zip directory last
        yield f"{path.name} is incomplete"


def _check_llmc(path: Path) -> Iterator[str]:
    if path.stat().st_size <= LLMC_HEADER_BYTES:
        yield f"{path.name} is incomplete: no weights follow its header"


def _read_json(path: Path) -> Any:
    """Return the content of a JSON file; None if the file is missing or incomplete."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
