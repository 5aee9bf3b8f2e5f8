"""Write tables of any length to CSV, JSON lines or Parquet, some rows at a time.

The file appears when it is complete. Does not know what the rows are.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

import numpy as np

from gpt2eval.errors import UsageError
from gpt2eval.files import temporary_beside
from gpt2eval.report.escape import csv_cell, json_text
from gpt2eval.report.strict_json import finite

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

ROWS = 1 << 16  # written at a time
# The values of a column: numbers or flags as an array, texts as a list, or one text for all rows.
Column = np.ndarray | Sequence[str | None] | str
Columns = Mapping[str, Column]


class RowFile(Protocol):
    """An open table."""

    def write(self, columns: Columns) -> None:
        """Append rows, given as columns of equal length; the first call decides their names."""
        ...


def check_suffix(path: Path, option: str) -> None:
    """Raise UsageError unless a table of this name can be written."""
    if path.suffix not in FORMATS:
        raise UsageError(f"{option} {path}: expected a name that ends in {', '.join(FORMATS)}")


@contextmanager
def row_file(path: Path) -> Iterator[RowFile]:
    """Yield a table that is written to a file whose suffix says its format.

    An error inside leaves what was there before.

    Raises:
        UsageError: The suffix is unknown, or the file cannot be written.
    """
    check_suffix(path, "file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary_beside(path) as temporary, FORMATS[path.suffix](temporary) as table:
            yield table
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror or error}") from None


@contextmanager
def _csv_file(path: Path) -> Iterator[RowFile]:
    with path.open("w", encoding="utf-8", newline="") as file:
        yield _CsvRows(file)


@contextmanager
def _json_file(path: Path) -> Iterator[RowFile]:
    with path.open("w", encoding="utf-8") as file:
        yield _JsonRows(file)


@contextmanager
def _parquet_file(path: Path) -> Iterator[RowFile]:
    rows = _ParquetRows(path)
    try:
        yield rows
    finally:
        rows.close()


FORMATS = {".csv": _csv_file, ".jsonl": _json_file, ".parquet": _parquet_file}


class _CsvRows:
    """Cells in full precision; text is visible, and never a formula."""

    def __init__(self, file: IO[str]) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        self._has_head = False

    def write(self, columns: Columns) -> None:
        if not self._has_head:
            self._writer.writerow(map(csv_cell, columns))
            self._has_head = True
        safe = {name: _safe(column) for name, column in columns.items()}
        self._writer.writerows(zip(*_lists(safe), strict=True))


class _JsonRows:
    """An object per line; numbers in full precision, unseen characters as escapes."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, columns: Columns) -> None:
        for row in zip(*_lists(columns), strict=True):
            line = json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False)
            self._file.write(json_text(line) + "\n")


class _ParquetRows:
    """Columns of the arrays' own types; a text that is the same in many rows is stored once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: ParquetWriter | None = None

    def write(self, columns: Columns) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        count = row_count(columns)
        arrays = {name: _arrow(column, count) for name, column in columns.items()}
        table = pa.table(arrays)
        if self._writer is None:
            self._writer = parquet.ParquetWriter(self._path, table.schema, compression="zstd")
        self._writer.write_table(table)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _arrow(column: Column, count: int) -> "pa.Array":
    import pyarrow as pa

    if isinstance(column, str):
        return pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), [column])
    if isinstance(column, np.ndarray):
        missing = np.isnan(column) if column.dtype.kind == "f" else None
        return pa.array(column, mask=missing)
    return pa.array(column, pa.string())


def _safe(column: Column) -> Column:
    """Return a column whose texts are cells of a CSV file."""
    if isinstance(column, np.ndarray):
        return column
    if isinstance(column, str):
        return str(csv_cell(column))
    return [text if text is None else str(csv_cell(text)) for text in column]


def _lists(columns: Columns) -> list[list[object]]:
    """Return the columns as lists of Python values; a number that is not finite is None."""
    count = row_count(columns)
    lists: list[list[object]] = []
    for column in columns.values():
        if isinstance(column, str):
            lists.append([column] * count)
        elif isinstance(column, np.ndarray):
            values = column.tolist()
            is_odd = column.dtype.kind == "f" and not np.isfinite(column).all()
            lists.append([finite(value) for value in values] if is_odd else values)
        else:
            lists.append([*column])
    return lists


def merged(batches: Iterable[Columns], rows: int = ROWS) -> Iterator[Columns]:
    """Yield batches of about `rows` rows or more, made of smaller ones that follow each other."""
    waiting: list[Columns] = []
    count = 0
    for columns in batches:
        waiting.append(columns)
        count += row_count(columns)
        if count >= rows:
            yield _joined(waiting)
            waiting, count = [], 0
    if waiting:
        yield _joined(waiting)


def _joined(batches: Sequence[Columns]) -> Columns:
    return {name: _joined_column([columns[name] for columns in batches]) for name in batches[0]}


def _joined_column(columns: Sequence[Column]) -> Column:
    if isinstance(columns[0], str):
        return columns[0]
    if isinstance(columns[0], np.ndarray):
        return np.concatenate([np.asarray(column) for column in columns])
    return [text for column in columns for text in column]


def row_count(columns: Columns) -> int:
    """Return the number of rows; at least one column has a value for each."""
    return next(len(column) for column in columns.values() if not isinstance(column, str))
