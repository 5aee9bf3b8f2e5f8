"""Local files of tasks: which file belongs to a task, and the published file inside it.

Every command and every function that takes `data` resolves it here.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from gpt2eval import demo
from gpt2eval.config import catalog, loader
from gpt2eval.config.schema import Task
from gpt2eval.config.source_schema import Hub
from gpt2eval.data import hub, tables
from gpt2eval.data.archives import unpack
from gpt2eval.data.limits import Limit, limit_of, too_large
from gpt2eval.data.published import PREFIX, find_files, key_for
from gpt2eval.errors import UsageError, unknown

DEMO = "demo"  # stands for all embedded records
# The columns of the rows that a rule needs; the other rules need the column of the Hub.
ROW_COLUMNS = {"cbt": ("sentences", "question", "answer", "options")}
LISTS = ("sentences", "options")  # columns whose cells are lists of texts

Data = Mapping[str, Path | str] | Path | str | None


def local_files(data: Data, include: Sequence[Path] = (), model: object = None) -> dict[str, Path]:
    """Return the local files by the full names of tasks; those of a folder by their source.

    Args:
        data: Files by task or TASK/VARIANT, a folder with published files, `demo`, or None.
        include: Folders with further tasks.
        model: The model; the demo model has its own records unless `data` is given.

    Raises:
        UsageError: A task or variant does not exist.
    """
    if data == DEMO or (data is None and model == DEMO):
        return demo.data()
    if isinstance(data, str | Path):
        if not Path(data).is_dir():
            raise UsageError(
                f"data={str(data)!r}: expected a mapping of tasks to files, a folder, or 'demo'"
            )
        return find_files(Path(data), include)
    known = catalog.files("tasks", include)
    files: dict[str, Path] = {}
    for name, path in (data or {}).items():
        if name.startswith(PREFIX):
            files[name] = Path(path)
            continue
        if name.partition("/")[0] not in known:
            raise unknown("task in --data", name, known)
        files[loader.load_task(name, include).full_name] = Path(path)
    return files


def parse_data(
    arguments: Sequence[str] | None, include: Sequence[Path] = ()
) -> dict[str, Path] | None:
    """Return `TASK=PATH` arguments as a mapping.

    `demo` stands for all embedded records, and a folder for the published files in it.

    Raises:
        UsageError: An argument has another form, or names a file of a task again.
    """
    if not arguments:
        return None
    files: dict[str, Path] = {}
    for argument in dict.fromkeys(arguments):
        name, equals, path = argument.partition("=")
        if argument == DEMO:
            continue
        if not equals and Path(argument).is_dir():
            files = find_files(Path(argument), include) | files
            continue
        if not equals or not name or not path:
            raise UsageError(
                f"--data {argument}: expected TASK=PATH, a folder that exists, or 'demo'"
            )
        task = loader.load_task(name, include).full_name
        if task in files:
            raise UsageError(
                f"--data {argument}: {task} has a file already, {files[task]}; expected one"
            )
        files[task] = Path(path)
    return (demo.data() if DEMO in arguments else {}) | files


def file_of(task: Task, files: Mapping[str, Path] | None) -> Path | None:
    """Return the local file of a task: given for the variant, given for the task, or in a folder.

    The first of these that exists; None if none does.
    """
    keys = (task.full_name, task.name, key_for(task.source))
    return next((files[key] for key in keys if files and key in files), None)


def check_exists(task: Task, path: Path) -> None:
    """Raise UsageError unless the local file that is given for a task exists."""
    if not path.is_file():
        name = task.source.file.name
        raise UsageError(
            f"{path}: no such file; expected {name} for --data {task.full_name}, "
            "or an archive that contains it"
        )


def read_local(task: Task, path: Path, max_size: int | None = None) -> bytes:
    """Return the content of a task's file: plain, or inside a compression, an archive or a table.

    Raises UsageError for a file that does not exist, is corrupt or is too large.
    """
    source = task.source
    check_exists(task, path)
    member = source.archive and source.archive.member
    names = [source.file.name]
    if member:
        names.append(PurePosixPath(member).name)
    limit = limit_of(path, source.file.bytes, max_size)
    content = unpack(path, names, limit)
    if content.startswith(tables.PARQUET_MAGIC):
        return _restored(task, content, str(path), limit)
    return content


def _restored(task: Task, table: bytes, origin: str, limit: Limit) -> bytes:
    """Return the published file that a table with the rows of the Hub holds."""
    rows = task.source.hub or _rows_of(task, origin)
    columns = ROW_COLUMNS.get(rows.restore, (rows.column or "",))
    pieces: list[bytes] = []
    total = 0
    try:
        for piece in _pieces(table, columns, rows, origin, limit):
            total += len(piece)
            if total > limit.content:
                raise too_large(origin, limit.content)
            pieces.append(piece)
    except (KeyError, TypeError, AttributeError):
        raise UsageError(
            f"{origin}: row {len(pieces) + 1}: expected text in column {', '.join(columns)}"
        ) from None
    return b"".join(pieces)


def _pieces(
    table: bytes, columns: Sequence[str], rows: Hub, origin: str, limit: Limit
) -> Iterator[bytes]:
    for row in _selected(tables.rows(table, columns, limit.unpacked, origin), rows, origin):
        if not all(_is_text(row[name], name) for name in columns):
            raise TypeError
        yield hub.RESTORE[rows.restore](row, columns[0]).encode()


def _selected(
    rows: Iterator[Mapping[str, Any]], hub: Hub, origin: str
) -> Iterator[Mapping[str, Any]]:
    """Return the rows of a table that a task scores; a share is one of all tables together."""
    if not hub.rows:
        return rows
    if hub.rows.last is None:
        raise UsageError(f"{origin}: a parquet table; expected the rows that the task selects")
    last = deque(rows, hub.rows.last)
    if len(last) < hub.rows.last:
        raise UsageError(f"{origin}: {len(last):,} rows; expected at least {hub.rows.last:,}")
    return iter(last)


def _is_text(value: object, column: str) -> bool:
    """Return whether a cell holds text, or where a column has lists, a list of texts."""
    if column in LISTS:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, str)


def _rows_of(task: Task, origin: str) -> Hub:
    """Return how to read the rows of a task that the Hub does not have."""
    if task.format == "documents":
        return Hub(id="", split="", column="text", restore="jsonl")
    if task.format in ("lines", "rows"):
        return Hub(id="", split="", column="text", restore="lines")
    raise UsageError(f"{origin}: a parquet table; expected the text of {task.source.file.name}")
