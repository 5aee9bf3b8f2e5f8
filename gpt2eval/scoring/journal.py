"""Finished chunks on disk: each complete or absent, and specific to one run.

A chunk is a series of batches: about 64k tokens in total, on a GPU 64 full batches. A key over
everything its numbers depend on (data, protocol, model, tokenizer, batches) is part of its file's
name. The file is written under a temporary name, synced and renamed, and contains a checksum of its
content.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gpt2eval.files import write_atomic
from gpt2eval.notices import notify
from gpt2eval.scoring.array_files import read_arrays, write_arrays
from gpt2eval.scoring.run_files import RunFiles
from gpt2eval.types import TokenScores

Inputs = Mapping[str, object]
# Part of the key: raise it when a chunk's arrays change, and older chunks are scored again.
FORMAT = 3
REQUIRED = {"logprobs", "is_greedy"}
CHECKSUM = "sha256"  # the key in journal.json; files of older versions lack it
UNREADABLE_HEADER = (OSError, ValueError, KeyError, TypeError, RecursionError)
KEY = re.compile("[0-9a-f]{20}")
MOST_CHUNKS = 1_000_000  # of about 64k tokens each


@dataclass(frozen=True, slots=True)
class Journal:
    """The chunks of one task on one model: `count` files in a folder, named by `key`.

    `elsewhere` are folders that may hold chunks of the same work, see `open`.
    """

    folder: Path
    key: str
    count: int
    elsewhere: tuple[Path, ...] = ()

    @classmethod
    def of(
        cls, folder: Path, inputs: Inputs, count: int, elsewhere: Sequence[Path] = ()
    ) -> "Journal":
        """Return the journal of a run, without writing anything.

        `inputs` is everything that the numbers depend on.
        """
        identity = {"format": FORMAT, "decided_by": inputs}
        key = sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:20]
        return cls(folder, key, count, tuple(elsewhere))

    def open(self, model: str, inputs: Inputs) -> None:
        """Write `journal.json`, and copy the files of the same work that lie elsewhere.

        Those are of the same weights under another name, whose results lie in another folder.
        """
        content = {
            "format": FORMAT,
            "key": self.key,
            "chunks": self.count,
            "model": model,
            "decided_by": inputs,
        }
        stated = json.loads(json.dumps(content, default=str))
        header = json.dumps({CHECKSUM: _checksum(stated)} | stated, indent=1)
        write_atomic(self.folder / "journal.json", header.encode())
        for folder in self.elsewhere:
            for path in sorted(folder.glob(f"{self.key}*")):
                copy = self.folder / path.name
                if not copy.exists():
                    write_atomic(copy, path.read_bytes())

    def path(self, number: int) -> Path:
        """Return the path of a chunk's file, whether or not it exists."""
        return self.folder / self._name(number)

    def read(self, number: int) -> TokenScores | None:
        """Return a finished chunk, or None. Reports a corrupt file as a notice and deletes it."""
        path = self.path(number)
        if not path.exists():
            return None
        arrays = read_arrays(path)
        if arrays is not None and arrays.keys() >= REQUIRED:
            columns = {name: arrays[name] for name in TokenScores._fields if name in arrays}
            return TokenScores(**columns)
        notify(f"{path}: chunk {number} is corrupt and will be scored again")
        with suppress(FileNotFoundError):
            path.unlink()
        return None

    def write(
        self, number: int, scores: TokenScores, ends: np.ndarray, records: np.ndarray
    ) -> None:
        """Write a chunk: one row per scored token, with its end in its text and its record.

        `is_best_word` and `is_undecided` have one row per request, and are absent without a
        stop-word filter; `is_tied` is absent if the backend does not count ties.
        """
        columns = {name: array for name, array in scores._asdict().items() if len(array)}
        write_arrays(self.path(number), columns | {"ends": ends, "records": records})

    @property
    def files(self) -> RunFiles:
        """What is kept of the run once all chunks exist."""
        return RunFiles(self.folder, self.key)

    def missing(self) -> list[int]:
        """Return the numbers of the chunks that do not exist yet."""
        names: set[str] = set()
        for place in (self.folder, *self.elsewhere):
            with suppress(FileNotFoundError, NotADirectoryError):
                names.update(entry.name for entry in os.scandir(place))
        return [number for number in range(self.count) if self._name(number) not in names]

    def _name(self, number: int) -> str:
        return f"{self.key}-{number:05d}.safetensors"


class _Header(NamedTuple):
    """The content of a `journal.json`; `journal` is None for another version's format."""

    journal: Journal | None
    inputs: Mapping[str, object]


def of_folder(folder: Path) -> Journal | None:
    """Return the journal last opened in a folder; None if absent or unreadable."""
    try:
        return _read_header(folder / "journal.json").journal
    except UNREADABLE_HEADER:
        return None


def inputs_of(folder: Path) -> Inputs:
    """Return what decides the numbers of the journal in a folder; {} if absent or unreadable."""
    try:
        return _read_header(folder / "journal.json").inputs
    except UNREADABLE_HEADER:
        return {}


def incomplete(
    places: Sequence[Path], wanted: Callable[[Mapping[str, object]], bool] = lambda inputs: True
) -> list[str]:
    """Return a line for each journal below `places` that lacks chunks or a result.

    `wanted` selects journals by what their numbers depend on. A journal in another version's
    format is reported only if it has no result.
    """
    lines = []
    for path in _journal_files(places):
        folder = path.parent.parent
        has_result = (folder / "result.json").exists()
        try:
            header = _read_header(path)
        except UNREADABLE_HEADER:
            lines.append(f"{path}: cannot be read")
            continue
        if wanted(header.inputs):
            lines += _problems(folder, header.journal, has_result=has_result)
    return lines


def missing_chunks(
    places: Sequence[Path], wanted: Callable[[Inputs], bool]
) -> list[tuple[str, list[int]]]:
    """Return a line and the missing numbers for each journal below `places` that lacks chunks."""
    found = []
    for path in _journal_files(places):
        try:
            header = _read_header(path)
        except UNREADABLE_HEADER:
            continue
        missing = header.journal.missing() if header.journal and wanted(header.inputs) else []
        if missing:
            lines = _problems(path.parent.parent, header.journal, has_result=True)
            found.append((next(lines), missing))
    return found


def _problems(folder: Path, journal: Journal | None, *, has_result: bool) -> Iterator[str]:
    if journal is None:
        if not has_result:
            yield f"{folder}: its journal was written by another version"
    elif missing := journal.missing():
        numbers = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
        yield f"{folder}: {len(missing)} of {journal.count} chunks missing: {numbers}"
    elif not has_result:
        yield f"{folder}: all {journal.count} chunks are complete, but there is no result"


def _journal_files(places: Sequence[Path]) -> list[Path]:
    """Return each `journal/journal.json` below `places`, without looking among its chunks."""
    found: list[Path] = []
    for place in places:
        for parent, folders, files in os.walk(place):
            if "journal.json" in files and Path(parent).name == "journal":
                found.append(Path(parent, "journal.json"))
                folders.clear()
    return sorted(found)


def _checksum(content: Mapping[str, object]) -> str:
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _read_header(path: Path) -> _Header:
    """Read a `journal.json`. Raises one of `UNREADABLE_HEADER`."""
    content = dict(json.loads(path.read_text(encoding="utf-8")))
    if content.pop(CHECKSUM, _checksum(content)) != _checksum(content):
        raise ValueError("its checksum is wrong")
    inputs = dict(content["decided_by"])
    if "model" in content:
        inputs["name"] = content["model"]
    if content.get("format", 1) != FORMAT:
        return _Header(None, inputs)
    key, chunks = content["key"], content["chunks"]
    # The key is a part of patterns of file names, and the chunks are counted one by one.
    if not KEY.fullmatch(key) or type(chunks) is not int or not 0 <= chunks <= MOST_CHUNKS:
        raise ValueError("not a key and a number of chunks")
    return _Header(Journal(path.parent, key, chunks), inputs)
