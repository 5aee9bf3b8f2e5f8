"""Run one part of the drill in a process of its own.

Not in `__main__`, from which a spawned process of a package imports nothing.
"""

import shutil
import time
from pathlib import Path
from typing import NamedTuple

from drill.part import Findings
from drill.parts import PARTS


class Ran(NamedTuple):
    """A part that ran."""

    name: str
    what: str
    findings: Findings
    seconds: float


def ran(name: str, cases: int | None, seed: int, folder: Path) -> Ran:
    """Run a part in an empty folder of its own."""
    part = next(part for part in PARTS if part.name == name)
    own = folder / part.name.replace(": ", "-").replace(" ", "-").replace("/", "-")
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir(parents=True)
    start = time.monotonic()
    findings = part.run(part.full if cases is None else cases, seed, own)
    return Ran(part.name, part.what, findings, time.monotonic() - start)
