"""Arrays of any length in little memory: long ones lie in temporary files.

The files have no names, so nothing stays of them, however the process ends. The pages of a file
that were read or written count as memory of the process until `release` gives them back.
"""

import mmap
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryFile, gettempdir
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gpt2eval.errors import UsageError

LONG = 1 << 24  # bytes from which an array lies in a file
AT_ONCE = 4  # values that are searched for before memory is given back
BLOCK = 1 << 19  # elements of a long array that are worked on at once


def zeros(length: int, dtype: DTypeLike) -> NDArray[Any]:
    """Return an array of zeros.

    Raises:
        UsageError: It is long, and the folder for temporary files has no room for it.
    """
    size = int(length) * np.dtype(dtype).itemsize
    if size < LONG:
        return np.zeros(length, dtype)
    with _room(size), TemporaryFile() as file:
        if hasattr(os, "posix_fallocate"):  # a full disk is found here, not when a page is written
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)
        return np.frombuffer(mmap.mmap(file.fileno(), size), dtype)


class Growing:
    """An array that grows at its end."""

    def __init__(self, dtype: DTypeLike) -> None:
        self._dtype = np.dtype(dtype)
        self._waiting: list[NDArray[Any]] = []
        self._size = 0
        self._file = None

    def append(self, values: NDArray[Any]) -> None:
        """Add values; raises UsageError if the folder for temporary files has no room for them."""
        self._waiting.append(np.asarray(values, self._dtype))
        self._size += self._waiting[-1].nbytes
        if self._size >= LONG:
            self._write()

    def array(self) -> NDArray[Any]:
        """Return the array, which then grows no more."""
        if self._file is None:
            return np.concatenate([np.zeros(0, self._dtype), *self._waiting])
        self._write()
        with self._file as file:
            file.flush()
            return np.frombuffer(mmap.mmap(file.fileno(), self._size), self._dtype)

    def _write(self) -> None:
        with _room(self._size):
            self._file = self._file or TemporaryFile()  # noqa: SIM115 -- `array` closes it
            for values in self._waiting:
                self._file.write(np.ascontiguousarray(values).data)
        self._waiting = []


@contextmanager
def _room(size: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{gettempdir()}: {error.strerror}: {size:,} bytes of temporary files do not fit; "
            "expected more room, or another folder in TMPDIR"
        ) from None


def joined(arrays: Sequence[NDArray[Any]], dtype: DTypeLike) -> NDArray[Any]:
    """Return arrays as one."""
    whole = zeros(sum(map(len, arrays)), dtype)
    first = 0
    for array in arrays:
        for place in blocks(range(len(array))):
            whole[first + place.start : first + place.stop] = array[place]
            release(files_of([whole, array]))
        first += len(array)
    return whole


def blocks(elements: range) -> Iterator[slice]:
    """Yield the places of successive elements, some of them at a time."""
    for first in range(elements.start, elements.stop, BLOCK):
        yield slice(first, min(first + BLOCK, elements.stop))


def search(increasing: NDArray[Any], values: Sequence[int], side: Any) -> NDArray[np.int64]:
    """Search as `numpy.searchsorted` does, without a copy of the array in another type."""
    wanted = np.asarray(values, increasing.dtype)
    files = files_of([increasing]) if len(increasing) >= BLOCK else []  # not for each short text
    if not files:
        return np.searchsorted(increasing, wanted, side)
    found = np.zeros(len(wanted), np.int64)
    for first in range(0, len(wanted), AT_ONCE):
        some = slice(first, first + AT_ONCE)
        found[some] = np.searchsorted(increasing, wanted[some], side)
        release(files)
    return found


def files_of(arrays: Iterable[NDArray[Any]]) -> list[mmap.mmap]:
    """Return the files in which some of the arrays lie, each once."""
    files: dict[int, mmap.mmap] = {}
    for array in arrays:
        base: Any = array
        while isinstance(base, np.ndarray):
            base = base.base
        base = base.obj if isinstance(base, memoryview) else base
        if isinstance(base, mmap.mmap):
            files[id(base)] = base
    return [*files.values()]


def release(files: Iterable[mmap.mmap]) -> None:
    """Give the memory of files back; their content stays, and is read again where it is needed."""
    for file in files:
        if hasattr(mmap, "MADV_DONTNEED"):
            file.madvise(mmap.MADV_DONTNEED)
