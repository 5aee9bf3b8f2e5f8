"""Read files of token ids: the shards of llm.c and modded-nanogpt, and plain numbers.

A shard begins with 256 integers of 32 bits, of which the first three are a magic number, a version
and the number of tokens. Source: `write_datafile` in dev/data/data_common.py of karpathy/llm.c.
nanoGPT's `train.bin` and `val.bin` are numbers without a header.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gpt2eval.errors import UsageError

HEADER = 256  # integers of 32 bits
# The type of a shard's tokens, by magic number and version.
SHARDS: Mapping[tuple[int, int], np.dtype] = {
    (20240520, 1): np.dtype("<u2"),  # GPT-2's
    (20240801, 7): np.dtype("<u4"),  # LLaMA 3's
}
# Forms without a header, which the name of the place states: `uint16:val.bin`.
PLAIN: Mapping[str, np.dtype] = {"uint16": np.dtype("<u2"), "uint32": np.dtype("<u4")}
EXPECTED = (
    "a shard of llm.c or modded-nanogpt (magic 20240520, version 1, or 20240801, version 7), or "
    "uint16:FILE for numbers without a header, such as nanoGPT's val.bin"
)


@dataclass(frozen=True, slots=True)
class TokenShard:
    """The tokens of a file: the first ones, how many the file holds, and its SHA-256."""

    name: str
    form: str
    sha256: str
    held: int
    ids: NDArray[np.int32]

    @property
    def is_cut(self) -> bool:
        """Whether the file holds more tokens than these."""
        return len(self.ids) < self.held


def read_shard(place: str, most: int) -> TokenShard:
    """Read the first `most` tokens of a file of token ids.

    Args:
        place: `FILE` with a header, or `uint16:FILE` or `uint32:FILE` without one.
        most: The most tokens to read.

    Raises:
        UsageError: The file does not exist, is no such file or is truncated, or a number in it is
            no token id.
    """
    kind, colon, rest = place.partition(":")
    plain = PLAIN.get(kind) if colon else None
    path = Path(rest if plain else place)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header = file.read(4 * HEADER)
            file.seek(0)
            digest = file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"--tokens {place}: {error.strerror}; expected {EXPECTED}") from None
    if plain:
        dtype, offset, held = plain, 0, _plain_count(place, header, size, plain)
    else:
        dtype, held = _header(place, header, size)
        offset = 4 * HEADER
    if not held:
        raise UsageError(f"--tokens {place}: no token; expected at least two")
    ids = np.fromfile(path, dtype, min(most, held), offset=offset)
    if ids.max() > np.iinfo(np.int32).max:
        at = int(np.argmax(ids > np.iinfo(np.int32).max))
        raise UsageError(f"--tokens {place}: token {at:,} is {ids[at]:,}; expected a token id")
    form = f"{dtype.name}{'' if plain else ' shard'}"
    return TokenShard(path.name, form, digest, held, ids.astype(np.int32))


def _header(place: str, header: bytes, size: int) -> tuple[np.dtype, int]:
    """Return the type and number of a shard's tokens."""
    if len(header) < 4 * HEADER:
        raise UsageError(f"--tokens {place}: {size:,} bytes, no header; expected {EXPECTED}")
    magic, version, count = (int(number) for number in np.frombuffer(header, "<i4", 3))
    dtype = SHARDS.get((magic, version))
    if dtype is None:
        raise UsageError(f"--tokens {place}: magic {magic}, version {version}; expected {EXPECTED}")
    rest = size - 4 * HEADER
    held, odd = divmod(rest, dtype.itemsize)
    if count != held or odd:
        extra = f" and {odd} more bytes" if odd else ""
        problem = "truncated?" if held < count else "appended to?"
        raise UsageError(
            f"--tokens {place}: its header counts {count:,} tokens, and it holds {held:,}{extra}; "
            f"{problem}"
        )
    return dtype, count


def _plain_count(place: str, header: bytes, size: int, dtype: np.dtype) -> int:
    """Return the number of tokens in a file without a header."""
    first = np.frombuffer(header, "<i4", 2).tolist() if len(header) >= 8 else []
    if tuple(first) in SHARDS:
        raise UsageError(
            f"--tokens {place}: has the header of a shard; expected {place.partition(':')[2]} alone"
        )
    held, odd = divmod(size, dtype.itemsize)
    if odd:
        raise UsageError(
            f"--tokens {place}: {size:,} bytes; expected a multiple of {dtype.itemsize}"
        )
    return held
