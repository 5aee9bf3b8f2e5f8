"""Notices: short lines that are neither results nor errors.

An example is "chunk 3 is corrupt and will be scored again". An announcement is less than a notice:
it says what begins now, such as "loading model gpt2". The library logs both to the logger
`gpt2eval` and prints nothing; the command line shows them on stderr. No other module does either.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from gpt2eval.errors import clean, scrub

ANNOUNCEMENT = logging.INFO + 5  # the level of an announcement, below that of a notice
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


def announce(message: str) -> None:
    """Log one line about a step that takes long, before it begins."""
    LOGGER.log(ANNOUNCEMENT, "%s", " ".join(message.split()))


class _Stderr(logging.StreamHandler):
    """Writes to what is `sys.stderr` at the time: progress bars replace it while they are shown."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        prefix = "" if record.levelno == ANNOUNCEMENT else "gpt2eval: "
        return prefix + super().format(record)


@contextmanager
def shown_on_stderr(level: int | None = None) -> Iterator[None]:
    """Print notices on stderr as `gpt2eval: <message>` while the context is open.

    Args:
        level: The lowest level of `logging` that is printed; by default that of notices, and in a
            terminal, where somebody waits, that of announcements.
    """
    handler = _Stderr()
    if level is None:
        level = ANNOUNCEMENT if sys.stderr.isatty() else logging.WARNING
    previous = LOGGER.level
    LOGGER.addHandler(handler)
    LOGGER.setLevel(level)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(previous)
