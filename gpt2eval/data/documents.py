"""Read documents from files and folders: plain text, JSON lines and parquet, compressed or not.

`--text` reads complete documents and rejects invalid UTF-8. `--train` streams documents in pieces,
in memory that does not depend on the file size, and replaces invalid UTF-8.
"""

import codecs
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

from gpt2eval.data.archives import GZIP_MAGIC, ZIP_MAGIC, unpack, unreadable
from gpt2eval.data.compression import CORRUPTION, MAGIC, PIECE, decompressed, text_suffix
from gpt2eval.data.formats import json_text, value_of
from gpt2eval.data.records import decode_text
from gpt2eval.errors import UsageError, unknown
from gpt2eval.files import files_below

KEYS = {"jsonl": "KEY", "parquet": "COLUMN"}
FORMS = (
    "expected FILE, DIR, FILE.jsonl:KEY, FILE.parquet:COLUMN, jsonl:KEY:FILE or parquet:COLUMN:FILE"
)
# The first bytes of .zip, .gz, .parquet and .zst files; no text begins with them.
BINARY = (ZIP_MAGIC, GZIP_MAGIC, b"PAR1", MAGIC[".zst"])


class Location(NamedTuple):
    """Where documents are: a `file` or `folder`, or the `key` of a `jsonl` or `parquet` file."""

    form: str
    path: Path
    key: str = ""


def locate(value: str, option: str, default_key: str = "") -> Location:
    """Parse the value of the option `--text` or `--train`.

    An existing path is used literally, including its colons. Raises UsageError if the path does not
    exist, and for a `jsonl` or `parquet` file without a key if there is no `default_key`.
    """
    path = Path(value)
    if value and _exists(path):
        if path.is_dir():
            return Location("folder", path)
        form = form_of(path)
        if form in KEYS and not default_key:
            raise UsageError(f"{option} {value}: no key given; expected {value}:{KEYS[form]}")
        return Location(form, path, default_key if form in KEYS else "")
    form, _, key_and_file = value.partition(":")
    if form in KEYS:
        key, _, file = key_and_file.partition(":")
    else:
        file, _, key = value.rpartition(":")
        form = form_of(Path(file))
    path = Path(file)
    if form not in KEYS or not key or not file or not _exists(path) or path.is_dir():
        raise UsageError(f"{option} {value}: no such file or folder; {FORMS}")
    return Location(form, path, key)


def _exists(path: Path) -> bool:
    try:  # a name that is too long raises OSError
        return path.is_file() or path.is_dir()
    except OSError:
        return False


def form_of(path: Path) -> str:
    """Return `jsonl` or `parquet` by a file's name, else `file`."""
    form = text_suffix(path).removeprefix(".")
    return form if form in KEYS else "file"


def _files_in(folder: Path, option: str) -> list[Path]:
    files = files_below(folder)
    if not files:
        raise UsageError(f"{option} {folder}: contains no files (hidden files are ignored)")
    return files


# -- complete documents, strictly ------------------------------------------------------------------


def read_content(path: Path) -> bytes:
    """Return a file's content, decompressed; of an archive, the member with its name."""
    magic = MAGIC.get(path.suffix.lower())
    try:
        with path.open("rb") as raw:
            if magic and raw.read(len(magic)) == magic:
                raw.seek(0)
                return decompressed(raw, path).read()
    except CORRUPTION as error:
        raise unreadable(path, error) from None
    return unpack(path, [path.stem])


def read_documents(location: Location) -> Iterator[str]:
    """Yield the documents of a folder, or of a `jsonl` or `parquet` file.

    Raises UsageError, with the line or row, for a document that is missing or not UTF-8 text.
    """
    path = location.path
    if location.form == "jsonl":
        text = decode_text(read_content(path), str(path))
        for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
            yield json_text(line, location.key, f"{path}: line {number}")
    elif location.form == "parquet":
        yield from _column(path, location.key)
    else:
        for file in _files_in(path, "--text"):
            if (form := form_of(file)) in KEYS:
                raise UsageError(
                    f"--text {path}: {file}: contains several texts; "
                    f"give it separately as {file}:{KEYS[form]}"
                )
            yield decode_text(read_content(file), str(file))


# -- streamed documents, leniently -----------------------------------------------------------------


def training_files(places: Iterable[Path]) -> list[Location]:
    """Return the given files and all files below the given folders, sorted; each once.

    The documents of a `jsonl` or `parquet` file are under `text` unless a key is given. Raises
    UsageError for a place without files.
    """
    files: dict[tuple[Path, str], Location] = {}
    for place in places:
        location = locate(str(place), "--train", "text")
        below = [location]
        if location.form == "folder":
            paths = _files_in(location.path, "--train")
            below = [locate(str(path), "--train", "text") for path in paths]
        for file in below:
            # A link and its target are one file.
            files.setdefault((file.path.resolve(), file.key), file)
    if not files:
        raise UsageError("--train: expected files or folders with training text")
    return list(files.values())


def stream_documents(
    location: Location, on_read: Callable[[int], None] = lambda position: None
) -> Iterator[Iterator[str]]:
    """Yield the documents of a file, each as an iterator of pieces to be consumed in order.

    Skips blank lines and empty rows. Calls `on_read` with the position in the file, in bytes.
    Raises UsageError for an unreadable file, and, with the line or row, for a missing text.
    """
    path = location.path
    if location.form == "parquet":
        for text in _column(path, location.key, on_read, skip_empty=True):
            yield iter([text])
        return
    try:
        with path.open("rb") as raw, decompressed(raw, path) as file:
            if location.form == "jsonl":
                for number, line in enumerate(file, 1):
                    on_read(raw.tell())
                    if line.strip():
                        text = line.decode("utf-8", "replace")
                        line_origin = f"{path}: line {number}"
                        yield iter([json_text(text, location.key, line_origin, lenient=True)])
            else:
                yield _decoded_pieces(file, path, lambda: on_read(raw.tell()))
    except CORRUPTION as error:
        raise unreadable(path, error) from None


def _decoded_pieces(file: IO[bytes], path: Path, on_read: Callable[[], None]) -> Iterator[str]:
    # An incremental decoder keeps the bytes of a character that a piece boundary splits.
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    try:
        data = file.read(PIECE)
        if data.startswith(BINARY) or data[257:262] == b"ustar":
            raise UsageError(f"{path}: an archive or table without its usual suffix; expected text")
        while data:
            on_read()
            yield decoder.decode(data)
            data = file.read(PIECE)
    except CORRUPTION as error:
        raise unreadable(path, error) from None
    yield decoder.decode(b"", final=True)


def _column(
    path: Path,
    column: str,
    on_read: Callable[[int], None] = lambda position: None,
    *,
    skip_empty: bool = False,
) -> Iterator[str]:
    """Yield the texts of a parquet column; a dotted name leads into a struct."""
    import pyarrow
    from pyarrow.parquet import ParquetFile

    number = 0
    try:
        with ParquetFile(path) as file:
            names = file.schema_arrow.names
            if column not in names and column.partition(".")[0] not in names:
                raise unknown(f"column of {path}", column, names)
            size = path.stat().st_size
            for batch in file.iter_batches(1024, columns=[column]):
                read = number + batch.num_rows
                on_read(size * read // max(file.metadata.num_rows, 1))
                for row in batch.to_pylist():
                    number += 1
                    text = value_of(row, column)
                    if skip_empty and not text and isinstance(text, str | None):
                        continue
                    if not isinstance(text, str):
                        raise UsageError(
                            f"{path}: row {number}: expected text in column {column}, "
                            f"found {text!r:.40}"
                        )
                    yield text
    except (KeyError, TypeError):
        raise UsageError(
            f"{path}: row {number}: expected text in column {column}, found none"
        ) from None
    except (pyarrow.ArrowException, *CORRUPTION) as error:
        raise unreadable(path, error) from None
