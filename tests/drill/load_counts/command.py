"""Run a command of gpt2eval in a process of its own, and tell what it cost."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

OPEN_FILES = 256
# A new process counts the memory of the one that starts it, so a small one starts the command.
LAUNCHER = """
import json, resource, subprocess, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]), int(sys.argv[2])))
code = subprocess.call(sys.argv[3:])
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], "w") as file:
    json.dump([code, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000], file)
"""
SMALL_CHUNKS = """
from gpt2eval.scoring import plan
plan.CHUNK_TOKENS = 1
from gpt2eval.__main__ import main
main()
"""


class Ran(NamedTuple):
    """A command that ended: its exit code, output, CPU seconds and greatest memory in MB."""

    code: int
    output: str
    errors: str
    seconds: float
    megabytes: float

    def failures(self, name: str, seconds: float, megabytes: float) -> list[str]:
        """Return a line for each way in which a command failed: by its code, time or memory."""
        found: list[str] = []
        if self.code:
            found.append(f"{name}: exit code {self.code}: {self.errors[-300:]!r}")
        if self.seconds > seconds:
            found.append(f"{name}: {self.seconds:.1f} CPU s; expected at most {seconds:.1f}")
        if self.megabytes > megabytes:
            found.append(f"{name}: {self.megabytes:.0f} MB; expected at most {megabytes:.0f}")
        return found


def run(folder: Path, *arguments: str | Path, has_small_chunks: bool = False) -> Ran:
    """Run `gpt2eval` with arguments on one thread; its output goes to files in `folder`.

    It may open no more than `OPEN_FILES` files at once. `has_small_chunks`: each batch is a chunk.
    """
    output, errors, costs = (folder / name for name in ("stdout.txt", "stderr.txt", "costs.json"))
    start = ("-c", SMALL_CHUNKS) if has_small_chunks else ("-m", "gpt2eval")
    command = [sys.executable, *start, *map(str, arguments)]
    launcher = [sys.executable, "-c", LAUNCHER, str(costs.absolute()), str(OPEN_FILES)]
    with output.open("wb") as out, errors.open("wb") as err:
        subprocess.run(
            launcher + command,
            stdout=out,
            stderr=err,
            cwd=folder,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            check=True,
        )
    code, seconds, megabytes = json.loads(costs.read_text())
    return Ran(code, output.read_text("utf-8"), errors.read_text("utf-8"), seconds, megabytes)
