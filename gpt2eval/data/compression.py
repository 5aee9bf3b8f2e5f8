"""Decompress gzip, bzip2, xz and zstd, recognised by content and checked to the end.

Does not know what the files contain.
"""

import bz2
import gzip
import io
import lzma
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

from gpt2eval.data.limits import PIECE

HEAD = 512  # bytes that identify a compression, an archive or another form
XZ_MEMORY = 256 << 20  # bytes; a dictionary of 128 MiB, twice that of xz -9, fits
# What the libraries that decompress and parse raise for a truncated or corrupt file.
CORRUPTION = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
)
SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
MAGIC = {
    "gzip": rb"\x1f\x8b",
    "bzip2": rb"BZh[1-9](?:1AY&SY|\x17\x72\x45\x38\x50\x90)",
    "xz": rb"\xfd7zXZ\x00",
    "zstd": rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18",  # the second begins a skippable frame
}


class _Streams(io.RawIOBase):
    """The content of one compressed stream after another, each checked to its end.

    The readers of bz2 and lzma take anything after the first stream for garbage that may be
    ignored, and so lose the rest of a damaged file in silence.
    """

    def __init__(
        self, raw: IO[bytes], new: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor]
    ) -> None:
        self._raw = raw
        self._new = new
        self._stream = new()

    def readable(self) -> bool:
        return True

    # pyright: ignore because typeshed lets a buffer be more than a memoryview
    def readinto(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, buffer: memoryview, /
    ) -> int:
        content = b""
        while not content:
            compressed = b""
            if self._stream.eof:
                compressed = self._next_stream()
                if not compressed:
                    return 0
                self._stream = self._new()
            elif self._stream.needs_input:
                compressed = self._raw.read(PIECE)
                if not compressed:
                    raise EOFError("the compressed stream has no end")
            content = self._stream.decompress(compressed, len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def _next_stream(self) -> bytes:
        """Return the first bytes of the next stream after zeros, which pad a stream."""
        rest = self._stream.unused_data.lstrip(b"\0")
        while not rest and (piece := self._raw.read(PIECE)):
            rest = piece.lstrip(b"\0")
        return rest


def _open_xz(raw: IO[bytes]) -> IO[bytes]:
    def new() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)

    return io.BufferedReader(_Streams(raw, new), PIECE)


def _open_zstd(raw: IO[bytes]) -> IO[bytes]:
    from pyarrow import input_stream

    return io.BufferedReader(input_stream(raw, compression="zstd"), PIECE)


OPENERS: dict[str, Callable[[IO[bytes]], IO[bytes]]] = {
    "gzip": lambda raw: io.BufferedReader(gzip.GzipFile(fileobj=raw), PIECE),
    "bzip2": lambda raw: io.BufferedReader(_Streams(raw, bz2.BZ2Decompressor), PIECE),
    "xz": _open_xz,
    "zstd": _open_zstd,
}


def compression_of(head: bytes) -> str:
    r"""Return the compression of a file by its first bytes: a key of `MAGIC`, or "".

    >>> compression_of(b"\x1f\x8b\x08"), compression_of(b"BZh is not enough")
    ('gzip', '')
    """
    return next((name for name, magic in MAGIC.items() if re.match(magic, head, re.DOTALL)), "")


def text_suffix(path: Path) -> str:
    """Return a file's suffix in lower case, without that of its compression.

    >>> text_suffix(Path("a.JSONL.zst")), text_suffix(Path("a.txt"))
    ('.jsonl', '.txt')
    """
    plain = path.with_suffix("") if path.suffix.lower() in SUFFIXES else path
    return plain.suffix.lower()


def decompressed(raw: IO[bytes]) -> IO[bytes]:
    """Return a reader of a seekable file's decompressed content; of a plain file, the file."""
    position = raw.tell()
    name = compression_of(raw.read(HEAD))
    raw.seek(position)
    return OPENERS[name](raw) if name else raw
