"""Notices: short lines that are neither results nor errors.

An example is "chunk 3 is corrupt and will be scored again". The library logs notices to the logger
`gpt2eval` and prints nothing; the command line shows them on stderr. No other module does either.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from gpt2eval.errors import clean, scrub

LOGGER = logging.getLogger("gpt2eval")
LOGGER.addHandler(logging.NullHandler())


def make_printable(record: logging.LogRecord) -> bool:
    """Remove control characters and secrets from a record; a filter of `logging`."""
    record.msg = scrub(clean(record.getMessage()))
    record.args = ()
    return True


LOGGER.addFilter(make_printable)


def notify(message: str) -> None:
    """Log one line, with line breaks collapsed."""
    LOGGER.warning("%s", " ".join(message.split()))


@contextmanager
def shown_on_stderr(level: int = logging.WARNING) -> Iterator[None]:
    """Print notices on stderr as `gpt2eval: <message>` while the context is open.

    Args:
        level: The lowest level of `logging` that is printed.
    """
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
