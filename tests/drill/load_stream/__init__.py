"""A long stream is scored in little memory."""

from drill.load_stream.stream import stream
from drill.part import Part

PARTS = (
    Part(
        "load: 100 MB stream",
        "One MB of a text that is scored by byte in a process of its own: 8 bits per byte, and "
        "less than 300 MB of memory over a short text.",
        full=100,
        quick=2,
        run=stream,
        is_long=True,
    ),
)
