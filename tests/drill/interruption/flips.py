"""Files with one changed bit or byte, and the notices of the product about them."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from gpt2eval.notices import LOGGER

BITS = 8


def flipped(content: bytes, bit: int) -> bytes:
    """Return a content with one bit changed."""
    place = bit // BITS
    changed = bytes([content[place] ^ 1 << bit % BITS])
    return content[:place] + changed + content[place + 1 :]


def chosen_bits(content: bytes, cases: int, random: Random) -> list[int]:
    """Return the numbers of all bits, or of as many as there are cases."""
    every = range(len(content) * BITS)
    return [*every] if cases >= len(every) else sorted(random.sample(every, cases))


def flip(path: Path, random: Random, first: int = 0) -> str:
    """Change one bit of a file, behind its first bytes; return which for a message."""
    content = path.read_bytes()
    bit = random.randrange(min(first, len(content) - 1) * BITS, len(content) * BITS)
    path.write_bytes(flipped(content, bit))
    return f"bit {bit} of {path.name}"


class _Kept(logging.Handler):
    """Keeps notices instead of printing them."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def notices() -> Iterator[list[str]]:
    """Collect the notices inside the context."""
    handler = _Kept()
    LOGGER.addHandler(handler)
    propagates = LOGGER.propagate
    LOGGER.propagate = False
    try:
        yield handler.lines
    finally:
        LOGGER.propagate = propagates
        LOGGER.removeHandler(handler)
