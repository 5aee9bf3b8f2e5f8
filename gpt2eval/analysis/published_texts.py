"""The published text that a result's tokens point into: loaded as a run loads it, and checked.

Nothing is downloaded, and no model is loaded.
"""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from gpt2eval import demo
from gpt2eval.config import catalog, loader
from gpt2eval.config.schema import Task
from gpt2eval.data import corpus, custom
from gpt2eval.data.cache import Cache
from gpt2eval.data.custom import Text
from gpt2eval.data.local import Data, file_of, local_files
from gpt2eval.data.records import Corpus, parse_corpus
from gpt2eval.errors import UsageError
from gpt2eval.metrics.result import Result
from gpt2eval.report.measured import Measured
from gpt2eval.text.passages import ask, head

Texts = dict[tuple[int, int], bytes]


def published_texts(
    measured: Measured,
    data: Data = None,
    include: Sequence[Path] = (),
    *,
    texts: str | Path | Sequence[str | Path | Text] = (),
    cache: Path | None = None,
    max_size: int | None = None,
) -> Texts:
    """Return the published text of every record of a result, before any detokenizer.

    Args:
        measured: The result.
        data: Local file of each task, a folder with published files, or `demo`, as for a run. By
            default the embedded records, if the result is of them, and else the cached file.
        include: Folders with your own tasks.
        texts: Your own texts, in the syntax of `gpt2eval run --text`, for a result of one of them.
        cache: Folder of downloaded data; by default the platform's. Nothing is downloaded.
        max_size: Most bytes that a local file may have or unpack to.

    Returns:
        UTF-8 bytes by record and choice, the columns of the token table, whose offsets count these
        bytes. The choice is 0 except for questions, whose text has the choice in place of its
        blank. Undecodable bytes are kept.

    Raises:
        UsageError: The text cannot be found, or is not the text that the result was measured on.

    Examples:
        >>> import tempfile
        >>> from gpt2eval import demo, evaluate
        >>> from gpt2eval.report.measured import read_measured
        >>> with tempfile.TemporaryDirectory() as out:
        ...     _ = evaluate("toy:uniform-bytes", "text8", data="demo", out=out)
        ...     texts = published_texts(read_measured(out)[0])
        >>> texts[0, 0][:20]
        b' farm dystopian nove'
    """
    result = measured.result
    if _is_own_text(result, include):
        task, found = _own_text(result, include, texts, max_size)
    else:
        task = loader.load_task(result.full_name, include)
        found = _of_task(result, task, data, include, cache, max_size)
    records = head(found.records, result.protocol.limit, stream=task.format == "stream")
    if task.joins_tokens:
        joined = "".join(record.text for record in records)
        return {(0, 0): joined.encode("utf-8", "surrogateescape")}
    return {
        (passage.record, passage.choice): passage.text.encode("utf-8", "surrogateescape")
        for record in records
        for passage in ask(task.ask, record, alone=len(records) == 1)
    }


def _is_own_text(result: Result, include: Sequence[Path]) -> bool:
    return result.task == custom.TASK and custom.TASK not in catalog.files("tasks", include)


def _own_text(
    result: Result,
    include: Sequence[Path],
    texts: str | Path | Sequence[str | Path | Text],
    max_size: int | None,
) -> tuple[Task, Corpus]:
    """Return the one of the user's texts that a result was measured on."""
    listed = [texts] if isinstance(texts, str | Path | Text) else texts
    others: list[str] = []
    for place in listed:
        # The unit does not change the text; per byte, a text of any encoding can be read.
        text = place
        if not isinstance(text, Text):
            text = custom.load_text(text, "byte", include=include, max_size=max_size)
        found = text.read()
        if found.sha256 == result.data.sha256:
            return text.task, found
        others.append(f"{text.location} ({found.sha256[:8]})")
    reason = f"its text is not {', '.join(others)}" if others else "its text is one of your own"
    raise UsageError(
        f"{result.full_name}: {reason}; expected --text with the text that was measured, "
        f"{result.data.origin} (sha256 {result.data.sha256[:8]})"
    )


def _of_task(
    result: Result,
    task: Task,
    data: Data,
    include: Sequence[Path],
    cache: Path | None,
    max_size: int | None,
) -> Corpus:
    """Return the records of a task whose content has the checksum of a result."""
    remedy = f"expected --data {task.full_name}=PATH with the file that was measured"
    files = local_files(data, include)
    path = file_of(task, files) or _embedded(task, result.data.sha256)
    if path:
        found = corpus.load_corpus(task, path, max_size=max_size)
    elif cached := Cache.at(cache).get(task.source):
        found = parse_corpus(task, cached.content, cached.provenance.origin)
    else:
        raise UsageError(
            f"{task.full_name}: its text is not in the cache; {remedy}, or the published file in "
            f"the cache: gpt2eval data fetch {task.full_name}"
        )
    if found.sha256 != result.data.sha256:
        raise UsageError(
            f"{task.full_name}: {found.origin} has the sha256 {found.sha256[:8]}, the result "
            f"{result.data.sha256[:8]}; {remedy}"
        )
    return found


def _embedded(task: Task, digest: str) -> Path | None:
    """Return the file with the demo's records of a task, if it has the given SHA-256."""
    path = file_of(task, demo.data())
    return path if path and sha256(path.read_bytes()).hexdigest() == digest else None
