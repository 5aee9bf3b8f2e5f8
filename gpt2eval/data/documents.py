"""Documents of files, folders, .jsonl and .parquet files, piece by piece."""

import bz2
import codecs
import gzip
import json
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

from gpt2eval.errors import UsageError
from gpt2eval.files import files_below

PIECE = 1 << 20  # bytes read at a time


OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


NO_TEXT = (
    b"PK\3\4",
    b"\x1f\x8b",
    b"PAR1",
    b"\x28\xb5\x2f\xfd",
)  # how .zip, .gz, .parquet and .zst begin


DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError)


def files(places: Iterable[Path]) -> list[Path]:
    """Files as given, and all files below folders that are not hidden, sorted; each once.

    Raises UsageError where there is none, and for a folder that cannot be read.
    """
    found: dict[Path, Path] = {}
    for place in places:
        below = files_below(place) if place.is_dir() else [place]
        if not below or not below[0].is_file():
            raise UsageError(
                f"--train {place}: no such file, or no file in that folder that is not hidden"
            )
        for path in below:
            found.setdefault(path.resolve(), path)
    if not found:
        raise UsageError("--train: expected files or folders with training text")
    return list(found.values())


def documents(path: Path, seen: Callable[[int], None] = lambda at: None) -> Iterator[Iterator[str]]:
    """A file's documents, each in pieces, to be read in order; `seen` is told how far the file was read, in bytes.

    Raises UsageError for a file that cannot be read, and, with its line, for JSON without a `text`.
    """
    form = _form(path)
    try:
        if form == ".parquet":
            yield from _rows(path, seen)
            return
        with ExitStack() as stack:
            raw = stack.enter_context(path.open("rb"))
            file = stack.enter_context(_unpacked(raw, _packing(path)))
            if form == ".jsonl":
                for number, line in enumerate(file, 1):
                    seen(raw.tell())
                    if line.strip():
                        yield iter([_text(line, f"{path}: line {number}")])
            else:
                yield _decoded(file, path, lambda: seen(raw.tell()))
    except DAMAGE as error:
        raise _damaged(path, error) from None


def _form(path: Path) -> str:
    """The suffix that says how text lies in a file, without the one that says how it is packed; `_packing` is that one."""
    return (
        path.with_suffix("").suffix.lower()
        if _packing(path) in (*OPENERS, ".zst")
        else _packing(path)
    )


def _packing(path: Path) -> str:
    return path.suffix.lower()


def _damaged(path: Path, error: Exception) -> UsageError:
    said = " ".join(str(error).split()) or type(error).__name__
    return UsageError(f"{path}: cannot be read: {said:.200}; truncated or damaged?")


def _unpacked(raw: IO[bytes], suffix: str) -> IO[bytes]:
    if suffix == ".zst":
        from pyarrow import input_stream

        return BufferedReader(input_stream(raw, compression="zstd"), PIECE)
    return OPENERS[suffix](raw) if suffix in OPENERS else raw


def _decoded(file: IO[bytes], path: Path, seen: Callable[[], None]) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    try:
        data = file.read(PIECE)
        if data.startswith(NO_TEXT) or data[257:262] == b"ustar":
            raise UsageError(
                f"{path}: holds files or rows, and its name does not say so; expected text"
            )
        while data:
            seen()
            yield decoder.decode(data)
            data = file.read(PIECE)
    except DAMAGE as error:
        raise _damaged(path, error) from None
    yield decoder.decode(b"", final=True)


def _text(line: bytes, where: str) -> str:
    try:
        text = json.loads(line.decode("utf-8", "replace"))["text"]
    except (ValueError, KeyError, TypeError, RecursionError):
        text = None
    if not isinstance(text, str):
        raise UsageError(
            f'{where}: expected {{"text": "..."}}, found {line[:40].decode("utf-8", "replace")!r}'
        )
    return text


def _rows(path: Path, seen: Callable[[int], None]) -> Iterator[Iterator[str]]:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        if "text" not in file.schema_arrow.names:
            raise UsageError(
                f"{path}: expected a column 'text', found {', '.join(file.schema_arrow.names[:5])}"
            )
        if "string" not in str(file.schema_arrow.field("text").type):
            raise UsageError(
                f"{path}: expected text in column 'text', found {file.schema_arrow.field('text').type}"
            )
        done = 0
        for batch in file.iter_batches(1024, columns=["text"]):
            done += batch.num_rows
            seen(path.stat().st_size * done // max(file.metadata.num_rows, 1))
            yield from (iter([text]) for text in batch.column(0).to_pylist() if text)
