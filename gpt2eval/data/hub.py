"""Rows of a data set on the Hub, laid back into the publisher's file.

Only the files of the split that is asked for are downloaded, each at the commit that the branch has now, and the
large ones (by its own rules those in LFS) checked against the sha256 by which it names them.
"""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from errno import ENOSPC
from hashlib import file_digest
from pathlib import Path
from typing import Any, NamedTuple

from gpt2eval.config.schema import Hub
from gpt2eval.data.download import UnreachableError
from gpt2eval.errors import UsageError


class Restored(NamedTuple):
    """The publisher's file as the rows give it back, and the commit they are of."""

    content: bytes
    revision: str


def restored(hub: Hub) -> Restored:
    """The file that a data set's rows give back.

    Raises UnreachableError where the Hub does not give them, and UsageError for a file of another hash than its name's.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise UnreachableError("HF_HUB_OFFLINE is set")
    try:
        with warnings.catch_warnings(action="ignore"):
            rows, revision = _rows(hub)
            content = "".join(RESTORE[hub.restore](row, hub.column or "") for row in rows)
    except (UsageError, UnreachableError):
        raise
    except KeyError as error:
        raise UnreachableError(f"its rows have no column {error}") from None
    except (
        Exception
    ) as error:  # whatever the network stack of the day raises has a reason for the user
        raise UnreachableError(_reason(error, hub)) from None
    return Restored(content.encode(), revision)


def _rows(hub: Hub) -> tuple[Iterator[Mapping[str, Any]], str]:
    """The rows of the split, read from its own files alone, and the commit they are of."""
    from datasets import load_dataset, load_dataset_builder
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()
    builder = load_dataset_builder(hub.id, hub.config, revision=hub.revision, data_dir=hub.data_dir)
    files: Mapping[str, list[str]] = {
        str(split): found for split, found in (builder.config.data_files or {}).items()
    }
    if hub.split not in files:
        raise UnreachableError(f"it has no split {hub.split}; it has {', '.join(files) or 'none'}")
    at = {_at(file) for file in files[hub.split]}
    paths = [str(_downloaded(file)) for file in files[hub.split]]
    rows = load_dataset(
        builder.name, data_files={hub.split: paths}, split=hub.split, streaming=True
    )
    return iter(rows), ",".join(sorted(at))


def _at(file: str) -> str:
    """The commit in `hf://datasets/ID@COMMIT/PATH`."""
    return file.partition("@")[2].partition("/")[0]


def _downloaded(file: str) -> Path:
    """The file of `hf://datasets/ID@COMMIT/PATH` on disk; thrown away where its hash is not the one it is named by."""
    from huggingface_hub import hf_hub_download

    repository, _, rest = file.removeprefix("hf://datasets/").partition("@")
    revision, _, path = rest.partition("/")
    local = Path(hf_hub_download(repository, path, revision=revision, repo_type="dataset"))
    blob = local.resolve()
    if len(blob.name) == 64 and set(blob.name) <= set(
        "0123456789abcdef"
    ):  # by its sha256, as all large files are
        with blob.open("rb") as content:
            found = file_digest(content, "sha256").hexdigest()
        if found != blob.name:
            local.unlink()
            blob.unlink()
            raise UsageError(
                f"hub:{repository}: {path}: sha256 {found[:8]}, expected {blob.name[:8]}; thrown away, try again"
            )
    return local


def _reason(error: BaseException, hub: Hub) -> str:
    """What went wrong, from the most telling error of the chain that was raised, and what may help."""
    from datasets.exceptions import DatasetNotFoundError
    from huggingface_hub import constants, errors

    chain = [error]
    while (
        before := chain[-1].__cause__ or chain[-1].__context__
    ) is not None and before not in chain:
        chain.append(before)
    for one in chain:
        status = getattr(getattr(one, "response", None), "status_code", 0)
        if isinstance(one, errors.GatedRepoError) or "is a gated dataset" in str(one):
            return (
                "it is gated: accept its terms on its page, and log in (hf auth login, or HF_TOKEN)"
            )
        if isinstance(one, errors.RevisionNotFoundError) or str(one).startswith("Revision "):
            return f"it has no revision {hub.revision or 'main'} any more (404)"
        if isinstance(one, errors.RepositoryNotFoundError | DatasetNotFoundError):
            return "there is no such data set (404): it was moved or removed, or is private and needs a login (HF_TOKEN)"
        if status == 429:
            return (
                "too many requests (429): wait some minutes, or log in (hf auth login, or HF_TOKEN)"
            )
        if status >= 500:
            return f"the Hub is out of order ({status})"
        if isinstance(one, OSError) and one.errno == ENOSPC:
            return f"no space left in {constants.HF_HOME} (HF_HOME names another folder)"
        if "ConnectError" in type(one).__name__:
            return "no connection"
        if "Timeout" in type(one).__name__:
            return "no answer in time (HF_HUB_DOWNLOAD_TIMEOUT is how many seconds it has)"
    return f"{' '.join(str(error).split()) or type(error).__name__:.200}"


# -- rows to files -------------------------------------------------------------------------------------------------


def _cbt_rows(row: Mapping[str, Any], _: str) -> str:
    lines = [f"{i} {sentence}\n" for i, sentence in enumerate(row["sentences"], 1)]
    return (
        "".join(lines) + f"21 {row['question']}\t{row['answer']}\t\t{'|'.join(row['options'])}\n\n"
    )


RESTORE: Mapping[str, Callable[[Mapping[str, Any], str], str]] = {
    "text": lambda row, column: row[column],
    "blank_lines": lambda row, column: row[column] or " \n",
    "padded_lines": lambda row, column: f" {row[column]} \n",
    "jsonl": lambda row, column: json.dumps({"text": row[column]}) + "\n",
    "lines": lambda row, column: row[column] + "\n",
    "cbt": _cbt_rows,
}
