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
from gpt2eval.data.documents import locate, read_content, read_documents
from gpt2eval.data.records import Corpus, parse_corpus
from gpt2eval.errors import UsageError, unknown
from gpt2eval.text.loader import load_detokenizer

TASK = "text"  # the task name of local texts in results: text/NAME
METRICS: Mapping[str, tuple[UnitName, MetricName]] = {
    "word": ("word", "ppl"),
    "word+eol": ("word+eol", "ppl"),
    "byte": ("byte", "bpb"),
    "char": ("char", "bpc"),
}
NAME_CHARS = 60


class Text(NamedTuple):
    """A local text: the task that scores it, its location, and the bytes that represent it."""

    task: Task
    location: str
    content: bytes

    def read(self, *, strict: bool = False) -> Corpus:
        """Parse the text into records.

        Raises UsageError if it has no words to divide by, and if `strict`, because a local text has
        no published checksum.
        """
        corpus = parse_corpus(self.task, self.content, self.location, strict=strict)
        if not corpus.units.words:
            raise UsageError(f"--text {self.location}: contains no words; expected text")
        return replace(corpus, origin=self.task.source.file.name)


def load_text(
    where: str | Path,
    unit: str = "word",
    detokenizer: str | None = None,
    include: Sequence[Path] = (),
    max_size: int | None = None,
) -> Text:
    """Load a local text, and define the task that scores it.

    Args:
        where: `FILE` (scored as one stream), `DIR` (each file is a document), `FILE.jsonl:KEY`
            (each line), `FILE.parquet:COLUMN` (each row), `jsonl:KEY:FILE` or
            `parquet:COLUMN:FILE`. Documents are scored independently of each other.
        unit: The denominator of the main metric: `word` (PPL; words are separated by white
            space), `word+eol` (words and line endings), `byte` (BPB) or `char` (BPC).
        detokenizer: The name of the detokenizer to apply, if any.
        include: Folders with further detokenizers.
        max_size: The most bytes that each file may have or unpack to; by default 2 GiB, or less
            for a small file.

    Returns:
        The text. The name of its task consists of the file name, the unit and detokenizer if they
        are not the default, and a hash of the content.

    Raises:
        UsageError: The text does not exist or is not text, or the unit or detokenizer is unknown.
    """
    if unit not in METRICS:
        raise unknown("unit", unit, METRICS)
    if detokenizer:
        load_detokenizer(detokenizer, include)
    location = locate(str(where), "--text")
    is_stream = location.form == "file"
    content = (
        read_content(location.path, max_size)
        if is_stream
        else serialize_documents(read_documents(location, max_size))
    )
    # "." and ".." have no name; resolve them.
    path = location.path if location.path.name.strip(".") else location.path.resolve()
    name = path.name + (f":{location.key}" if location.key else "")
    name = name.encode("utf-8", "replace").decode()
    metric_unit, metric = METRICS[unit]
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
        metrics=(metric, "nats_per_token"),
    )
    return Text(task, str(where), content)


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
