"""Training text on disk: which files, their documents piece by piece, and about how many words there are.

A file is a document; of `.jsonl` every line's `text` is one, of `.parquet` every row's. Either but parquet may be
compressed (`.gz`, `.bz2`, `.xz`, `.zst`). Memory does not depend on a file's size, only on the longest JSON line. What
is not UTF-8 is no error. It does not know what the text is for.
"""

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from gpt2eval.data.documents import (
    DAMAGE,
    OPENERS,
    PIECE,
    _damaged,
    _form,
    _packing,
    _unpacked,
    documents,
)
from gpt2eval.overlap.ngrams import words

SAMPLED_FILES, PLACES, PLACE = 256, 16, 1 << 18
PACKED = 1 << 21  # bytes of a compressed file, of which its reader may be 128 kB ahead
SPARE = 1.1  # what a sample of a text may miss


# -- how much ------------------------------------------------------------------------------------------------------


def expected_words(paths: Sequence[Path]) -> int:
    """About how many words files have, rather too many: words per byte of samples, by form, times bytes, and a tenth.

    Of up to 256 files at even distances: small ones whole, plain ones at 16 places, compressed ones the beginning.
    """
    found: dict[tuple[str, str], list[int]] = {}
    for path in paths[:: -(-len(paths) // SAMPLED_FILES)]:
        counts = found.setdefault((_form(path), _packing(path)), [0, 0])
        for i, count in enumerate(_sample(path)):
            counts[i] += count
    everything = [sum(column) for column in zip(*found.values(), strict=True)]
    total = 0.0
    for path in paths:
        counted, size = found.get((_form(path), _packing(path)), everything)
        total += path.stat().st_size * counted / max(size, 1)
    return int(SPARE * total) + 1


def _sample(path: Path) -> tuple[int, int]:
    """Words found, and the bytes of the file that they are of."""
    size = path.stat().st_size
    try:
        with path.open("rb") as raw:
            if _packing(path) == ".parquet":
                read = 0

                def seen(at: int) -> None:
                    nonlocal read
                    read = at

                count = sum(
                    words(text)
                    for document in islice(documents(path, seen), 4096)
                    for text in document
                )
                return count, read
            if _packing(path) in (*OPENERS, ".zst"):
                with _unpacked(raw, _packing(path)) as file:
                    count = 0
                    while data := file.read(PIECE):
                        count += words(data.decode("utf-8", "replace"))
                        if raw.tell() >= PACKED:
                            return count, raw.tell()
                    return count, size
            if size <= PLACES * PLACE:
                return words(raw.read().decode("utf-8", "replace")), size
            count = 0
            for i in range(PLACES):
                raw.seek(i * (size - PLACE) // (PLACES - 1))
                count += words(raw.read(PLACE).decode("utf-8", "replace"))
            return count, PLACES * PLACE
    except DAMAGE as error:
        raise _damaged(path, error) from None


def memory() -> int:
    """Bytes of memory that may be taken: what the system says is available, or else all there is."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(
            1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")
        )
    except (OSError, StopIteration, ValueError):
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:  # a container's own limit
        most, used = (
            int((Path("/sys/fs/cgroup") / name).read_text())
            for name in ("memory.max", "memory.current")
        )
    except (OSError, ValueError):
        return free
    return min(free, max(most - used, 0))
