"""Which group each document of a text belongs to: its subfolder, or the value of a column.

A grouping says how results are summed. It changes no text, no hash and no score.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt2eval.scoring.array_files import read_arrays, write_arrays
from gpt2eval.scoring.run_files import RunFiles

FOLDER = "folder"
TOP = "."  # the group of files that lie in the folder itself


class Grouping(NamedTuple):
    """The group of each record.

    Attributes:
        by: What groups the records: `folder`, or `column NAME`.
        names: The name of each record's group, in record order.

    Examples:
        >>> Grouping("column site", ("b", "a", "b")).groups()
        ('a', 'b')
    """

    by: str
    names: tuple[str, ...]

    @classmethod
    def of_column(cls, column: str, names: Sequence[str]) -> "Grouping":
        """Return the grouping by the values of a column."""
        return cls(f"column {column}", tuple(names))

    def groups(self) -> tuple[str, ...]:
        """Return the names of the groups, sorted."""
        return tuple(sorted({*self.names}))

    def first(self, records: int) -> "Grouping":
        """Return the grouping of the first records."""
        return self._replace(names=self.names[:records])

    def numbers(self) -> NDArray[np.int64]:
        """Return the number of each record's group, counted from 0 in the order of `groups`."""
        number = {name: count for count, name in enumerate(self.groups())}
        return np.array([number[name] for name in self.names], np.int64)

    def of_tallies(self, tallies: int) -> NDArray[np.int64]:
        """Return the number of each tally's group; those of a single record are its parts."""
        numbers = self.numbers()
        return np.repeat(numbers, tallies) if len(numbers) == 1 else numbers

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the fields as arrays."""
        lines = "\0".join([self.by, *self.groups()])
        return {
            "names": np.frombuffer(lines.encode(), np.uint8).copy(),
            "numbers": self.numbers(),
        }

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "Grouping | None":
        """Return the grouping of `arrays`, or None if a field is missing."""
        if not arrays.keys() >= {"names", "numbers"}:
            return None
        by, *groups = arrays["names"].tobytes().decode().split("\0")
        return cls(by, tuple(groups[number] for number in arrays["numbers"].tolist()))


def folder_group(file: Path, folder: Path) -> str:
    """Return the group of a file below a folder: the first subfolder on the way to it, or `.`.

    Bytes of a name that are not UTF-8 become escapes.

    >>> folder_group(Path("books/news/2024/a.txt"), Path("books"))
    'news'
    >>> folder_group(Path("books/b.txt"), Path("books"))
    '.'
    """
    inner = file.relative_to(folder).parts
    name = inner[0] if len(inner) > 1 else TOP
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def write_grouping(files: RunFiles, grouping: Grouping | None) -> None:
    """Keep the grouping of a finished run; None removes that of an earlier run."""
    path = files.path("groups")
    if grouping is None:
        path.unlink(missing_ok=True)
    else:
        write_arrays(path, grouping.arrays())


def read_grouping(files: RunFiles) -> Grouping | None:
    """Return the grouping that a run kept; None if it has none, or if it is corrupt."""
    arrays = read_arrays(files.path("groups"))
    return None if arrays is None else Grouping.of(arrays)
