"""Estimate from samples how many words training files have, to size a filter beforehand."""

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

from gpt2eval.data.archives import unreadable
from gpt2eval.data.compression import (
    CORRUPTION,
    HEAD,
    PIECE,
    compression_of,
    decompressed,
    text_suffix,
)
from gpt2eval.data.documents import Location, stream_documents
from gpt2eval.data.limits import FLOOR
from gpt2eval.overlap.ngrams import count_words

SAMPLED_FILES = 256
SAMPLES = 16  # of a large plain file
SAMPLE_BYTES = 1 << 18  # of such a sample
SAMPLED_BYTES = 1 << 21  # of a compressed file, whose reader may be 128 kB ahead
SAMPLED_DOCUMENTS = 4096  # of a parquet file
MARGIN = 1.1  # for sampling error


class _Sample(NamedTuple):
    """The words of a sample, and the bytes of the file that the sample covers."""

    words: int
    bytes: int


def expected_words(files: Sequence[Location]) -> int:
    """Estimate how many words files have, with a margin of 10 %.

    Multiplies the size of each file by the words per byte in samples of its kind. Samples up to 256
    evenly spaced files: small ones completely, large plain ones at 16 places, compressed ones at
    their beginning.
    """
    samples: dict[tuple[str, ...], _Sample] = {}
    for file in files[:: -(-len(files) // SAMPLED_FILES)]:  # rounded up: at most SAMPLED_FILES
        previous = samples.setdefault(_kind(file), _Sample(0, 0))
        sample = _sample(file)
        samples[_kind(file)] = _Sample(previous.words + sample.words, previous.bytes + sample.bytes)
    overall = _Sample(
        sum(sample.words for sample in samples.values()),
        sum(sample.bytes for sample in samples.values()),
    )
    total = 0.0
    for file in files:
        words, size = samples.get(_kind(file), overall)
        total += file.path.stat().st_size * words / max(size, 1)
    return int(MARGIN * total) + 1


def _kind(file: Location) -> tuple[str, ...]:
    """Return the properties that files share if a sample of one represents the others."""
    return file.form, text_suffix(file.path), file.path.suffix.lower()


def _sample(file: Location) -> _Sample:
    path = file.path
    size = path.stat().st_size
    if file.form == "parquet":
        return _sample_parquet(file)
    try:
        with path.open("rb") as raw:
            is_compressed = bool(compression_of(raw.read(HEAD)))
            raw.seek(0)
            if is_compressed:
                return _sample_compressed(raw, size)
            if size <= SAMPLES * SAMPLE_BYTES:
                return _Sample(_count(raw.read()), size)
            words = 0
            for i in range(SAMPLES):
                raw.seek(i * (size - SAMPLE_BYTES) // (SAMPLES - 1))
                words += _count(raw.read(SAMPLE_BYTES))
            return _Sample(words, SAMPLES * SAMPLE_BYTES)
    except CORRUPTION as error:
        raise unreadable(path, error) from None


def _sample_parquet(file: Location) -> _Sample:
    position = 0

    def on_read(bytes_read: int) -> None:
        nonlocal position
        position = bytes_read

    documents = islice(stream_documents(file, on_read), SAMPLED_DOCUMENTS)
    words = sum(count_words(piece) for document in documents for piece in document)
    return _Sample(words, position)


def _sample_compressed(raw: BinaryIO, size: int) -> _Sample:
    words = count = 0
    with decompressed(raw) as content:
        while data := content.read(PIECE):
            words += _count(data)
            count += len(data)
            if raw.tell() >= SAMPLED_BYTES or count >= FLOOR:
                return _Sample(words, raw.tell())
    return _Sample(words, size)


def _count(data: bytes) -> int:
    return count_words(data.decode("utf-8", "replace"))


def available_memory() -> int:
    """Return the available memory in bytes, or the total if the system does not report it."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(
            1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")
        )
    except (OSError, StopIteration, ValueError):
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    control_group = Path("/sys/fs/cgroup")  # the limit of a container
    try:
        limit = int((control_group / "memory.max").read_text())
        used = int((control_group / "memory.current").read_text())
    except (OSError, ValueError):
        return free
    return min(free, max(limit - used, 0))
