"""Finished chunks on disk: each complete or absent, and specific to one run.

A chunk is a series of batches of about 64k tokens in total. A key over everything its numbers
depend on (data, protocol, model, tokenizer, batches) is part of its file's name. The file is
written under a temporary name, synced and renamed, and contains a checksum of its content.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from gpt2eval.files import write_atomic
from gpt2eval.notices import notify
from gpt2eval.types import Tally, TokenScores, Units

Inputs = Mapping[str, object]
# Part of the key: raise it when a chunk's arrays change, and older chunks are scored again.
FORMAT = 3
REQUIRED = {"logprobs", "is_greedy"}
UNREADABLE_ARRAYS = (SafetensorError, OSError, ValueError)
UNREADABLE_HEADER = (OSError, ValueError, KeyError, TypeError)


@dataclass(frozen=True, slots=True)
class Journal:
    """The chunks of one task on one model: `count` files in a folder, named by `key`."""

    folder: Path
    key: str
    count: int

    @classmethod
    def open(cls, folder: Path, inputs: Mapping[str, object], count: int) -> "Journal":
        """Open the journal of a run. `inputs` is everything that the numbers depend on."""
        identity = {"format": FORMAT, "decided_by": inputs}
        key = sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:20]
        content = {"format": FORMAT, "key": key, "chunks": count, "decided_by": inputs}
        write_atomic(folder / "journal.json", json.dumps(content, indent=1, default=str).encode())
        return cls(folder, key, count)

    def path(self, number: int) -> Path:
        """Return the path of a chunk's file, whether or not it exists."""
        return self.folder / f"{self.key}-{number:05d}.safetensors"

    def read(self, number: int) -> TokenScores | None:
        """Return a finished chunk, or None. Reports a corrupt file as a notice and deletes it."""
        path = self.path(number)
        if not path.exists():
            return None
        arrays = _read_arrays(path)
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
        _write_arrays(self.path(number), columns | {"ends": ends, "records": records})

    def tallies_path(self) -> Path:
        """Return the path of the run's tallies, which exist once all chunks do."""
        return self.folder / f"{self.key}.tallies"

    def write_tallies(self, tallies: Sequence[Tally]) -> None:
        """Write the tallies of the run: one row per part of a stream, or per record."""
        rows = [_flat(tally) for tally in tallies]
        arrays = {name: np.array([row[name] for row in rows]) for name in _flat(Tally())}
        _write_arrays(self.tallies_path(), arrays)

    def read_tallies(self) -> list[Tally] | None:
        """Return the tallies of the run, or None if they are absent, corrupt or incomplete."""
        arrays = _read_arrays(self.tallies_path())
        if arrays is None or arrays.keys() != _flat(Tally()).keys():
            return None
        rows = zip(*(array.tolist() for array in arrays.values()), strict=True)
        return [_tally(dict(zip(arrays, row, strict=True))) for row in rows]

    def start_loss_path(self) -> Path:
        """Return the path of the loss that `start_check.py` measures."""
        return self.folder / f"{self.key}.start"

    def write_start_loss(self, loss: float) -> None:
        """Write the nats per token that the model loses without its start token."""
        _write_arrays(self.start_loss_path(), {"loss": np.array([loss])})

    def read_start_loss(self) -> float | None:
        """Return the loss that an earlier run wrote, or None if it is absent or corrupt."""
        arrays = _read_arrays(self.start_loss_path())
        return float(arrays["loss"][0]) if arrays else None

    def missing(self) -> list[int]:
        """Return the numbers of the chunks that do not exist yet."""
        return [number for number in range(self.count) if not self.path(number).exists()]


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
    folders = [place for place in places if place.is_dir()]
    return sorted(path for place in folders for path in place.rglob("journal/journal.json"))


def _read_header(path: Path) -> _Header:
    """Read a `journal.json`. Raises one of `UNREADABLE_HEADER`."""
    content = json.loads(path.read_text(encoding="utf-8"))
    inputs = dict(content["decided_by"])
    if content.get("format", 1) != FORMAT:
        return _Header(None, inputs)
    return _Header(Journal(path.parent, content["key"], int(content["chunks"])), inputs)


def _write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    write_atomic(path, save(dict(arrays), {"sha256": _digest(path.name, arrays)}))


def _read_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """Return the arrays of a file, or None if it is absent or its checksum does not match."""
    try:
        with safe_open(path, "numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            checksum = (file.metadata() or {}).get("sha256")
    except UNREADABLE_ARRAYS:
        return None
    return arrays if checksum == _digest(path.name, arrays) else None


def _digest(name: str, arrays: Mapping[str, np.ndarray]) -> str:
    """Hash a file's content and name. The name holds the key and the number of the chunk."""
    digest = sha256(name.encode())
    for key, array in sorted(arrays.items()):
        digest.update(f"{key}{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _flat(tally: Tally) -> dict[str, float]:
    """Return the numbers of a tally by name, with those of its units as `units.<name>`."""
    names = [field.name for field in fields(tally) if field.name != "units"]
    numbers = {name: getattr(tally, name) for name in names}
    units = {f"units.{field.name}": getattr(tally.units, field.name) for field in fields(Units)}
    return numbers | units


def _tally(flat: Mapping[str, float]) -> Tally:
    """Build a tally from `_flat`'s names."""
    units = Units(**{field.name: int(flat[f"units.{field.name}"]) for field in fields(Units)})
    names = [field.name for field in fields(Tally) if field.name not in ("units", "nats")]
    counts = {name: int(flat[name]) for name in names}
    return Tally(nats=flat["nats"], units=units, **counts)
