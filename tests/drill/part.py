"""What one part of the drill does, and what it found."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple


class Findings(NamedTuple):
    """What a part found.

    Attributes:
        cases: How many cases ran.
        failures: One line per case that failed, with what reproduces it.
        figures: Other figures worth a place in the table, such as `{"refused": "9,120"}`.
    """

    cases: int
    failures: list[str]
    figures: Mapping[str, str] = {}


class Part(NamedTuple):
    """A part of the drill.

    Attributes:
        name: Unique; its first word is the topic, as in `input: result.json`.
        what: What one case is and what is expected, in one sentence.
        full: Cases of `make drill`.
        quick: Cases in the test suite, about a second of work; 0 leaves the part out.
        run: Runs a number of cases with a seed in an empty folder. The same number and seed give
            the same cases.
        is_long: Whether it takes minutes; such parts start first, so that no processor idles at
            the end.
    """

    name: str
    what: str
    full: int
    quick: int
    run: Callable[[int, int, Path], Findings]
    is_long: bool = False
