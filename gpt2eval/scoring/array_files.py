"""Files of named arrays that carry their own checksum: safetensors with metadata `sha256`."""

import json
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from gpt2eval.files import atomic_file, write_atomic

UNREADABLE = (SafetensorError, OSError, ValueError)
PIECE = 1 << 22  # bytes that are hashed at once
# A file's columns: by name, an array without rows that has the column's type.
Types = Mapping[str, np.ndarray]


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays atomically, with a checksum of their content and of the file's name."""
    write_atomic(path, save(dict(arrays), {"sha256": _digest(path.name, arrays)}))


def write_rows(
    path: Path, types: Types, rows: int, blocks: Iterable[Mapping[str, np.ndarray]]
) -> None:
    """Write columns of `rows` rows, which come in blocks, as `write_arrays` writes them."""
    header = _header(types, rows, "0" * 64)
    starts = _starts(header)
    with atomic_file(path) as file:
        done = 0
        for block in blocks:
            for name, column in block.items():
                kind = types[name].dtype
                file.seek(len(header) + starts[name] + done * kind.itemsize)
                file.write(np.ascontiguousarray(column, kind).data)
            done += len(next(iter(block.values())))
        assert done == rows, f"{done} rows; expected {rows}"
        checksum = _digest_of_rows(path.name, file, header, types, rows)
        file.seek(0)
        file.write(_header(types, rows, checksum))


def _header(types: Types, rows: int, checksum: str) -> bytes:
    """Return what precedes the columns in a file, as the library writes it."""
    empty = save(dict(types), {"sha256": checksum})
    content = json.loads(empty[8:])
    start = 0
    for name, column in content.items():
        if name in types:
            size = rows * types[name].dtype.itemsize
            column |= {"shape": [rows], "data_offsets": [start, start + size]}
            start += size
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _starts(header: bytes) -> dict[str, int]:
    columns = json.loads(header[8:])
    return {name: columns[name]["data_offsets"][0] for name in columns if name != "__metadata__"}


def _digest_of_rows(name: str, file: IO[bytes], header: bytes, types: Types, rows: int) -> str:
    """Hash a file of columns as `_digest` does, some bytes at a time."""
    starts = _starts(header)
    digest = sha256(name.encode())
    for key, kind in sorted((key, column.dtype) for key, column in types.items()):
        digest.update(f"{key}{kind}{(rows,)}".encode())
        file.seek(len(header) + starts[key])
        left = rows * kind.itemsize
        while left and (piece := file.read(min(left, PIECE))):
            digest.update(piece)
            left -= len(piece)
    return digest.hexdigest()


def has_rows(path: Path, names: Sequence[str]) -> bool:
    """Return whether a file has columns with these names, and its checksum matches."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = file.read(min(size, PIECE))
            content: Any = json.loads(header)
        with safe_open(path, "numpy") as arrays:  # which checks the header
            shapes = {key: arrays.get_slice(key).get_shape() for key in names}
            types = {
                key: arrays.get_slice(key)[:0] if shape[0] else arrays.get_tensor(key)
                for key, shape in shapes.items()
            }
            if {*arrays.keys()} != {*names}:
                return False
        rows = shapes[names[0]][0]
        if any(shape != [rows] for shape in shapes.values()):
            return False
        prefix = size.to_bytes(8, "little") + header
        with path.open("rb") as file:
            digest = _digest_of_rows(path.name, file, prefix, types, rows)
        return content["__metadata__"]["sha256"] == digest
    except (*UNREADABLE, KeyError, TypeError, IndexError):
        return False


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
