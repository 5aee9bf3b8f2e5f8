"""A `result.json`: find, write, read and check it.

Does not know how a result is measured.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from functools import cache
from hashlib import sha256
from json import JSONDecodeError
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from gpt2eval.errors import UsageError, first_problem
from gpt2eval.files import write_atomic
from gpt2eval.metrics.consistency import check_groups, check_metric
from gpt2eval.metrics.result import Result
from gpt2eval.report.folders import RESULT, check_owner
from gpt2eval.report.migrations import FORMAT, migrate
from gpt2eval.report.steps import natural
from gpt2eval.report.strict_json import dumps, finite, loads
from gpt2eval.types import Tally, Units

CHECKSUM = "sha256"  # the key in result.json; files of older versions lack it
LARGEST = 1 << 63  # tables hold whole numbers of 64 bits


def paths_in(place: Path) -> list[Path]:
    """Return the result files that a file or folder names. Raises UsageError if there is none."""
    paths = paths_below(place) if place.is_dir() else [place]
    if not paths or not paths[0].is_file():
        raise UsageError(
            f"{place}: no result.json; expected a file or folder that 'gpt2eval run' wrote"
        )
    return paths


def paths_below(folder: Path) -> list[Path]:
    """Return the result.json files below a folder, sorted, numbers in names by value.

    A folder of that name, such as the results of a text called `result.json`, is not one of them.
    """
    paths: list[Path] = []
    for parent, folders, files in os.walk(folder):
        if RESULT in files:
            paths.append(Path(parent, RESULT))
            if "journal" in folders:
                folders.remove("journal")  # the task's own, with a file per chunk
    return sorted(paths, key=lambda path: [natural(part) for part in path.parts])


def write_result(folder: Path, result: Result) -> None:
    """Write a result's `result.json` atomically.

    Raises UsageError if the folder holds the result of another model, which stays as it is.
    """
    check_owner(folder, result.model.name)
    write_atomic(folder / RESULT, to_bytes(result))


def to_bytes(result: Result) -> bytes:
    """Return the content of a result's `result.json`, with its checksum."""
    document = to_document(result)
    return f"{dumps(document | {CHECKSUM: _checksum(document)})}\n".encode()


def to_document(result: Result) -> dict[str, Any]:
    """Return what a result.json states of a result."""
    document: dict[str, Any] = {"format": FORMAT} | asdict(result)
    for metric in document["metrics"].values():
        del metric["name"]  # the key of the entry
    document["model"] = result.model.stated()
    return document


def read_result(path: Path) -> Result:
    """Read one result.json of the current format or an older one.

    Raises UsageError for a file that is unreadable, is not a result, lacks a count, or was changed
    after it was written.
    """
    try:
        document = loads(path.read_bytes())
        if not isinstance(document, dict):
            raise UsageError("expected a JSON object")
        checksum = document.pop(CHECKSUM, None)
        result = of_document(document)
        if checksum is not None and checksum != _checksum(document):
            raise UsageError(f"{CHECKSUM}: not that of the content, which was damaged or edited")
        return result
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except (JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path}: not a result of gpt2eval: invalid JSON: {error}") from None
    except (UsageError, ValueError) as error:
        raise UsageError(f"{path}: not a result of gpt2eval: {error}") from None


def of_document(document: Mapping[str, Any]) -> Result:
    """Return the result of a document that `to_document` made, in this format or an older one.

    Raises UsageError for a document that is not a result, or lacks a count.
    """
    try:
        return _validated(migrate(dict(document)))
    except ValidationError as error:
        raise UsageError(first_problem(error)) from None


@cache
def _adapter() -> TypeAdapter[Result]:
    """Return pydantic's validator of a result.

    It is cached because building it takes longer than validating 100 results.
    """
    return TypeAdapter(Result)


def _validated(document: Mapping[str, Any]) -> Result:
    _check_counts(document, ("tally",), Tally)
    _check_counts(document, ("tally", "units"), Units)
    groups = document.get("groups")
    for group in groups.get("rows", ()) if isinstance(groups, dict) else ():
        _check_counts(group, ("tally",), Tally)
        _check_counts(group, ("tally", "units"), Units)
    metrics = document.get("metrics")
    if isinstance(metrics, dict):
        named = {
            key: {"name": key, **entry} if isinstance(entry, dict) else entry
            for key, entry in metrics.items()
        }
        document = {**document, "metrics": named}
    result = _adapter().validate_python(document)
    if not result.metrics:
        raise UsageError("metrics: empty; expected at least one")
    if (result.protocol.limit or 0) >= LARGEST:
        raise UsageError(f"protocol.limit: {result.protocol.limit:.3e}; expected at most 64 bits")
    for metric in result.metrics.values():
        if any(math.isnan(number) for number in (metric.value, *(metric.interval or ()))):
            raise UsageError(
                f"metrics.{metric.name}: not a number; expected a value and an interval"
            )
        check_metric(metric, result.tally)
    if result.groups is not None:
        check_groups(result.groups, result.tally)
    return result


def _checksum(document: Mapping[str, Any]) -> str:
    """Hash what a result states, whatever the order of its keys and the space between them."""
    try:
        text = json.dumps(document, sort_keys=True, allow_nan=False)
    except ValueError:  # rare; looking at each number first would take most of the time of reading
        text = json.dumps(finite(document), sort_keys=True)
    return sha256(text.encode()).hexdigest()


def _check_counts(document: Any, keys: Sequence[str], kind: type[Tally | Units]) -> None:
    """Raise UsageError for a missing count, which the dataclass would default to 0."""
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    counts = document if isinstance(document, dict) else {}
    for field in fields(kind):
        place = ".".join([*keys, field.name])
        if field.name not in counts:
            raise UsageError(f"{place}: missing; expected a count")
        count = counts[field.name]
        if isinstance(count, int) and not 0 <= count < LARGEST:
            raise UsageError(f"{place}: {count!s:.25}; expected 0 or more, in 64 bits")
