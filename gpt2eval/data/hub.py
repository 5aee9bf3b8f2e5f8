"""Convert the rows of a Hub data set back into the publisher's file.

Downloads only the files of the requested split, at the current commit of the branch. The Hub names
its large (LFS) files by their SHA-256; these are checked. Of a split of which a task scores some
rows only, `gpt2eval.data.hub_rows` reads these.
"""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from errno import ENOSPC
from hashlib import file_digest
from pathlib import Path
from typing import Any, NamedTuple

from gpt2eval.config.source_schema import Hub
from gpt2eval.data.download import UnreachableError, mismatch
from gpt2eval.data.hub_rows import selected_rows
from gpt2eval.errors import UsageError, one_line


class SourceFile(NamedTuple):
    """The publisher's file as a source yields it, and the Hub commit ("" for other sources)."""

    content: bytes
    revision: str


def read_source(hub: Hub) -> SourceFile:
    """Download a data set's rows and return the publisher's file.

    Raises UnreachableError if the Hub does not provide the rows, and UsageError for a checksum
    mismatch.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise UnreachableError("HF_HUB_OFFLINE is set")
    try:
        with _quiet():
            rows, revision = _rows(hub)
            content = "".join(RESTORE[hub.restore](row, hub.column or "") for row in rows)
    except (UsageError, UnreachableError):
        raise
    except KeyError as error:
        raise UnreachableError(f"its rows have no column {error}") from None
    except Exception as error:  # the network libraries raise many types; each becomes one line
        raise UnreachableError(_reason(error, hub)) from None
    return SourceFile(content.encode(), revision)


@contextmanager
def _quiet() -> Iterator[None]:
    """Show only errors of datasets and huggingface_hub, then restore the caller's verbosity.

    Hides the progress bars of datasets, but not those of downloads.
    """
    import datasets
    from huggingface_hub.utils import logging

    verbosity = datasets.logging.get_verbosity()
    hub_verbosity = logging.get_verbosity()
    has_bars = not datasets.are_progress_bars_disabled()
    with warnings.catch_warnings(action="ignore"):
        datasets.logging.set_verbosity_error()
        datasets.disable_progress_bars()
        logging.set_verbosity_error()
        try:
            yield
        finally:
            datasets.logging.set_verbosity(verbosity)
            logging.set_verbosity(hub_verbosity)
            if has_bars:
                datasets.enable_progress_bars()


def _rows(hub: Hub) -> tuple[Iterator[Mapping[str, Any]], str]:
    """Return the requested rows of the split, read from its own files only, and their commit."""
    from datasets import load_dataset, load_dataset_builder

    builder = load_dataset_builder(hub.id, hub.config, revision=hub.revision, data_dir=hub.data_dir)
    files: Mapping[str, list[str]] = {
        str(split): paths for split, paths in (builder.config.data_files or {}).items()
    }
    if hub.split not in files:
        raise UnreachableError(f"it has no split {hub.split}; it has {', '.join(files) or 'none'}")
    commits = ",".join(sorted({_commit(file) for file in files[hub.split]}))
    if hub.rows:
        return selected_rows(files[hub.split], hub.rows, hub.column), commits
    paths = [str(_downloaded(file)) for file in files[hub.split]]
    rows = load_dataset(  # nosec B615 # the files are local; their commit is pinned and recorded
        builder.name, data_files={hub.split: paths}, split=hub.split, streaming=True
    )
    return iter(rows), commits


def _commit(file: str) -> str:
    """Return the commit in `hf://datasets/ID@COMMIT/PATH`."""
    return file.partition("@")[2].partition("/")[0]


def _downloaded(file: str) -> Path:
    """Download `hf://datasets/ID@COMMIT/PATH`.

    Discards an LFS file whose SHA-256 does not match its name.
    """
    from huggingface_hub import hf_hub_download

    repository, _, commit_and_path = file.removeprefix("hf://datasets/").partition("@")
    revision, _, path = commit_and_path.partition("/")
    local = Path(hf_hub_download(repository, path, revision=revision, repo_type="dataset"))
    blob = local.resolve()
    # LFS files are stored under their SHA-256, small files under a shorter git hash.
    if len(blob.name) == 64 and set(blob.name) <= set("0123456789abcdef"):
        with blob.open("rb") as content:
            digest = file_digest(content, "sha256").hexdigest()
        if digest != blob.name:
            local.unlink()
            blob.unlink()
            raise UsageError(mismatch(f"hub:{repository}: {path}", digest, blob.name))
    return local


def _reason(error: BaseException, hub: Hub) -> str:
    """Explain a failure by the most specific error of its chain, with a remedy where one exists."""
    from datasets.exceptions import DatasetNotFoundError
    from huggingface_hub import constants, errors

    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) and cause not in chain:
        chain.append(cause)
    log_in = "log in (hf auth login, or HF_TOKEN)"
    for link in chain:
        status = getattr(getattr(link, "response", None), "status_code", 0)
        if isinstance(link, errors.GatedRepoError) or "is a gated dataset" in str(link):
            return f"it is gated: accept its terms on its page, and {log_in}"
        if isinstance(link, errors.RevisionNotFoundError) or str(link).startswith("Revision "):
            return f"revision {hub.revision or 'main'} no longer exists (404)"
        if isinstance(link, errors.RepositoryNotFoundError | DatasetNotFoundError):
            return f"no such data set (404): it was moved or removed, or is private: {log_in}"
        if status == 429:
            return f"too many requests (429): wait some minutes, or {log_in}"
        if status >= 500:
            return f"the Hub is out of order ({status})"
        if isinstance(link, OSError) and link.errno == ENOSPC:
            return f"no space left in {constants.HF_HOME}; set HF_HOME to another folder"
        if "ConnectError" in type(link).__name__:
            return "no connection"
        if "Timeout" in type(link).__name__:
            return "timed out; set HF_HUB_DOWNLOAD_TIMEOUT to more seconds"
    return one_line(error, 200)


# -- rows to files ---------------------------------------------------------------------------------


def _cbt_rows(row: Mapping[str, Any], _: str) -> str:
    lines = [f"{i} {sentence}\n" for i, sentence in enumerate(row["sentences"], 1)]
    options = "|".join(row["options"])
    return "".join(lines) + f"21 {row['question']}\t{row['answer']}\t\t{options}\n\n"


# Converts a row back into its part of the file, by the `restore` rule of a task file.
RESTORE: Mapping[str, Callable[[Mapping[str, Any], str], str]] = {
    "text": lambda row, column: row[column],
    "blank_lines": lambda row, column: row[column] or " \n",
    "padded_lines": lambda row, column: f" {row[column]} \n",
    "jsonl": lambda row, column: json.dumps({"text": row[column]}) + "\n",
    "lines": lambda row, column: row[column] + "\n",
    "cbt": _cbt_rows,
}
