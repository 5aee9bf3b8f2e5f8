"""Score a generated text of some MB in a process, and measure what it takes.

Its folder takes 51 MB for each MB of the text, and the folder for temporary files 31 MB.
"""

import json
import math
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from drill.part import Findings

MEGABYTE = 1 << 20  # of a file of 100,000,000 bytes, only the end is scored
MOST = 300  # MB over the process that scores a short text
LINE = 700  # characters
# On Linux `ru_maxrss` is at least the memory of the process that started this one; VmHWM is not.
COMMAND = """
import re, resource, sys
from pathlib import Path
from gpt2eval.cli.main import main
try:
    main()
finally:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds = sum(one.ru_utime + one.ru_stime for one in used)
    most = used[0].ru_maxrss
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text()
        most = 1024 * int(re.search("VmHWM:\\\\s+([0-9]+) kB", status)[1])
    print(f"\\nmeasured {most} {seconds}", file=sys.stderr)
"""


class Used(NamedTuple):
    """What a process took, the bits per byte that it found, and how many bytes it scored.

    `error` says how it failed; it is empty if it did not.
    """

    memory: float
    seconds: float
    bits: float
    scored: int
    error: str


def stream(cases: int, seed: int, folder: Path) -> Findings:
    """Score a text of `cases` MB, and a short one."""
    short = folder / "short.txt"
    long = folder / "long.txt"
    write_text(short, 5000, seed)
    write_text(long, cases * MEGABYTE, seed)
    before = scored(short, folder / "short")
    after = scored(long, folder / "long")
    grown = (after.memory - before.memory) / MEGABYTE
    failures = [used.error for used in (before, after) if used.error]
    if not failures and grown >= MOST:
        failures.append(f"seed {seed}: {cases} MB of text took {grown:.0f} MB; expected {MOST}")
    # A sum of equal nats is rounded once, and so is the quotient.
    if not failures and not math.isclose(after.bits, 8, rel_tol=1e-15):
        failures.append(f"seed {seed}: {after.bits} bits per byte; expected 8")
    if not failures and after.scored != cases * MEGABYTE:
        failures.append(f"seed {seed}: {after.scored} bytes scored; expected {cases * MEGABYTE}")
    long.unlink()
    shutil.rmtree(folder / "long", ignore_errors=True)
    figures = {"MB of memory": f"{grown:.0f}", "CPU s": f"{after.seconds:.0f}"}
    return Findings(cases, failures, figures)


def write_text(path: Path, size: int, seed: int) -> None:
    """Write lines of random words, `size` bytes in all."""
    chosen = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(chosen.choices(letters, k=chosen.randint(1, 9))) for _ in range(5000)]
    left = size
    with path.open("w", encoding="ascii") as file:
        while left:
            line = " ".join(chosen.choices(words, k=LINE // 6))[: min(left, LINE) - 1] + "\n"
            left -= file.write(line)


def scored(text: Path, out: Path) -> Used:
    """Score a text with the command in a process of its own."""
    arguments = ["run", "--model", "toy:uniform-bytes", "--tasks", "enwik8"]
    arguments += ["--data", f"enwik8={text}", "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    last = done.stderr.strip().splitlines()[-1:]
    if done.returncode or not last or not last[0].startswith("measured "):
        return Used(0, 0, 0, 0, f"{text.name}: exit {done.returncode}: {done.stderr[-300:]!r}")
    memory, seconds = last[0].split()[1:]
    result = json.loads((out / "toy-uniform-bytes/enwik8/result.json").read_bytes())
    found = result["metrics"]["bpb"]
    return Used(float(memory), float(seconds), found["value"], found["units"], "")
