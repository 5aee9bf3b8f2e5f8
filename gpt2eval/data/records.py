"""Parse the bytes of a published file into checked records.

Does not know where the bytes come from.
"""

from dataclasses import dataclass
from hashlib import sha256

from gpt2eval.config.schema import Task
from gpt2eval.data import formats, kinds
from gpt2eval.data.cache import is_published
from gpt2eval.data.grouping import Grouping
from gpt2eval.data.lines import check_lines
from gpt2eval.errors import UsageError
from gpt2eval.text import passages
from gpt2eval.types import Record, Units


@dataclass(frozen=True, slots=True)
class Corpus:
    """The records of a task, and the identity of the bytes that they were parsed from.

    `published` is whether the bytes have the published checksum; `origin` is where they came from;
    `grouping` is the group of each record, if the text has groups.
    """

    records: tuple[Record, ...]
    units: Units
    sha256: str
    published: bool
    origin: str
    grouping: Grouping | None = None


def parse_corpus(task: Task, content: bytes, origin: str, *, strict: bool = False) -> Corpus:
    """Parse the content of a task's file.

    A file of exactly `cut_whole` bytes is cut to its last `cut_last` bytes. Raises UsageError for
    content that is corrupt or in another format (with the line), for counts that differ although
    the checksum matches, and, if `strict`, for content other than the published content.
    """
    published = is_published(content, task.source.file)
    if strict and not published:
        raise UsageError(f"{origin}: {checksum_mismatch(task)} (--strict-data)")
    if len(content) == task.cut_whole:
        content = content[-(task.cut_last or 0) :]
    if not published:
        check_form(task, content, origin)
        check_lines(task, content, origin)
    text = _decode_task_file(content, task, origin)
    records = formats.parse(task, text, origin)
    units = passages.total_units(records)
    grouping = None
    if task.group:
        names = formats.json_groups(text, task.group, origin)
        grouping = Grouping.of_column(task.group, names)
    corpus = Corpus(records, units, sha256(content).hexdigest(), published, origin, grouping)
    if published:
        check_counts(task, corpus, len(content))
    return corpus


def check_form(task: Task, content: bytes, origin: str) -> None:
    """Raise UsageError for content, not the published one, that is in another format."""
    if _is_published_somewhere(task):
        kinds.check_is_published_form(task, content, origin)


def _is_published_somewhere(task: Task) -> bool:
    """Return whether a task's text has a published form; a user's own text has none."""
    source = task.source
    return bool(source.hub or source.archive or source.file.hash)


def checksum_mismatch(task: Task) -> str:
    """Return the message for content that is not the task's published file."""
    return f"checksum mismatch: not the published {task.source.file.name}"


def counts_of(corpus: Corpus, size: int | None) -> dict[str, int | None]:
    """Return a corpus's counts, keyed as in a task's `expect`; `size` is the file's, in bytes."""
    return {
        "records": len(corpus.records),
        "words": corpus.units.words,
        "lines": corpus.units.lines,
        "bytes": size,
        "chars": corpus.units.chars,
    }


def check_counts(task: Task, corpus: Corpus, size: int | None = None) -> None:
    """Raise UsageError if a corpus does not have the counts that its task expects."""
    counts = counts_of(corpus, size)
    for name, expected in task.expect.model_dump(exclude_none=True).items():
        if counts[name] not in (None, expected):
            raise UsageError(
                f"{corpus.origin}: {counts[name]} {name}; the published file has {expected}"
            )


def _decode_task_file(content: bytes, task: Task, origin: str) -> str:
    if not content or (task.encoding == "utf-8" and not content.strip()):
        raise UsageError(f"{origin}: empty; expected {task.source.file.name}")
    if task.encoding == "bytes":
        return content.decode("utf-8", "surrogateescape")
    text = decode_text(content, origin)
    if task.ends == "line" and "\n" in text and not text.endswith("\n"):
        line = _line_number(content, len(content))
        raise UsageError(f"{origin}: line {line}: no line ending; truncated?")
    return text


def decode_text(content: bytes, origin: str) -> str:
    """Decode plain UTF-8 text with LF line endings.

    Raises UsageError with the line for other bytes.
    """
    expected = "expected plain UTF-8 text with LF line endings"
    for mark, problem in (
        (b"\xef\xbb\xbf", "begins with a byte-order mark"),
        (b"\0", "binary"),
        (b"\r\n", "CRLF line endings"),
    ):
        position = content.find(mark)
        # The bytes of a byte-order mark are an ordinary character anywhere but at the beginning.
        if position == 0 or (position > 0 and mark != b"\xef\xbb\xbf"):
            line = _line_number(content, position)
            raise UsageError(f"{origin}: line {line}: {problem}; {expected}")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = _line_number(content, error.start)
        byte = f"byte 0x{content[error.start]:02x}"
        raise UsageError(
            f"{origin}: line {line}: {byte} is not UTF-8; expected UTF-8 text"
        ) from None


def _line_number(content: bytes, position: int) -> int:
    return content.count(b"\n", 0, position) + 1


def scored_texts(task: Task, corpus: Corpus) -> list[str]:
    """Return the text of each record's right passage, as published."""
    texts = []
    for record in corpus.records:
        choices = passages.ask(task.ask, record, alone=False)
        texts.append(next(passage for passage in choices if passage.right).text)
    return texts
