"""The files of a checkpoint: their names, their hash, and the JSON in them.

Reads no weights and imports no torch, so that a checkpoint can be identified without loading it.
"""

import json
import re
from collections.abc import Iterable
from hashlib import sha256
from os.path import normpath
from pathlib import Path
from typing import Any

from gpt2eval.errors import UsageError, quoted

BLOCK = 1 << 24  # bytes hashed per step
LONGEST_NAME = 255  # bytes, of most file systems


def sha256_of_files(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of the concatenated files; paths that are not files are skipped."""
    checksum = sha256()
    for path in filter(Path.is_file, paths):
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                checksum.update(block)
    return checksum.hexdigest()


def weight_files(folder: Path) -> list[Path]:
    """Return the weight files of a folder of transformers, sorted by name."""
    return sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")])


def transformers_files(folder: Path) -> list[Path]:
    """Return the files whose hash identifies the model in a folder of transformers."""
    return [folder / "config.json", *weight_files(folder)]


def litgpt_files(folder: Path) -> list[Path]:
    """Return the files whose hash identifies the model in a folder of LitGPT."""
    return [folder / "model_config.yaml", folder / "lit_model.pth"]


def openai_files(folder: Path) -> list[Path]:
    """Return the files whose hash identifies the model in a folder of OpenAI's release."""
    prefix = checkpoint_prefix(folder)
    return [folder / "hparams.json", *sorted(prefix.parent.glob(f"{prefix.name}.*"))]


def checkpoint_prefix(folder: Path) -> Path:
    """Return the common prefix of a TensorFlow checkpoint, which the file `checkpoint` names.

    Raises:
        UsageError: If it names none, or one outside the folder or without an index.
    """
    text = (folder / "checkpoint").read_text(encoding="utf-8", errors="replace")
    match = re.search(r'^model_checkpoint_path: "([^"]*)"', text, re.MULTILINE)
    if not match:
        raise UsageError(
            f"{folder / 'checkpoint'}: no model_checkpoint_path; "
            "expected TensorFlow's checkpoint file"
        )
    prefix = path_inside(folder, match[1], "checkpoint")
    if not prefix.with_name(f"{prefix.name}.index").is_file():
        raise UsageError(
            f"{folder}: no {prefix.name}.index in the folder; "
            "expected the files that 'checkpoint' names"
        )
    return prefix


def load_json_object(path: Path) -> dict[str, Any]:
    """Load a JSON object. Raises UsageError for any other content."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; expected a JSON object") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: {error}; expected a JSON object") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: a {type(content).__name__}; expected a JSON object")
    return content


def path_inside(folder: Path, name: str, source: str) -> Path:
    """Return the path of a file that `source`, a file in the folder, names.

    Raises:
        UsageError: If the name leads out of the folder, or no file can have it.
    """
    if not name.isprintable() or len(name.encode()) > LONGEST_NAME:
        raise UsageError(
            f"{folder}: {source} names {quoted(name)}, which is no name of a file; "
            "expected a file in the folder"
        )
    path = Path(normpath(folder / name))
    if not path.is_relative_to(normpath(folder)):
        raise UsageError(
            f"{folder}: {source} names {name!r:.80}, outside the folder; "
            "expected a file in the folder"
        )
    return path
