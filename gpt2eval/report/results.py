"""Results on disk: one `result.json` each, whole or not there."""

import json
import os
import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from gpt2eval.errors import UsageError, first_problem
from gpt2eval.files import write_atomic
from gpt2eval.metrics.result import Result


def result_folder(out: Path, model: str, task: str) -> Path:
    """`<out>/<model>/<task>[/<variant>]`; what a file name cannot have becomes a hyphen."""
    return out / re.sub(r"[^\w.@+-]+", "-", model).strip("-.") / task


def check_writable(out: Path) -> None:
    """Raise UsageError unless results can be written below `out`, and those that are there be read."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".{os.getpid()}.probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"--out {out}: {error.strerror}; expected a folder that can be written to"
        ) from None
    for path in _below(out):
        _parse(path)


def write_result(folder: Path, result: Result) -> None:
    """Write a result's `result.json`, whole or not at all."""
    write_atomic(
        folder / "result.json",
        (json.dumps(asdict(result), indent=1, ensure_ascii=False) + "\n").encode(),
    )


def read_results(places: Iterable[Path]) -> list[Result]:
    """All results in files and below folders, in the order given, each file once.

    Raises UsageError for a place that holds none, or a file that is not a result.
    """
    paths: dict[Path, None] = {}
    for where in places:
        found = _below(where) if where.is_dir() else [where]
        if not found or not found[0].is_file():
            raise UsageError(
                f"{where}: no result.json there; expected a file or folder that 'gpt2eval run' wrote"
            )
        paths |= dict.fromkeys(found)
    return [_parse(path) for path in paths]


def _below(folder: Path) -> list[Path]:
    """The results in a folder; a folder may itself have that name, after a text that has."""
    return sorted(path for path in folder.rglob("result.json") if not path.is_dir())


def _parse(path: Path) -> Result:
    try:
        return TypeAdapter(Result).validate_json(path.read_bytes())
    except ValidationError as error:
        raise UsageError(f"{path}: not a result of gpt2eval: {first_problem(error)}") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
