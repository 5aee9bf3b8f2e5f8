"""Score a generated text of some MB in a process, and measure what it takes."""

import json
import math
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from drill.part import Findings

MEGABYTE = 1_000_000
MOST = 300  # MB over the process that scores a short text
LINE = 700  # characters
COMMAND = """
import resource, sys
from gpt2eval.cli.main import main
try:
    main()
finally:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds = sum(one.ru_utime + one.ru_stime for one in used)
    unit = 1 if sys.platform == "darwin" else 1024
    print(f"\\nmeasured {used[0].ru_maxrss * unit} {seconds}", file=sys.stderr)
"""


class Used(NamedTuple):
    """What a process took, and the bits per byte that it found; an error if it failed."""

    memory: float
    seconds: float
    bits: float
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
    # The sum of the nats and the quotient are rounded once each.
    if not failures and not math.isclose(after.bits, 8, rel_tol=1e-15):
        failures.append(f"seed {seed}: {after.bits} bits per byte; expected 8")
    long.unlink()
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
        return Used(0, 0, 0, f"{text.name}: exit {done.returncode}: {done.stderr[-300:]!r}")
    memory, seconds = last[0].split()[1:]
    result = json.loads((out / "toy-uniform-bytes/enwik8/result.json").read_bytes())
    bits = result["metrics"]["bpb"]["value"]
    return Used(float(memory), float(seconds), bits, "")
