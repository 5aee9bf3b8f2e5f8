"""A text of one's own as a task: a file, the files of a folder, the lines of a .jsonl, the rows of a .parquet.

Whatever the source, the first thing made is bytes that stand for it: a plain file's own, or documents as JSON lines in
one layout. So a hash says whether two texts are the same however they were kept, and from there on a text is scored
just as a published one is. It does not know models.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from gpt2eval.config.schema import File, MetricName, Source, Task, UnitName
from gpt2eval.data import records
from gpt2eval.data.archives import unpack
from gpt2eval.data.formats import json_text, under
from gpt2eval.errors import UsageError, unknown
from gpt2eval.files import files_below
from gpt2eval.text.loader import load_detokenizer

TASK = "text"  # what they are called in results: text/NAME
FORMS = (
    "expected FILE, DIR, FILE.jsonl:KEY, FILE.parquet:COLUMN, jsonl:KEY:FILE or parquet:COLUMN:FILE"
)
KEYS = {"jsonl": "KEY", "parquet": "COLUMN"}
METRICS: Mapping[str, tuple[UnitName, MetricName]] = {
    "word": ("word", "ppl"),
    "word+eol": ("word+eol", "ppl"),
    "byte": ("byte", "bpb"),
    "char": ("char", "bpc"),
}
NAME_CHARS = 60


class Text(NamedTuple):
    """A text as the task it is scored by, where it was found, and the bytes that stand for it."""

    task: Task
    where: str
    content: bytes

    def read(self, *, strict: bool = False) -> records.Corpus:
        """Its records. Nobody published it, so `strict` refuses it, as it does any file without a published hash.

        Raises UsageError also where there is no word to divide by.
        """
        read = records.parse_corpus(self.task, self.content, self.where, strict=strict)
        if not read.units.words:
            raise UsageError(f"--text {self.where}: it has no word; expected text")
        return replace(read, origin=self.task.source.file.name)


class Place(NamedTuple):
    """What a `--text` says: `file`, `folder`, or the texts under a `key` of a `jsonl` or `parquet` file."""

    kind: str
    path: Path
    key: str = ""


def load(
    where: str | Path,
    unit: str = "word",
    detokenizer: str | None = None,
    include: Sequence[Path] = (),
) -> Text:
    """The text at `FILE`, `DIR`, `FILE.jsonl:KEY`, `FILE.parquet:COLUMN`, `jsonl:KEY:FILE` or `parquet:COLUMN:FILE`.

    A plain file is one stream; each file of a folder, line or row is a document, which is scored alone. `unit` is what
    its main metric divides by: `word` (PPL; what lies between white space), `word+eol` (and line ends), `byte` (BPB) or
    `char` (BPC). The task is called by the file's name, the unit and detokenizer where they are not the default, and a
    hash of the content. Raises UsageError for a text that cannot be had or is none, and an unknown unit or detokenizer.
    Source: issue 6.
    """
    if unit not in METRICS:
        raise unknown("unit", unit, METRICS)
    if detokenizer:
        load_detokenizer(detokenizer, include)
    place = _place(str(where))
    path = place.path if place.path.name.strip(".") else place.path.resolve()
    name = (path.name + (f":{place.key}" if place.key else "")).encode("utf-8", "replace").decode()
    stream = place.kind == "file"
    content = _plain(place.path) if stream else layout(_documents(place))
    called = re.sub(r"[^\w.@+-]+", "-", name).strip("-.")[:NAME_CHARS] or TASK
    apart = [
        called,
        *([unit] if unit != "word" else []),
        *filter(None, [detokenizer]),
        sha256(content).hexdigest()[:8],
    ]
    task = Task(
        name=TASK,
        variant="-".join(apart),
        title=name,
        citation="a text of one's own",
        licence="its author's",
        version=1,
        source=Source(file=File(name=name)),
        format="stream" if stream else "documents",
        encoding="bytes" if stream and unit == "byte" else "utf-8",
        ends="anywhere",
        ask="everything",
        detokenizer=detokenizer,
        unit=METRICS[unit][0],
        metrics=(METRICS[unit][1], "nats_per_token"),
    )
    return Text(task, str(where), content)


def gathered(
    texts: str | Path | Iterable[str | Path | Text], include: Sequence[Path] = ()
) -> list[Text]:
    """Texts, loaded if need be, each once."""
    listed = [texts] if isinstance(texts, str | Path | Text) else texts
    loaded = [text if isinstance(text, Text) else load(text, include=include) for text in listed]
    return list({text.task.full_name: text for text in loaded}.values())


def layout(documents: Iterable[str]) -> bytes:
    """Documents as JSON lines, the same for the same documents.

    >>> layout(["Ein Wörtchen.", ""])
    b'{"text": "Ein W\\\\u00f6rtchen."}\\n{"text": ""}\\n'
    """
    return "".join(json.dumps({"text": document}) + "\n" for document in documents).encode()


# -- where ---------------------------------------------------------------------------------------------------------


def _place(where: str) -> Place:
    """What a `--text` names; what exists under the whole of it is meant, whatever colons it has."""
    path = Path(where)
    if where and _is_there(path):
        if path.is_dir():
            return Place("folder", path)
        if (kind := _keyed(path)) is not None:
            raise UsageError(f"--text {where}: which of its texts? expected {where}:{KEYS[kind]}")
        return Place("file", path)
    kind, _, rest = where.partition(":")
    if kind in KEYS:
        key, _, file = rest.partition(":")
    else:
        file, _, key = where.rpartition(":")
        kind = _keyed(Path(file))
    if kind is None or not key or not file or not _is_there(Path(file)) or Path(file).is_dir():
        raise UsageError(f"--text {where}: there is no such text; {FORMS}")
    return Place(kind, Path(file), key)


def _is_there(path: Path) -> bool:
    """Whether there is a regular file or a folder; what is too long for a name is neither."""
    try:
        return path.is_file() or path.is_dir()
    except OSError:
        return False


def _keyed(path: Path) -> str | None:
    """`jsonl` or `parquet`, by the file's name."""
    return next((kind for kind in KEYS if path.name.removesuffix(".gz").endswith(f".{kind}")), None)


# -- what ----------------------------------------------------------------------------------------------------------


def _documents(place: Place) -> Iterator[str]:
    if place.kind == "jsonl":
        lines = (
            records.decode_text(_plain(place.path), str(place.path)).removesuffix("\n").split("\n")
        )
        yield from (
            json_text(line, place.key, f"{place.path}: line {n}") for n, line in enumerate(lines, 1)
        )
    elif place.kind == "parquet":
        yield from _rows(place.path, place.key)
    else:
        yield from _files(place.path)


def _plain(path: Path) -> bytes:
    return unpack(path, [path.stem])


def _files(folder: Path) -> Iterator[str]:
    """The text of every file below a folder that is not hidden, by order of their paths in it."""
    found = files_below(folder)
    if not found:
        raise UsageError(
            f"--text {folder}: no file in it; expected one or more that are not hidden"
        )
    for path in found:
        if (kind := _keyed(path)) is not None:
            raise UsageError(
                f"--text {folder}: {path}: holds several texts; expected {path}:{KEYS[kind]}, given by itself"
            )
        yield records.decode_text(_plain(path), str(path))


def _rows(path: Path, column: str) -> Iterator[str]:
    """The texts of a column; a dot leads into a struct."""
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if column not in names and column.partition(".")[0] not in names:
                raise unknown(f"column of {path}", column, names)
            for batch in file.iter_batches(columns=[column]):
                for row in batch.to_pylist():
                    number += 1
                    text = under(row, column)
                    if not isinstance(text, str):
                        raise UsageError(
                            f"{path}: row {number}: expected text in column {column}, found {text!r:.40}"
                        )
                    yield text
    except (KeyError, TypeError):
        raise UsageError(
            f"{path}: row {number}: expected text in column {column}, found none"
        ) from None
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise UsageError(
            f"{path}: cannot be read: {' '.join(str(error).split()):.200}; expected a .parquet file"
        ) from None
