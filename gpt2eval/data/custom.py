"""Load a local text as a task: a file, a folder of files, a .jsonl file or a .parquet file.

Every source first yields the bytes that represent the text: a plain file's own content, or
documents as JSON lines in one layout. Equal texts therefore have equal hashes, however they are
stored, and a local text is scored exactly like a published one. Does not know models.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from gpt2eval.config import catalog
from gpt2eval.config.schema import MetricName, Task, UnitName
from gpt2eval.config.source_schema import File, Source
from gpt2eval.data.documents import KEYS, Location, locate, read_content, read_documents
from gpt2eval.data.grouping import FOLDER, TOP, Grouping
from gpt2eval.data.records import Corpus, parse_corpus
from gpt2eval.errors import UsageError, unknown
from gpt2eval.text.loader import load_detokenizer

TASK = "text"  # the task name of local texts in results: text/NAME
METRICS: Mapping[str, tuple[UnitName, tuple[MetricName, ...]]] = {
    "word": ("word", ("ppl", "nats_per_token")),
    "word+eol": ("word+eol", ("ppl", "nats_per_token")),
    "byte": ("byte", ("bpb", "byte_ppl", "nats_per_token")),
    "char": ("char", ("bpc", "nats_per_token")),
}
NAME_CHARS = 60


class Text(NamedTuple):
    """A local text: the task that scores it, its location, and the bytes that represent it.

    `grouping` is the group of each document; it is no part of the content.
    """

    task: Task
    location: str
    content: bytes
    grouping: Grouping | None = None

    def read(self, *, strict: bool = False) -> Corpus:
        """Parse the text into records.

        Raises UsageError if it has no words to divide by, and if `strict`, because a local text has
        no published checksum.
        """
        corpus = parse_corpus(self.task, self.content, self.location, strict=strict)
        if not corpus.units.words:
            raise UsageError(f"--text {self.location}: contains no words; expected text")
        return replace(corpus, origin=self.task.source.file.name, grouping=self.grouping)


def load_text(
    where: str | Path,
    unit: str = "word",
    detokenizer: str | None = None,
    include: Sequence[Path] = (),
    max_size: int | None = None,
    group: str | None = None,
) -> Text:
    """Load a local text, and define the task that scores it.

    Args:
        where: `FILE` (scored as one stream), `DIR` (each file is a document), `FILE.jsonl:KEY`
            (each line), `FILE.parquet:COLUMN` (each row), `jsonl:KEY:FILE` or
            `parquet:COLUMN:FILE`. Documents are scored independently of each other. The first
            subfolder on the way to a file of `DIR` is the file's group.
        unit: The denominator of the main metric: `word` (PPL; words are separated by white
            space), `word+eol` (words and line endings), `byte` (BPB and the perplexity per byte) or
            `char` (BPC).
        detokenizer: The name of the detokenizer to apply, if any.
        include: Folders with further detokenizers.
        max_size: The most bytes that each file may have or unpack to; by default 2 GiB, or less
            for a small file.
        group: The key or column of a `jsonl` or `parquet` file that names each document's group.

    Returns:
        The text. The name of its task consists of the file name, the unit and detokenizer if they
        are not the default, and a hash of the content.

    Raises:
        UsageError: The text does not exist or is not text, the unit or detokenizer is unknown, or
            a document has no group.
    """
    if unit not in METRICS:
        raise unknown("unit", unit, METRICS)
    if detokenizer:
        load_detokenizer(detokenizer, include)
    location = locate(str(where), "--text")
    if group is not None:
        _check_has_columns(location, where, group)
    is_stream = location.form == "file"
    grouping = None
    if is_stream:
        content = read_content(location.path, max_size)
    else:
        lines: list[bytes] = []
        names: list[str] = []
        for document in read_documents(location, max_size, group or ""):
            lines.append(serialize_documents([document.text]))
            names += [] if document.group is None else [document.group]
        content = b"".join(lines)
        grouping = _grouping(names, group)
    # "." and ".." have no name; resolve them.
    path = location.path if location.path.name.strip(".") else location.path.resolve()
    name = path.name + (f":{location.key}" if location.key else "")
    name = name.encode("utf-8", "replace").decode()
    metric_unit, metrics = METRICS[unit]
    task = Task(
        name=TASK,
        variant=_variant(name, unit, detokenizer, content, include),
        title=name,
        citation="a local text",
        licence="not stated",
        version=1,
        source=Source(file=File(name=name)),
        format="stream" if is_stream else "documents",
        encoding="bytes" if is_stream and unit == "byte" else "utf-8",
        ends="anywhere",
        ask="everything",
        detokenizer=detokenizer,
        unit=metric_unit,
        metrics=metrics,
    )
    return Text(task, str(where), content, grouping)


def _check_has_columns(location: Location, where: str | Path, group: str) -> None:
    """Raise UsageError for a text without columns, or for a column without a name."""
    if location.form not in KEYS:
        found = (
            "a folder, whose subfolders are groups" if location.form == "folder" else "one stream"
        )
        raise UsageError(
            f"--group {group}: --text {where} is {found}; "
            "expected FILE.jsonl:KEY or FILE.parquet:COLUMN"
        )
    if not group:
        raise UsageError("--group: empty; expected the key or column of a document's group")


def _grouping(names: Sequence[str], group: str | None) -> Grouping | None:
    """Return the grouping by names; None for a folder without subfolders, or without a column."""
    if group is not None:
        return Grouping.of_column(group, names)
    return Grouping(FOLDER, tuple(names)) if {*names} - {TOP} else None


def _variant(
    name: str, unit: str, detokenizer: str | None, content: bytes, include: Sequence[Path]
) -> str:
    """Return a variant name that is a valid folder name and differs for different texts.

    It states unit and detokenizer where they are not the default, and where the name of the text
    itself holds a part that reads like one: `a-byte` per word is `a-byte-word-none`.
    """
    # Any run of characters that is unsafe in a file name or signature becomes one hyphen.
    plain = re.sub(r"[^\w.@+-]+", "-", name).strip("-.")[:NAME_CHARS] or TASK
    known = {*METRICS, *catalog.files("detokenizers", include)}
    fields = [plain]
    if any(part in known or part.partition("+")[0] in known for part in plain.split("-")[1:]):
        fields += [unit, detokenizer or "none"]
    else:
        fields += [unit] if unit != "word" else []
        fields += [detokenizer] if detokenizer else []
    return "-".join([*fields, sha256(content).hexdigest()[:8]])


def load_texts(
    texts: str | Path | Iterable[str | Path | Text],
    include: Sequence[Path] = (),
    max_size: int | None = None,
) -> list[Text]:
    """Load the texts that are not loaded yet, and drop duplicates."""
    listed = [texts] if isinstance(texts, str | Path | Text) else texts
    loaded = [
        text if isinstance(text, Text) else load_text(text, include=include, max_size=max_size)
        for text in listed
    ]
    return list({text.task.full_name: text for text in loaded}.values())


def serialize_documents(documents: Iterable[str]) -> bytes:
    """Return documents as JSON lines; equal documents give equal bytes.

    >>> serialize_documents(["Ein Wörtchen.", ""])
    b'{"text": "Ein W\\\\u00f6rtchen."}\\n{"text": ""}\\n'
    """
    return "".join(json.dumps({"text": document}) + "\n" for document in documents).encode()
