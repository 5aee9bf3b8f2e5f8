"""A baseline: results with their records in one file, to commit beside the code that they judge.

The file is strict JSON with one column of numbers per line. A column whose numbers are all equal
holds that number once. Nothing else is needed to compare a later run with it.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from gpt2eval.errors import UsageError, first_problem
from gpt2eval.files import write_atomic
from gpt2eval.metrics.clusters import Clusters
from gpt2eval.metrics.result import Result
from gpt2eval.report.comparison.pairs import Tallied
from gpt2eval.report.result_file import of_document, to_document
from gpt2eval.report.strict_json import dumps, loads
from gpt2eval.scoring import tally_columns
from gpt2eval.types import Tally

FORMAT = 1
KIND = "gpt2eval baseline"
NUMBERS = re.compile(r'\[\n\s*([^\[\]{}"]*?)\n\s*\]')  # a raw line end is in no JSON string
Number = Annotated[int, Field(ge=0, lt=2**63)]
Column = list[int] | list[float] | int | float


@dataclass(frozen=True, slots=True)
class Recorded:
    """A result of a baseline, with its tallies and their clusters; `path` is the baseline."""

    result: Result
    parts: Sequence[Tally]
    independent: Clusters
    path: Path


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Independent(_Strict):
    """The clusters of the records: their name, their numbers, and whether they are serial."""

    name: str
    numbers: list[Number] | None
    serial: bool | None


class _Entry(_Strict):
    result: dict[str, Any]
    independent: _Independent
    entries: NonNegativeInt
    columns: dict[str, Column]


class _Document(_Strict):
    kind: str
    format: int
    results: list[_Entry]


def write_baseline(path: Path, results: Iterable[Tallied]) -> None:
    """Write a baseline atomically, its results in order of their names."""
    ordered = sorted(results, key=lambda entry: entry.result.full_name)
    document = {"kind": KIND, "format": FORMAT, "results": [_entry(entry) for entry in ordered]}
    text = NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", dumps(document))
    write_atomic(path, f"{text}\n".encode())


def _entry(entry: Tallied) -> Mapping[str, Any]:
    numbers = entry.independent.numbers
    columns = tally_columns.columns(entry.parts)
    return {
        "result": to_document(entry.result),
        "independent": {
            "name": entry.independent.name,
            "numbers": None if numbers is None else numbers.tolist(),
            "serial": entry.independent.serial,
        },
        "entries": len(entry.parts),
        "columns": {name: _column(values.tolist()) for name, values in columns.items()},
    }


def _column(values: list[float]) -> list[float] | float:
    return values[0] if len({*values}) == 1 else values


def read_baseline(path: Path) -> list[Recorded]:
    """Read a baseline.

    Raises:
        UsageError: The file is absent, is not a baseline, or its records do not add up to its
            results.
    """
    try:
        return _read(loads(path.read_bytes()), path)
    except FileNotFoundError:
        raise UsageError(
            f"{path}: no such file; expected a baseline, which 'gpt2eval gate RESULTS --baseline "
            f"{path} --update' writes"
        ) from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except ValidationError as error:
        raise UsageError(f"{path}: not a baseline of gpt2eval: {first_problem(error)}") from None
    except (UsageError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not a baseline of gpt2eval: {error}") from None


def _read(document: Any, path: Path) -> list[Recorded]:
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise UsageError(f"expected a JSON object with the kind {KIND!r}")
    if document.get("format") != FORMAT:
        raise UsageError(f"format {document.get('format')!r:.20}; expected {FORMAT}")
    entries = _Document.model_validate(document).results
    if not entries:
        raise UsageError("results: empty; expected at least one")
    recorded = [_recorded(entry, path) for entry in entries]
    tasks = Counter(entry.result.full_name for entry in recorded)
    if twice := [task for task, times in tasks.items() if times > 1]:
        raise UsageError(f"several results of {twice[0]}; expected one of each task")
    if len(models := {entry.result.model.name for entry in recorded}) > 1:
        raise UsageError(f"results of {len(models)} models; expected those of one")
    return recorded


def _recorded(entry: _Entry, path: Path) -> Recorded:
    result = of_document(entry.result)
    arrays = {
        name: _array(name, column, entry.entries, result.full_name)
        for name, column in entry.columns.items()
    }
    parts = tally_columns.tallies(arrays)
    if parts is None:
        raise UsageError(
            f"{result.full_name}: columns {', '.join(arrays) or '(none)'}; expected "
            f"{', '.join(tally_columns.columns([]))}"
        )
    if Tally.total(parts) != result.tally:
        raise UsageError(f"{result.full_name}: its records do not add up to its result")
    independent = entry.independent
    numbers = independent.numbers
    if numbers is not None and (len(numbers) != len(parts) or sorted(numbers) != numbers):
        raise UsageError(
            f"{result.full_name}: independent.numbers: expected {len(parts)} numbers that do not "
            "decrease"
        )
    array = None if numbers is None else np.array(numbers, np.int64)
    return Recorded(result, parts, Clusters(independent.name, array, independent.serial), path)


def _array(name: str, column: Column, entries: int, task: str) -> np.ndarray:
    values = column if isinstance(column, list) else [column] * entries
    if len(values) != entries:
        raise UsageError(f"{task}: {name}: {len(values)} numbers; expected {entries}")
    if name != "nats" and not all(isinstance(value, int) and value >= 0 for value in values):
        raise UsageError(f"{task}: {name}: expected whole numbers of 0 or more")
    return np.array(values)
