"""Read the rows of parquet files one at a time, in memory that a small file cannot inflate."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from gpt2eval.data import pages
from gpt2eval.data.archives import unreadable
from gpt2eval.data.compression import CORRUPTION, PIECE
from gpt2eval.data.formats import group_name, value_of
from gpt2eval.data.limits import too_large
from gpt2eval.errors import UsageError

PARQUET_MAGIC = b"PAR1"
ROWS = 1024  # of a batch
NESTED_ROWS = 32  # of a batch of columns inside others
BYTES_PER_ROW = 64  # a file may have one row for this many bytes of its limit
EXPANDED = 16 * PIECE  # bytes of rows that are expanded at a time

OnRead = Callable[[int], None]


def texts(
    source: Path,
    column: str,
    limit: int,
    on_read: OnRead = lambda position: None,
    *,
    skip_empty: bool = False,
) -> Iterator[str]:
    """Yield the texts of a parquet column; a dotted name leads into a struct.

    Raises UsageError, with the row, for a value that is not text.
    """
    try:
        for number, row in enumerate(rows(source, [column], limit, source, on_read), 1):
            text = value_of(row, column)
            if skip_empty and not text and isinstance(text, str | None):
                continue
            yield _text(text, column, f"{source}: row {number}")
    except (KeyError, TypeError):
        raise UsageError(f"{source}: expected text in column {column}, found none") from None


def grouped_texts(source: Path, column: str, group: str, limit: int) -> Iterator[tuple[str, str]]:
    """Yield the texts of a parquet column, each with the group that the column `group` states.

    Raises UsageError, with the row, for a value that is not text, or that names no group.
    """
    columns = [*dict.fromkeys([column, group])]
    try:
        for number, row in enumerate(rows(source, columns, limit, source), 1):
            origin = f"{source}: row {number}"
            text = _text(value_of(row, column), column, origin)
            yield text, group_name(value_of(row, group), group, origin)
    except (KeyError, TypeError):
        raise UsageError(
            f"{source}: expected text in column {column} and a group in column {group}, found none"
        ) from None


def _text(value: object, column: str, origin: str) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{origin}: expected text in column {column}, found {value!r:.40}")
    return value


def rows(
    source: Path | bytes,
    columns: Sequence[str],
    limit: int,
    origin: Path | str,
    on_read: OnRead = lambda position: None,
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a parquet file, with the given columns only.

    Args:
        source: The file, or its content.
        columns: Columns, or dotted paths into them.
        limit: The most bytes of text, and of decompressed pages.
        origin: The file's name in errors.
        on_read: Called with the approximate position in the file, in bytes.

    Raises:
        UsageError: The file is corrupt, lacks a column or exceeds the limit.
    """
    import pyarrow
    from pyarrow.parquet import ParquetFile

    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    try:
        with _open(source) as raw:
            names = ParquetFile(raw).schema_arrow.names
            for column in columns:
                if column not in names and column.partition(".")[0] not in names:
                    found = ", ".join(map(repr, names))
                    raise UsageError(f"{origin}: expected a column {column!r}, found {found:.200}")
                if names.count(column) > 1:
                    raise UsageError(f"{origin}: several columns {column!r}; expected one")
            strings = _strings(ParquetFile(raw).schema)
            # A column that repeats one long string is then read as one string and short indices.
            # pyarrow cannot do that for columns inside others, which are read in smaller batches.
            size_of_batch = ROWS if set(columns) <= set(strings) else NESTED_ROWS
            file = ParquetFile(raw, read_dictionary=strings, page_checksum_verification=True)
            _check_sizes(raw, file.metadata, columns, limit, origin)
            total = number = 0
            for batch in file.iter_batches(size_of_batch, columns=list(columns)):
                on_read(size * (number + batch.num_rows) // max(file.metadata.num_rows, 1))
                number += batch.num_rows
                for row in _expanded(batch):
                    total += _length(row)
                    if total > limit:
                        raise too_large(origin, limit)
                    yield row
    except (pyarrow.ArrowException, *CORRUPTION) as error:
        if isinstance(error, KeyError | TypeError):
            raise
        raise unreadable(origin, error) from None


def _open(source: Path | bytes) -> IO[bytes]:
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")


def _strings(schema: Any) -> list[str]:
    leaves = [schema.column(index) for index in range(len(schema.names))]
    return [
        leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY" and "." not in leaf.path
    ]


def _check_sizes(
    raw: IO[bytes], metadata: Any, columns: Sequence[str], limit: int, origin: Path | str
) -> None:
    """Raise UsageError if a table declares more rows or bytes than the limit allows."""
    tops = {column.partition(".")[0] for column in columns} | set(columns)
    declared = values = 0
    for chunk in pages.chunks(raw):
        if not chunk.values:  # it has no pages
            continue
        if chunk.path in tops or chunk.path.partition(".")[0] in tops:
            declared += max(chunk.decompressed, pages.declared_size(raw, chunk))
            values += chunk.values
    if declared > limit:
        raise too_large(origin, limit)
    most = limit // BYTES_PER_ROW
    if metadata.num_rows > most or values > 2 * most:
        raise UsageError(
            f"{origin}: {metadata.num_rows:,} rows; expected at most {most:,}, "
            "or a larger --max-size"
        )


def _expanded(batch: Any) -> Iterator[Mapping[str, Any]]:
    step = max(1, min(ROWS, EXPANDED // max(1, batch.nbytes)))
    for start in range(0, batch.num_rows, step):
        yield from batch.slice(start, step).to_pylist()


def _length(value: Any) -> int:
    """Return the number of characters in a value and in the values inside it."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, Mapping):
        return sum(_length(item) for item in value.values())
    if isinstance(value, list):
        return sum(map(_length, value))
    return 0
