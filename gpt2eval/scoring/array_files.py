"""Files of named arrays that carry their own checksum."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from gpt2eval.files import write_atomic

UNREADABLE = (SafetensorError, OSError, ValueError)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays atomically, with a checksum of their content and of the file's name."""
    write_atomic(path, save(dict(arrays), {"sha256": _digest(path.name, arrays)}))


def read_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """Return the arrays of a file, or None if it is absent or its checksum does not match."""
    try:
        with safe_open(path, "numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            checksum = (file.metadata() or {}).get("sha256")
    except UNREADABLE:
        return None
    return arrays if checksum == _digest(path.name, arrays) else None


def _digest(name: str, arrays: Mapping[str, np.ndarray]) -> str:
    """Hash a file's content and name. The name holds the key and the number of the chunk."""
    digest = sha256(name.encode())
    for key, array in sorted(arrays.items()):
        digest.update(f"{key}{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
