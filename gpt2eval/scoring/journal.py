"""Finished units of work on disk: whole or not at all, and never another run's.

A unit is a run of batches of about 64k tokens. Its file is named by a key over everything that decides its numbers
(data, protocol, model, tokenizer, batches), written under a temporary name, synced and renamed, and holds a hash of
its own content. It does not know what the numbers mean.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from gpt2eval.files import write_atomic
from gpt2eval.notices import notify
from gpt2eval.types import Tally, TokenScores, Units


@dataclass(frozen=True, slots=True)
class Journal:
    """The units of one task on one model: `count` files in a folder, named by `key`."""

    folder: Path
    key: str
    count: int

    @classmethod
    def open(cls, folder: Path, decides: Mapping[str, object], count: int) -> "Journal":
        """The journal of a run; `decides` is all that the numbers depend on."""
        key = sha256(json.dumps(decides, sort_keys=True, default=str).encode()).hexdigest()[:20]
        journal = cls(folder, key, count)
        write_atomic(
            folder / "journal.json",
            json.dumps({"key": key, "units": count, "decided_by": decides}, indent=1).encode(),
        )
        return journal

    def path(self, unit: int) -> Path:
        return self.folder / f"{self.key}-{unit:05d}.safetensors"

    def read(self, unit: int) -> TokenScores | None:
        """A finished unit, or None; a file that is not what was written is reported on stderr and removed."""
        path = self.path(unit)
        if not path.exists():
            return None
        try:
            with safe_open(path, "numpy") as file:
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                if (file.metadata() or {}).get("sha256") == _digest(path.name, arrays):
                    return TokenScores(
                        **{name: arrays[name] for name in TokenScores._fields if name in arrays}
                    )
        except (SafetensorError, OSError, ValueError):
            pass
        notify(f"{path}: cut short or altered; unit {unit} is scored again")
        with suppress(FileNotFoundError):
            path.unlink()
        return None

    def write(self, unit: int, scores: TokenScores, ends: np.ndarray, records: np.ndarray) -> None:
        """Record a unit: a row per scored token, with the end of the token in its text and the record it is of.

        `found` has a row per request, where words are filtered.
        """
        arrays = {name: array for name, array in scores._asdict().items() if len(array)} | {
            "ends": ends,
            "records": records,
        }
        write_atomic(
            self.path(unit), save(arrays, {"sha256": _digest(self.path(unit).name, arrays)})
        )

    def tallies_path(self) -> Path:
        """The file of the run's sums, which is there when all units are."""
        return self.folder / f"{self.key}.tallies"

    def write_tallies(self, tallies: Sequence[Tally]) -> None:
        """Record what the units come to: a row per part of a stream, or per record."""
        rows = [_flat(tally) for tally in tallies]
        arrays = {name: np.array([row[name] for row in rows]) for name in _flat(Tally())}
        path = self.tallies_path()
        write_atomic(path, save(arrays, {"sha256": _digest(path.name, arrays)}))

    def read_tallies(self) -> list[Tally] | None:
        """What the units come to; None where that is not there, or not what was written."""
        path = self.tallies_path()
        try:
            with safe_open(path, "numpy") as file:
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                if (file.metadata() or {}).get("sha256") != _digest(path.name, arrays):
                    return None
        except (SafetensorError, OSError, ValueError):
            return None
        rows = zip(*(array.tolist() for array in arrays.values()), strict=True)
        return [_tally(dict(zip(arrays, row, strict=True))) for row in rows]

    def missing(self) -> list[int]:
        """The units that are not there yet."""
        return [unit for unit in range(self.count) if not self.path(unit).exists()]


def of_folder(folder: Path) -> Journal | None:
    """The journal last opened in a folder; None where there is none, or its list of units cannot be read."""
    try:
        content = json.loads((folder / "journal.json").read_text(encoding="utf-8"))
        return Journal(folder, content["key"], int(content["units"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def incomplete(
    places: Sequence[Path], wanted: Callable[[Mapping[str, object]], bool] = lambda decides: True
) -> list[str]:
    """A line for every journal below the given folders that lacks units, or that was not summed up.

    `wanted` says of what decides a journal's numbers whether it is asked for.
    """
    lines = []
    for path in sorted(
        path for place in places if place.is_dir() for path in place.rglob("journal/journal.json")
    ):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            journal = Journal(path.parent, content["key"], int(content["units"]))
            decides = dict(content["decided_by"])
        except (OSError, ValueError, KeyError, TypeError):
            lines.append(f"{path}: cannot be read")
            continue
        where = path.parent.parent
        if not wanted(decides):
            continue
        if missing := journal.missing():
            named = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
            lines.append(f"{where}: {len(missing)} of {journal.count} units missing: {named}")
        elif not (where / "result.json").exists():
            lines.append(f"{where}: all {journal.count} units are there, and no result")
    return lines


def _digest(name: str, arrays: Mapping[str, np.ndarray]) -> str:
    """The sha256 over a unit's file name, which holds its key and number, and all that is in it."""
    digest = sha256(name.encode())
    for key, array in sorted(arrays.items()):
        digest.update(
            f"{key}{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes()
        )
    return digest.hexdigest()


def _flat(tally: Tally) -> dict[str, float]:
    """A tally's numbers by name, those of its units too."""
    plain = {
        field.name: getattr(tally, field.name) for field in fields(tally) if field.name != "units"
    }
    return plain | {
        f"units.{field.name}": getattr(tally.units, field.name) for field in fields(tally.units)
    }


def _tally(flat: Mapping[str, float]) -> Tally:
    units = Units(**{field.name: int(flat[f"units.{field.name}"]) for field in fields(Units)})
    counts = {
        field.name: int(flat[field.name])
        for field in fields(Tally)
        if field.name not in ("units", "nats")
    }
    return Tally(nats=flat["nats"], units=units, **counts)
