"""The bytes of a published file to checked records."""

from dataclasses import dataclass
from hashlib import sha256

from gpt2eval.config.schema import Task
from gpt2eval.data import formats
from gpt2eval.data.cache import is_published
from gpt2eval.errors import UsageError
from gpt2eval.text import passages
from gpt2eval.types import Record, Units


@dataclass(frozen=True, slots=True)
class Corpus:
    """The records of a task, the hash of the bytes they were load_corpus from, and whether those are the published ones."""

    records: tuple[Record, ...]
    units: Units
    sha256: str
    published: bool
    origin: str


def parse_corpus(task: Task, content: bytes, origin: str, *, strict: bool = False) -> Corpus:
    """The records of a task's file. A file of exactly `cut_whole` bytes is cut to its last `cut_last`.

    Raises UsageError for content that is damaged or of another format (with the line), for counts that differ although
    the hash matched, and, if `strict`, for a hash that is not the published one.
    """
    published = is_published(content, task.source.file)
    if strict and not published:
        raise UsageError(
            f"{origin}: its hash is not that of the published {task.source.file.name} (--strict-data)"
        )
    if len(content) == task.cut_whole:
        content = content[-(task.cut_last or 0) :]
    text = _decode_task_file(content, task, origin)
    records = tuple(formats.PARSERS[task.format](text, origin))
    units = sum((passages.units(record.text) for record in records), Units())
    load_corpus = Corpus(records, units, sha256(content).hexdigest(), published, origin)
    if published:
        check_counts(task, load_corpus, len(content))
    return load_corpus


def check_counts(task: Task, load_corpus: Corpus, size: int | None = None) -> None:
    """Raise UsageError where a text does not have the counts that its task expects."""
    units = load_corpus.units
    found = {
        "records": len(load_corpus.records),
        "words": units.words,
        "lines": units.lines,
        "bytes": size,
        "chars": units.chars,
    }
    for name, expected in task.expect.model_dump(exclude_none=True).items():
        if found[name] not in (None, expected):
            raise UsageError(
                f"{load_corpus.origin}: {found[name]} {name}; the published file has {expected}"
            )


def _decode_task_file(content: bytes, task: Task, origin: str) -> str:
    """The text of a task's file."""
    if not content or (task.encoding == "utf-8" and not content.strip()):
        raise UsageError(f"{origin}: empty; expected {task.source.file.name}")
    if task.encoding == "bytes":
        return content.decode("utf-8", "surrogateescape")
    text = decode_text(content, origin)
    if task.ends == "line" and "\n" in text and not text.endswith("\n"):
        raise UsageError(
            f"{origin}: line {_line(content, len(content))}: has no line end; truncated?"
        )
    return text


def decode_text(content: bytes, origin: str) -> str:
    """The text of plain UTF-8 with LF line ends. Raises UsageError, which names the line, for any other bytes."""
    for sign, problem in (
        (b"\xef\xbb\xbf", "begins with a byte-order mark"),
        (b"\0", "binary"),
        (b"\r\n", "CRLF line ends"),
    ):
        at = content.find(sign)
        if at == 0 or (at > 0 and sign != b"\xef\xbb\xbf"):
            raise UsageError(
                f"{origin}: line {_line(content, at)}: {problem}; expected plain UTF-8 text with LF line ends"
            )
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = _line(content, error.start)
        raise UsageError(
            f"{origin}: line {line}: byte 0x{content[error.start]:02x} is not UTF-8; expected UTF-8 text"
        ) from None


def _line(content: bytes, at: int) -> int:
    return content.count(b"\n", 0, at) + 1


def lines_of(task: Task, load_corpus: Corpus) -> list[str]:
    """The lines of what a task asks of a text, each as a detokenizer gets it."""
    return [
        line for text in _texts(task, load_corpus) for line in text.removesuffix("\n").split("\n")
    ]


def _texts(task: Task, load_corpus: Corpus) -> list[str]:
    return [
        next(p for p in passages.ASK[task.ask](record) if p.right).text
        for record in load_corpus.records
    ]
