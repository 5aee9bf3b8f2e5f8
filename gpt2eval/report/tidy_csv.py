"""The file `results.csv` of an output folder: the rows of all results below it.

Each result.json is read again only if it has changed, so the cost of a task does not depend on the
number of results in the folder.
"""

from pathlib import Path
from typing import NamedTuple

from gpt2eval.files import write_atomic
from gpt2eval.report import store, tidy


class Stamp(NamedTuple):
    """Modification time in nanoseconds, and size, of a file."""

    modified: int
    size: int


class TidyCsv:
    """The rows of all results below a folder, by file."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._stamps: dict[Path, Stamp] = {}
        self._rows: dict[Path, list[tidy.Row]] = {}

    def update(self) -> None:
        """Read new and changed results, including those of other workers, and rewrite the file."""
        paths = store.paths_below(self._out)
        for path in paths:
            status = path.stat()
            stamp = Stamp(status.st_mtime_ns, status.st_size)
            if self._stamps.get(path) != stamp:
                result = store.read_or_notify(path)
                self._rows[path] = tidy.tidy_rows(result) if result else []
                self._stamps[path] = stamp
        rows = [row for path in paths for row in self._rows[path]]
        write_atomic(self._out / "results.csv", tidy.to_csv(rows))
