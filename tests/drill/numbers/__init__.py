"""Values that are not numbers, in every engine."""

from drill.numbers.extremes import PART

PARTS = (PART,)

__all__ = ["PARTS"]
