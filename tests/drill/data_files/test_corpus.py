"""Every mutant that the product once treated wrongly is refused in one line that names the file."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from drill.attempts import unclear
from drill.data_files import journals, results, settings_files, signatures
from gpt2eval.errors import UsageError
from gpt2eval.training.history import read_history

CORPUS = Path(__file__).parents[2] / "corpus"
LARGEST = 4096  # bytes


class Reader(NamedTuple):
    """How the product reads a kind of file, where the file must lie, and what its errors name."""

    file: str
    read: Callable[[Path], object]
    name: str


READERS = {
    "stop-words": Reader("tasks/stopwords/mine.txt", settings_files.read_filter, "mine.txt"),
    "detokenizer": Reader("detokenizers/mine.yaml", settings_files.read_detokenizer, "mine.yaml"),
    "signature": Reader("line", signatures.read_line, "signature"),
    "result.json": Reader("result.json", results.read_result, "result.json"),
    "checkpoint.json": Reader(
        "run/checkpoint.json", lambda path: read_history(path.parents[1]), "checkpoint.json"
    ),
}
FILES = [path for kind in READERS for path in sorted((CORPUS / kind).iterdir())]
HEADERS = sorted((CORPUS / "journal").iterdir())


@pytest.mark.parametrize("source", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_it_is_refused_in_one_line(source: Path, tmp_path: Path) -> None:
    reader = READERS[source.parent.name]
    path = tmp_path / reader.file
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, path)

    with pytest.raises(UsageError) as refused:
        reader.read(path)

    assert unclear(str(refused.value), (reader.name,)) is None


@pytest.mark.parametrize("source", HEADERS, ids=lambda path: path.name)
def test_a_journal_whose_header_is_damaged_is_reported(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "journal/journal.json"
    path.parent.mkdir()
    shutil.copy(source, path)

    assert journals.read_header(path) == [f"{path}: cannot be read"]


def test_a_message_is_printable() -> None:
    text = "\ud83d, a\udca1, \ufeffb\u200b, c\u00a0d, \ue000"

    assert str(UsageError(text)) == "\ufffd, a\ufffd, b, c d, \ufffd"


def test_the_files_are_small() -> None:
    assert all(path.stat().st_size <= LARGEST for path in [*FILES, *HEADERS])
