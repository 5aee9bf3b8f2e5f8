"""Decompress .gz, .bz2, .xz and .zst files. Does not know what they contain."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

PIECE = 1 << 20  # bytes per read
# Exceptions of the libraries that decompress and parse, for a truncated or corrupt file.
CORRUPTION = (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError, NotImplementedError)


def _open_zstd(raw: IO[bytes]) -> IO[bytes]:
    from pyarrow import input_stream

    return BufferedReader(input_stream(raw, compression="zstd"), PIECE)


OPENERS: dict[str, Callable[[IO[bytes]], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": _open_zstd,
}
MAGIC = {".bz2": b"BZh", ".xz": b"\xfd7zXZ\0", ".zst": b"\x28\xb5\x2f\xfd"}


def is_compressed(path: Path) -> bool:
    """Return whether a file's name has the suffix of a compression format."""
    return path.suffix.lower() in OPENERS


def text_suffix(path: Path) -> str:
    """Return a file's suffix in lower case, without that of its compression.

    >>> text_suffix(Path("a.JSONL.zst")), text_suffix(Path("a.txt"))
    ('.jsonl', '.txt')
    """
    plain = path.with_suffix("") if is_compressed(path) else path
    return plain.suffix.lower()


def decompressed(raw: IO[bytes], path: Path) -> IO[bytes]:
    """Return a reader of the decompressed content; the suffix of the name gives the compression."""
    suffix = path.suffix.lower()
    return OPENERS[suffix](raw) if suffix in OPENERS else raw
