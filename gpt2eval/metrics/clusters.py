"""What an interval takes to be independent: records, articles of a text, or blocks of it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt2eval.types import Scored, Tally


class Clusters(NamedTuple):
    """What an interval takes to be independent.

    Attributes:
        name: What it is, in the singular: `record`, `document`, `article`.
        numbers: Non-decreasing number of each tally's cluster; None if each tally is its own.
        serial: Whether the tallies are parts of one text without clusters, so that blocks of them
            are resampled; None if that is unknown.
    """

    name: str
    numbers: NDArray[np.int64] | None = None
    serial: bool | None = False

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the fields as arrays."""
        serial = {None: [], True: [1], False: [0]}[self.serial]
        numbers = [] if self.numbers is None else self.numbers
        return {
            "name": np.frombuffer(self.name.encode(), np.uint8).copy(),
            "numbers": np.array(numbers, np.int64),
            "serial": np.array(serial, np.int64),
        }

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "Clusters | None":
        """Return the clusters of `arrays`, or None if a field is missing."""
        if not arrays.keys() >= {"name", "numbers", "serial"}:
            return None
        numbers, serial = arrays["numbers"], arrays["serial"]
        return cls(
            arrays["name"].tobytes().decode(),
            numbers if len(numbers) else None,
            bool(serial[0]) if len(serial) else None,
        )


def clusters(
    scored: Sequence[Scored],
    parts: Sequence[Tally],
    record: str = "record",
    *,
    joined: bool = False,
) -> Clusters:
    """Return the clusters of a task's tallies: its records, or a single text's articles.

    `record` is the name of a record. `joined`: the parts of the text are records.
    """
    if not is_stream(parts):
        return Clusters(record)
    passage = next(s.passage for s in scored if s.passage.right)
    if not passage.articles:
        if joined:
            return Clusters(record, np.arange(len(parts)), serial=None)
        return Clusters(record, serial=True)
    begins = np.isin(np.arange(len(parts)), passage.articles)
    return Clusters("article", np.cumsum(begins).astype(np.int64))


def is_stream(parts: Sequence[Tally]) -> bool:
    """Return whether tallies are the parts of a single text."""
    return len(parts) > 1 and sum(part.records for part in parts) == 1


def block_name(by: Clusters, parts: Sequence[Tally], blocks: int) -> str:
    """Return the name of one of the blocks that a text or its clusters are cut into.

    >>> block_name(Clusters("record", serial=None), [Tally(records=1)] * 400, 80)
    'block of 5 records'
    """
    name, number = by.name, len(parts)
    if by.numbers is not None:
        number = len(np.unique(by.numbers))
    elif by.serial:
        lines = sum(part.units.lines for part in parts)
        chars = sum(part.units.chars for part in parts)
        wholes = {"line": lines, "character": chars, "part": number}
        name, number = next((key, whole) for key, whole in wholes.items() if whole)
    each = max(round(number / blocks), 1)
    return f"block of {each} {name}{'' if each == 1 else 's'}"


def counted(number: int, name: str) -> str:
    """Return a number of independent units with their name.

    >>> counted(1, "article"), counted(36, "block of 12 lines")
    ('1 article', '36 blocks of 12 lines')
    """
    first, space, rest = name.partition(" ")
    return f"{number:,} {first}{'' if number == 1 else 's'}{space}{rest}"
