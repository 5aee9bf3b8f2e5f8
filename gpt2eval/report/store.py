"""Results on disk: each a complete `result.json` with a `run.json` beside it.

Equal work gives an equal `result.json`, byte for byte. Does not know how a result is measured.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from functools import cache
from json import JSONDecodeError
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from gpt2eval.errors import UsageError, first_problem
from gpt2eval.files import host, remove_leftovers, write_atomic
from gpt2eval.metrics import signature
from gpt2eval.metrics.result import Result
from gpt2eval.notices import notify
from gpt2eval.report.folders import RESULT, check_owner
from gpt2eval.report.folders import result_folder as result_folder
from gpt2eval.report.migrations import FORMAT, migrate
from gpt2eval.report.results import Results
from gpt2eval.report.steps import natural
from gpt2eval.report.strict_json import dumps, restored
from gpt2eval.types import Tally, Units

LARGEST = 1 << 63  # tables hold whole numbers of 64 bits


def check_writable(out: Path) -> None:
    """Raise UsageError unless files can be created below `out`."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        remove_leftovers(out)
        probe = (
            out / f".probe.{os.getpid()}@{host()}.tmp"
        )  # if killed here, the next run removes it
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"--out {out}: {error.strerror}; expected a folder that can be written to"
        ) from None


def write_result(folder: Path, result: Result) -> None:
    """Write a result's `result.json` atomically.

    Raises UsageError if the folder holds the result of another model, which stays as it is.
    """
    check_owner(folder, result.model.name)
    write_atomic(folder / RESULT, f"{dumps(to_document(result))}\n".encode())


def to_document(result: Result) -> dict[str, Any]:
    """Return a result as the content of a result.json."""
    document: dict[str, Any] = {"format": FORMAT} | asdict(result)
    for metric in document["metrics"].values():
        del metric["name"]  # the key of the entry
    document["model"] = result.model.stated()
    return document


def read_results(*places: Path | str) -> Results:
    """Read results from any number of files and folders, in the order given, each file once.

    Args:
        places: result.json files, or folders with such files at any depth.

    Returns:
        The results. A file that cannot be read is skipped with a notice.

    Raises:
        UsageError: a place has no result.json, or none of the files can be read.

    Examples:
        >>> import tempfile
        >>> from gpt2eval import demo, evaluate
        >>> with tempfile.TemporaryDirectory() as out:
        ...     _ = evaluate("toy:uniform-bytes", "text8", data=demo.data(), out=out)
        ...     round(read_results(out)["text8"].bpc, 9)
        8.0
    """
    paths: dict[Path, None] = {}
    for place in map(Path, places):
        paths |= dict.fromkeys(paths_in(place))
    results: list[Result] = []
    problems: list[UsageError] = []
    for path in paths:
        try:
            results.append(read_result(path))
        except UsageError as error:
            problems.append(error)
    if problems and not results:
        raise problems[0]
    for problem in problems:
        notify(f"{problem}; skipped")
    return Results(results)


def paths_in(place: Path) -> list[Path]:
    """Return the result files that a file or folder names. Raises UsageError if there is none."""
    paths = paths_below(place) if place.is_dir() else [place]
    if not paths or not paths[0].is_file():
        raise UsageError(
            f"{place}: no result.json; expected a file or folder that 'gpt2eval run' wrote"
        )
    return paths


def readable(folder: Path) -> Results:
    """Return the results below a folder; skip an unreadable file with a notice."""
    results = (read_or_notify(path) for path in paths_below(folder))
    return Results([result for result in results if result])


def read_or_notify(path: Path) -> Result | None:
    """Read one result; return None, with a notice, if it cannot be read."""
    try:
        return read_result(path)
    except UsageError as error:
        notify(f"{error}; skipped")
        return None


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


def read_result(path: Path) -> Result:
    """Read one result.json of the current format or an older one.

    Raises UsageError for a file that is unreadable, is not a result, or lacks a count.
    """
    try:
        document = json.loads(path.read_bytes())
        if not isinstance(document, dict):
            raise UsageError("expected a JSON object")
        return _validated(migrate(restored(document)))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except ValidationError as error:
        raise UsageError(f"{path}: not a result of gpt2eval: {first_problem(error)}") from None
    except (JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path}: not a result of gpt2eval: invalid JSON: {error}") from None
    except (UsageError, ValueError) as error:
        raise UsageError(f"{path}: not a result of gpt2eval: {error}") from None


@cache
def _adapter() -> TypeAdapter[Result]:
    """Return pydantic's validator of a result.

    It is cached because building it takes longer than validating 100 results.
    """
    return TypeAdapter(Result)


def _validated(document: Mapping[str, Any]) -> Result:
    _check_counts(document, ("tally",), Tally)
    _check_counts(document, ("tally", "units"), Units)
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
        signature.read(metric.signature)  # a table compares signatures, so each must parse
        if any(math.isnan(number) for number in (metric.value, *(metric.interval or ()))):
            raise UsageError(
                f"metrics.{metric.name}: not a number; expected a value and an interval"
            )
    return result


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
        if isinstance(count, int) and count < 0:
            raise UsageError(f"{place}: {count}; expected 0 or more")
