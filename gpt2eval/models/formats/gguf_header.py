"""Check the counts and lengths in a GGUF file's header against the file's own size.

The library reads as many entries as an array claims, also beyond the end of the file, so a header
of a few bytes could keep it busy for hours. Source of the layout: docs/gguf.md in ggml.
"""

from pathlib import Path
from struct import Struct
from typing import BinaryIO

from gpt2eval.errors import UsageError

SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # type -> bytes
STRING = 8
ARRAY = 9
SMALLEST_FIELD = 13  # bytes: the length of a key, a type, and a value of a byte
SMALLEST_TENSOR = 24  # bytes: the length of a name, no dimensions, a type and an offset
MOST_DIMENSIONS = 8
HEADER_VERSIONS = (2, 3)


def check_header(path: Path) -> None:
    """Read a header without keeping it.

    Raises:
        UsageError: If a count, a length or a tensor is larger than the file.
    """
    with path.open("rb") as file:
        _Header(file, path).check()


class _Header:
    """A header being read; every number is checked against the bytes that follow it."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._size = path.stat().st_size
        self._order = "<"

    def check(self) -> None:
        self._skip(4, "a magic number")
        version = self._number("I")
        if version & 0xFFFF == 0:
            self._order = ">"
            version = int.from_bytes(version.to_bytes(4, "little"), "big")
        if version not in HEADER_VERSIONS:
            raise self._error(f"version {version}", "version 2 or 3")
        tensors = self._count("tensors", SMALLEST_TENSOR)
        for _ in range(self._count("fields", SMALLEST_FIELD)):
            self._skip(self._number("Q"), "a key")
            self._skip_value(self._number("I"))
        for _ in range(tensors):
            self._check_tensor()

    def _check_tensor(self) -> None:
        self._skip(self._number("Q"), "a name")
        dimensions = self._number("I")
        if dimensions > MOST_DIMENSIONS:
            raise self._error(
                f"a tensor of {dimensions:,} dimensions", f"{MOST_DIMENSIONS} or fewer"
            )
        elements = 1
        for _ in range(dimensions):
            elements *= self._number("Q")
        if elements > 8 * self._size:  # no type takes less than a bit
            raise self._error(f"a tensor of {elements:,} elements", "tensors that fit the file")
        self._skip(12, "a type and an offset")

    def _skip_value(self, kind: int) -> None:
        if kind in SCALARS:
            self._skip(SCALARS[kind], "a value")
        elif kind == STRING:
            self._skip(self._number("Q"), "a string")
        elif kind == ARRAY:
            self._skip_array()
        else:
            raise self._error(f"a value of type {kind}", "a type from 0 to 12")

    def _skip_array(self) -> None:
        kind = self._number("I")
        if kind in SCALARS:
            self._skip(self._number("Q") * SCALARS[kind], "an array")
        elif kind == STRING:
            for _ in range(self._count("strings", 8)):
                self._skip(self._number("Q"), "a string")
        else:
            raise self._error(f"an array of type {kind}", "an array of numbers or strings")

    def _count(self, what: str, smallest: int) -> int:
        count = self._number("Q")
        if count * smallest > self._remaining():
            raise self._error(f"{count:,} {what}", "as many as the file has room for")
        return count

    def _number(self, code: str) -> int:
        layout = Struct(self._order + code)
        raw = self._file.read(layout.size)
        if len(raw) < layout.size:
            raise self._error(f"it ends after {self._size:,} bytes", "a complete header")
        return layout.unpack(raw)[0]

    def _skip(self, count: int, what: str) -> None:
        if count > self._remaining():
            raise self._error(f"{what} of {count:,} bytes", "lengths that fit the file")
        self._file.seek(count, 1)

    def _remaining(self) -> int:
        return self._size - self._file.tell()

    def _error(self, problem: str, expected: str) -> UsageError:
        return UsageError(f"model gguf:{self._path}: {problem} in the header; expected {expected}")
