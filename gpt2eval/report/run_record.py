"""The `run.json` beside a result: command, start, end, machine and library versions.

It records everything that differs between runs of equal work, so that `result.json` is equal.
"""

import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from gpt2eval.errors import scrub
from gpt2eval.files import write_atomic
from gpt2eval.report.strict_json import dumps
from gpt2eval.version import __version__

LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "datasets", "pandas")
CPUINFO = Path("/proc/cpuinfo")


def now() -> str:
    """Return the time in UTC, in ISO 8601 with seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_run(folder: Path, start: str, call: str) -> None:
    """Write a task's `run.json`; it records `call` if there was no command line."""
    record = {
        "command": _command() or call,
        "start": start,
        "end": now(),
        "machine": {**_machine(), "torch_threads": _torch_threads()},
        "versions": _versions(),
    }
    write_atomic(folder / "run.json", f"{dumps(record)}\n".encode())


def date_of(path: Path) -> str:
    """Return when a result was measured, as the `run.json` beside it says; "" if it does not.

    Args:
        path: The result's file.
    """
    try:
        record = json.loads(path.with_name("run.json").read_bytes())
        date = str(record["end"])
        datetime.fromisoformat(date)
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return date


def _command() -> str:
    """Return the command line without secrets, or "" if another program calls the library."""
    program = Path(sys.argv[0] or "-")
    own = program.stem == "gpt2eval" or program.parts[-2:] == ("gpt2eval", "__main__.py")
    return shlex.join(["gpt2eval", *map(scrub, sys.argv[1:])]) if own else ""


@cache
def _machine() -> Mapping[str, str | int | None]:
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "cpus": os.cpu_count(),
    }


def _processor() -> str:
    """Return the processor's name; Linux keeps it in a file, which `platform` does not read."""
    try:
        for line in CPUINFO.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _torch_threads() -> int | None:
    """Return torch's number of threads, or None if torch is not loaded."""
    torch = sys.modules.get("torch")
    return torch.get_num_threads() if torch else None


@cache
def _versions() -> Mapping[str, str]:
    versions = {"gpt2eval": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
