"""Read a GGUF file's header once, for this package and for transformers.

The package gguf makes views of the mapped file for each entry of an array, which takes 11 CPU
seconds for a vocabulary of 262,144 tokens. transformers reads a file anew for a config, for a
tokenizer and for weights.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from struct import unpack_from
from typing import Any

import gguf
import numpy as np
from gguf import GGUFReader, GGUFValueType


@contextmanager
def lent(reader: "Reader", path: Path) -> Iterator[None]:
    """Let transformers use a reader, instead of its own, for a file while the context is open."""

    def open_reader(place: Any, *args: Any, **kwargs: Any) -> GGUFReader:
        same = not args and not kwargs and Path(place).resolve() == path.resolve()
        return reader if same else original(place, *args, **kwargs)

    original = gguf.GGUFReader
    gguf.GGUFReader = open_reader  # transformers takes it from there for each reading
    try:
        yield
    finally:
        gguf.GGUFReader = original


class Reader(GGUFReader):
    """gguf's reader, fast on long arrays.

    The parts of an array's field are its type, its length and its entries, and `data` are the
    indices of the entries, as in the base class. The base class keeps a string's length as a part,
    too, which nothing reads.
    """

    def _get_field_parts(
        self, orig_offs: int, raw_type: int
    ) -> tuple[int, list[Any], list[int], list[GGUFValueType]]:
        if raw_type != GGUFValueType.ARRAY:
            return super()._get_field_parts(orig_offs, raw_type)
        raw = self.data.view(np.ndarray)  # a slice of a memmap takes much longer
        kind = self._get(orig_offs, np.uint32)
        count = self._get(orig_offs + 4, np.uint64)
        start = orig_offs + 12
        entry = GGUFValueType(kind[0])
        if not count[0] or entry not in (GGUFValueType.STRING, *self.gguf_scalar_to_np):
            return super()._get_field_parts(orig_offs, raw_type)
        if entry == GGUFValueType.STRING:
            is_little = (self.byte_order == "I") == (sys.byteorder == "little")
            entries = list(_strings(raw, start, int(count[0]), "<Q" if is_little else ">Q"))
            size = sum(map(len, entries)) + 8 * len(entries)
        else:
            values = self._get(start, self.gguf_scalar_to_np[entry], int(count[0]))
            entries = list(values.view(np.ndarray).reshape(-1, 1))
            size = values.nbytes
        indices = list(range(2, 2 + len(entries)))
        return 12 + size, [kind, count, *entries], indices, [GGUFValueType(raw_type), entry]


def _strings(raw: Any, start: int, count: int, length_format: str) -> Iterator[Any]:
    """Yield the bytes of strings that lie end to end, each after its length."""
    for _ in range(count):
        (length,) = unpack_from(length_format, raw, start)
        stop = start + 8 + length
        yield raw[start + 8 : stop]
        start = stop
