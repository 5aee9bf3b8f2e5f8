"""Write the records, tokens and words of results to files, for other programs."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from gpt2eval.analysis.published_texts import Texts, published_texts
from gpt2eval.data.custom import Text
from gpt2eval.data.local import Data
from gpt2eval.errors import UsageError
from gpt2eval.notices import notify
from gpt2eval.report.measured import Measured
from gpt2eval.report.row_files import (
    Columns,
    RowFile,
    check_suffix,
    merged,
    row_count,
    row_file,
)
from gpt2eval.report.token_rows import record_columns, token_columns
from gpt2eval.report.word_rows import word_columns
from gpt2eval.types import Progress


class RowFiles(NamedTuple):
    """The files to write; None for those that are not wanted."""

    records: Path | None = None
    tokens: Path | None = None
    words: Path | None = None


def export_rows(
    measured: Sequence[Measured],
    files: RowFiles,
    data: Data = None,
    include: Sequence[Path] = (),
    *,
    texts: str | Path | Sequence[str | Path | Text] = (),
    cache: Path | None = None,
    max_size: int | None = None,
    progress: Callable[[Progress], None] = lambda progress: None,
) -> None:
    """Write tables of the records, tokens and words of results; no model runs.

    The columns are those of `record_columns`, `token_columns` and `word_columns`. A suffix says the
    format: `.csv`, `.jsonl` or `.parquet`. Every file appears when it is complete.

    Args:
        measured: The results; a file has the rows of all of them.
        files: The files.
        data: As for `published_texts`, as are `include`, `texts`, `cache` and `max_size`.
        include: Folders with your own tasks.
        texts: Your own texts.
        cache: Folder of downloaded data.
        max_size: Most bytes of a local file.
        progress: Called after some rows.

    Raises:
        UsageError: A suffix is unknown, a file cannot be written, a result has no token table, or
            words are wanted and the text of a result cannot be had.
    """
    for option, path in zip(("--records", "--tokens", "--words"), files, strict=True):
        if path is not None:
            check_suffix(path, option)
    if len({path.resolve() for path in files if path}) < sum(path is not None for path in files):
        raise UsageError("export: one file named for two tables; expected a file for each")

    def texts_of(one: Measured) -> Texts:
        return published_texts(one, data, include, texts=texts, cache=cache, max_size=max_size)

    with ExitStack() as stack:
        records, tokens, words = (
            stack.enter_context(row_file(path)) if path else None for path in files
        )
        for one in measured:
            if records:
                records.write(record_columns(one))
            if not (tokens or words):
                continue
            table = one.tokens()
            text = texts_of(one) if words else _texts_if_any(one, texts_of)
            starts = one.word_starts()
            shown = f"{one.result.model.name} {one.result.full_name}"
            if tokens:
                rows = token_columns(one, table, text, starts)
                _write(tokens, rows, f"{shown} tokens", len(table), progress)
            if words and text is not None:
                count = one.result.tally.units.words
                rows = word_columns(one, table, text, starts)
                _write(words, rows, f"{shown} words", count, progress)


def _texts_if_any(one: Measured, texts_of: Callable[[Measured], Texts]) -> Texts | None:
    """Return the published text, or None, with a notice, if it cannot be had."""
    try:
        return texts_of(one)
    except UsageError as error:
        notify(f"{error}; its tokens are written with offsets and without text")
        return None


def _write(
    file: RowFile,
    batches: Iterable[Columns],
    name: str,
    total: int,
    progress: Callable[[Progress], None],
) -> None:
    done = 0
    progress(Progress(name, 0, 1, 0, total))
    for columns in merged(batches):
        file.write(columns)
        done += row_count(columns)
        if done < total:
            progress(Progress(name, 0, 1, done, total))
    progress(Progress(name, 1, 1, total, total))
