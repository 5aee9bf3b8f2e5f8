"""The output of a command, with text from files and servers made harmless to a terminal.

Results may quote records, file names and a server's errors. A terminal would obey the escape
sequences in them: change colours, rewrite earlier lines, or set its title.
"""

import io
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TextIO

# Control characters except tab and line feed, and the characters that reorder text from left to
# right: a terminal obeys both.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def escape_control(text: str) -> str:
    r"""Return a text in which control characters are visible escapes.

    Keeps lines, tabs, and the invisible characters of ordinary text, such as joiners in emoji; a
    table cell keeps none of these (`report.escape.visible`).

    >>> escape_control("\x1b[2J gone?")
    '\\x1b[2J gone?'
    """
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class CleanStream(io.TextIOBase):
    """A text stream that writes to another one after `escape_control`.

    Characters that the other stream cannot encode are written as escapes too, such as the bytes
    of a file name that is not UTF-8.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute in TextIOBase
        """Return the encoding of the other stream."""
        return self.stream.encoding or "utf-8"

    def write(self, text: str, /) -> int:
        """Write a text without control characters."""
        encodable = escape_control(text).encode(self.encoding, "backslashreplace")
        self.stream.write(encodable.decode(self.encoding))
        return len(text)

    def flush(self) -> None:
        """Flush the other stream."""
        self.stream.flush()

    def isatty(self) -> bool:
        """Return whether the other stream is a terminal."""
        return self.stream.isatty()

    def fileno(self) -> int:
        """Return the file descriptor of the other stream."""
        return self.stream.fileno()

    def writable(self) -> bool:
        """Return True."""
        return True


@contextmanager
def clean_stdout() -> Iterator[None]:
    """Clean everything that is printed on stdout while the context is open."""
    with redirect_stdout(CleanStream(sys.stdout)):
        yield


def print_styled(text: str) -> None:
    """Print a text with styles of our own; its parts must be clean."""
    stream = sys.stdout.stream if isinstance(sys.stdout, CleanStream) else sys.stdout
    print(text, file=stream)
