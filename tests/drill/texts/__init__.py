"""Text: round trips of every detokenizer, edges in every data format, backtracking of patterns."""

from drill.part import Part
from drill.texts import backtracking, edges, round_trips

PARTS = (
    Part(
        "text: round trips",
        "a line of a scheme's own tokens is restored, alone and in a text, in the quick and the "
        "naive way; cases count all schemes",
        200_000,
        25,
        round_trips.run,
        is_long=True,
    ),
    Part(
        "text: backtracking",
        "an expression of a detokenizer or of the package takes linear time on an adversarial text",
        30_000,
        306,
        backtracking.run,
    ),
    Part(
        "text: edges",
        "a form of text keeps the bytes and units of an edge, or refuses it in one line",
        5_000,
        84,
        edges.run,
    ),
)
