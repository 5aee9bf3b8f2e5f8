"""Notices: short lines that are neither data nor errors, such as "chunk 3 is corrupt and will be scored again".

The library logs them to the logger `gpt2eval` and prints nothing; the command line shows them on
stderr. This is the only module that does either.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

LOGGER = logging.getLogger("gpt2eval")
LOGGER.addHandler(logging.NullHandler())


def notify(message: str) -> None:
    """Log one line, with line breaks collapsed."""
    LOGGER.warning("%s", " ".join(message.split()))


@contextmanager
def shown_on_stderr(level: int = logging.WARNING) -> Iterator[None]:
    """Print notices of `level` and above on stderr as `gpt2eval: <message>` while the context is open."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("gpt2eval: %(message)s"))
    previous = LOGGER.level
    LOGGER.addHandler(handler)
    LOGGER.setLevel(level)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(previous)
