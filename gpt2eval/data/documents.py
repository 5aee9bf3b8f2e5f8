"""Read documents from files and folders: plain text, JSON lines and parquet, compressed or not.

`--text` reads complete documents and rejects invalid UTF-8. `--train` streams documents in pieces,
in memory that does not depend on the file size, and replaces invalid UTF-8.
"""

import codecs
from collections.abc import Callable, Iterable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import IO, NamedTuple

from gpt2eval.data import tables
from gpt2eval.data.archives import is_packed, unpack, unreadable
from gpt2eval.data.compression import (
    CORRUPTION,
    HEAD,
    PIECE,
    SUFFIXES,
    decompressed,
    text_suffix,
)
from gpt2eval.data.formats import json_group, json_text
from gpt2eval.data.grouping import folder_group
from gpt2eval.data.kinds import check_is_text, format_of
from gpt2eval.data.limits import Bounded, limit_of
from gpt2eval.data.records import decode_text
from gpt2eval.errors import UsageError
from gpt2eval.files import files_below

KEYS = {"jsonl": "KEY", "parquet": "COLUMN"}
FORMS = (
    "expected FILE, DIR, FILE.jsonl:KEY, FILE.parquet:COLUMN, jsonl:KEY:FILE or parquet:COLUMN:FILE"
)


class Location(NamedTuple):
    """Where documents are: a `file` or `folder`, or the `key` of a `jsonl` or `parquet` file."""

    form: str
    path: Path
    key: str = ""


class Document(NamedTuple):
    """A complete document, and the name of its group; None if the text has no groups."""

    text: str
    group: str | None = None


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


def read_content(path: Path, max_size: int | None = None) -> bytes:
    """Return a file's content, decompressed; of an archive, the member with its name."""
    stem = path.stem.removesuffix(".tar")
    content = unpack(path, [path.stem, stem, f"{stem}.txt"], limit_of(path, max_size=max_size))
    check_is_text(content, str(path))
    return content


def read_documents(
    location: Location, max_size: int | None = None, group: str = ""
) -> Iterator[Document]:
    """Yield the documents of a folder, or of a `jsonl` or `parquet` file.

    The column `group` of a `jsonl` or `parquet` file names the group of each document. The group
    of a folder's file is its subfolder.

    Raises UsageError, with the line or row, for a document that is missing or not UTF-8 text, or
    whose group is missing.
    """
    path = location.path
    if location.form == "jsonl":
        content = decode_text(read_content(path, max_size), str(path))
        for number, line in enumerate(content.removesuffix("\n").split("\n"), 1):
            origin = f"{path}: line {number}"
            text = json_text(line, location.key, origin)
            yield Document(text, json_group(line, group, origin) if group else None)
    elif location.form == "parquet":
        limit = limit_of(path, max_size=max_size).content
        if group:
            found = tables.grouped_texts(path, location.key, group, limit)
            yield from (Document(text, name) for text, name in found)
        else:
            yield from map(Document, tables.texts(path, location.key, limit))
    else:
        for file in _files_in(path, "--text"):
            if (form := form_of(file)) in KEYS:
                raise UsageError(
                    f"--text {path}: {file}: contains several texts; give it separately as "
                    f"{file}:{KEYS[form]}, or join such files into one whose rows name their "
                    "group, for --group"
                )
            text = decode_text(read_content(file, max_size), str(file))
            yield Document(text, folder_group(file, path))


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
    location: Location,
    on_read: Callable[[int], None] = lambda position: None,
    max_size: int | None = None,
) -> Iterator[Iterator[str]]:
    """Yield the documents of a file, each as an iterator of pieces to be consumed in order.

    Skips blank lines and empty rows. A file may unpack to 64 MiB, to 100 times its size or to
    `max_size` bytes, whichever is most. Calls `on_read` with the position in the file, in bytes.
    Raises UsageError for an unreadable file, and, with the line or row, for a missing text.
    """
    path = location.path
    limit = limit_of(path, max_size=max_size).unpacked
    if location.form == "parquet":
        for text in tables.texts(path, location.key, limit, on_read, skip_empty=True):
            yield iter([text])
        return
    try:
        with path.open("rb") as raw, BufferedReader(_bounded(raw, limit, path), PIECE) as file:
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


def _bounded(raw: IO[bytes], limit: int, path: Path) -> Bounded:
    content = decompressed(raw)
    if content is raw and path.suffix.lower() in SUFFIXES:
        raise unreadable(path, ValueError(f"not a {path.suffix} file"))
    return Bounded(content, limit, path)


def _decoded_pieces(file: IO[bytes], path: Path, on_read: Callable[[], None]) -> Iterator[str]:
    # An incremental decoder keeps the bytes of a character that a piece boundary splits.
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    try:
        data = file.read(PIECE)
        if is_packed(data[:HEAD]):
            raise UsageError(f"{path}: an archive or table without its usual suffix; expected text")
        if found := format_of(data):
            raise UsageError(f"{path}: {found} without its usual suffix; expected text")
        while data:
            on_read()
            yield decoder.decode(data)
            data = file.read(PIECE)
    except CORRUPTION as error:
        raise unreadable(path, error) from None
    yield decoder.decode(b"", final=True)
