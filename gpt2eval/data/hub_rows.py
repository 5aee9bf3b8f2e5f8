"""Some rows of a split on the Hub: which ones, in which order, read from the parquet files alone.

Knows how many rows each file has from its footer, and reads only the row groups that hold a
selected row, so a selection of a large data set needs neither its disk space nor all of its bytes.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np

from gpt2eval.config.source_schema import Rows
from gpt2eval.errors import UsageError

Positions = np.ndarray[tuple[int], np.dtype[np.int64]]
SUFFIX = ".parquet"


def positions(rows: Rows, total: int) -> Positions:
    """Return the positions of the selected rows among `total` rows, in the order of the selection.

    `last: N` selects as `split="train[-N:]"` does. `share` and `seed` select the test split of
    `Dataset.train_test_split(test_size=share, seed=seed, shuffle=True)`, in its order.

    Raises:
        UsageError: There are fewer rows than the selection takes.

    Source: `datasets.arrow_dataset.Dataset.train_test_split`, datasets 5.2.

    >>> positions(Rows(last=2), 5).tolist()
    [3, 4]
    >>> positions(Rows(share=0.3, seed=2357), 10).tolist()
    [8, 3, 0]
    """
    taken = rows.last if rows.last is not None else ceil((rows.share or 0) * total)
    least = taken if rows.last is not None else taken + 1  # a share leaves rows for the other split
    if total < least:
        raise UsageError(f"{total:,} rows; expected at least {least:,}")
    if rows.last is not None:
        return np.arange(total - taken, total, dtype=np.int64)
    return np.random.default_rng(rows.seed).permutation(total)[:taken]


def selected_rows(
    files: Sequence[str], rows: Rows, column: str | None
) -> Iterator[Mapping[str, Any]]:
    """Yield the selected rows of a split, in the order of the selection.

    Args:
        files: The split's files in order, as `hf://datasets/ID@COMMIT/PATH`.
        rows: The selection.
        column: The only column to read, or None for all.

    Raises:
        UsageError: A file is not in the parquet format, or the split has too few rows.
    """
    from huggingface_hub.utils import tqdm

    if others := [file for file in files if not file.endswith(SUFFIX)]:
        raise UsageError(f"{others[0]}: a selection of rows needs files that end in {SUFFIX}")
    sizes = _sizes(files, rows)
    files = [*files][-len(sizes) :]
    ends = np.cumsum(sizes)
    wanted = positions(rows, int(ends[-1]))
    in_order = np.sort(wanted)
    bounds = np.searchsorted(in_order, [0, *ends])
    found: dict[int, Mapping[str, Any]] = {}
    holding = [number for number in range(len(files)) if bounds[number] < bounds[number + 1]]
    for number in tqdm(holding, desc=f"{len(wanted):,} rows", unit="file"):
        start = int(ends[number - 1]) if number else 0
        here = in_order[bounds[number] : bounds[number + 1]] - start
        for place, row in _rows_at(files[number], here, column):
            found[start + place] = row
    for position in wanted.tolist():
        yield found.pop(position)


def _sizes(files: Sequence[str], rows: Rows) -> list[int]:
    """Return the number of rows of each file, from the first one that may hold a selected row."""
    sizes: list[int] = []
    for file in reversed(files):
        sizes.insert(0, _number_of_rows(file))
        if rows.last is not None and sum(sizes) >= rows.last:
            break
    return sizes


def _number_of_rows(file: str) -> int:
    """Return the number of rows of a parquet file; only its footer is read."""
    from huggingface_hub import HfFileSystem
    from pyarrow.parquet import read_metadata

    with HfFileSystem().open(file) as raw:
        return read_metadata(raw).num_rows


def _rows_at(
    file: str, places: Positions, column: str | None
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the rows of a parquet file at ascending places, with their places."""
    from huggingface_hub import HfFileSystem
    from pyarrow.parquet import ParquetFile

    with HfFileSystem().open(file) as raw:
        table = ParquetFile(raw)
        start = 0
        for group in range(table.num_row_groups):
            end = start + table.metadata.row_group(group).num_rows
            here = places[np.searchsorted(places, start) : np.searchsorted(places, end)]
            if len(here):
                rows = table.read_row_group(group, columns=column and [column])
                yield from zip(here.tolist(), rows.take(here - start).to_pylist(), strict=True)
            start = end
