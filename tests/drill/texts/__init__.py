"""Text: round trips of every detokenizer, edges in every data format, backtracking of patterns."""

from drill.part import Part
from drill.texts import round_trips

PARTS = (
    Part(
        "text: round trips",
        "a line of a scheme's own tokens is restored, alone and in a text, in the quick and the "
        "naive way; cases count all schemes",
        200_000,
        25,
        round_trips.run,
    ),
)
