"""A journal with many chunks, of which some are missing."""

import shutil
from pathlib import Path
from random import Random

from drill.load_counts import command
from drill.part import Findings
from gpt2eval.scoring.journal import Journal

LOST = 3


def run(cases: int, seed: int, folder: Path) -> Findings:
    """Let `table` report the missing chunks of a run, beside the result of another one."""
    arguments = ("--model", "toy:uniform-bytes", "--tasks", "ptb", "--data", "demo")
    one = command.run(folder, "run", *arguments, "--out", "out")
    failures = one.failures("run", 60, 1000)
    if failures:
        return Findings(cases, failures)
    place = folder / "out/large/ptb/journal"
    place.mkdir(parents=True)
    journal = Journal.of(place, {"seed": seed}, cases)
    journal.open("large", {"seed": seed})
    missing = sorted(Random(seed).sample(range(cases), LOST))
    for number in range(cases):
        if number not in missing:
            journal.path(number).touch()
    ran = command.run(folder, "table", "out")
    failures += ran.failures("table", 15, 400)
    numbers = ", ".join(map(str, missing))
    expected = f"{LOST} of {cases} chunks missing: {numbers}"
    if expected not in ran.errors:
        failures.append(f"table: expected {expected!r}, but it said {ran.errors[-300:]!r}")
    shutil.rmtree(place)
    return Findings(cases, failures, {"table": f"{ran.seconds:.1f} s"})
