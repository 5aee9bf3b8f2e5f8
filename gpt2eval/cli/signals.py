"""End a command in order when a signal asks for it: Ctrl-C, `kill`, or a closed terminal.

The exit status is 128 plus the signal's number, as shells report it. Imports only what starts fast.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Windows has no SIGHUP.
STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Received:
    """The signal that asked the command to end; its number is 0 before it came."""

    def __init__(self) -> None:
        self.number = 0

    @property
    def status(self) -> int:
        """The exit status of an interrupted command."""
        return 128 + (self.number or signal.SIGINT)

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Raise KeyboardInterrupt; a second signal ends the process at once."""
        self.number = number
        for other in STOPS:
            signal.signal(other, signal.SIG_DFL)
        raise KeyboardInterrupt


def die_of_interrupts() -> None:
    """Let Ctrl-C end the process without a traceback, until `caught` is entered."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def caught() -> Iterator[Received]:
    """Raise KeyboardInterrupt inside the context when a signal asks the command to end.

    A signal that the process ignores, as under `nohup`, stays ignored. Outside the main thread,
    where Python takes no signals, nothing changes.
    """
    received = Received()
    defaults = (signal.SIG_DFL, signal.default_int_handler)
    previous = {
        number: signal.getsignal(number) for number in STOPS if signal.getsignal(number) in defaults
    }
    try:
        for number in previous:
            signal.signal(number, received.stop)
    except ValueError:  # not the main thread
        previous = {}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
