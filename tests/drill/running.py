"""Run one part of the drill in a process of its own.

Not in `__main__`, from which a spawned process of a package imports nothing.
"""

import shutil
import time
import traceback
from pathlib import Path
from typing import NamedTuple

from drill.part import Findings
from drill.parts import PARTS


class Ran(NamedTuple):
    """A part that ran, and how long it took by the clock."""

    name: str
    what: str
    findings: Findings
    seconds: float


def ran(name: str, cases: int | None, share: float, seed: int, folder: Path) -> Ran:
    """Run a part in an empty folder of its own, which stays only if a case failed.

    Args:
        name: The part's name.
        cases: How many cases; by default a share of the part's own number.
        share: Of the part's own number, at least one case.
        seed: Decides the cases.
        folder: Holds the folder of every part.
    """
    part = next(part for part in PARTS if part.name == name)
    own = folder / part.name.replace(": ", "-").replace(" ", "-").replace("/", "-")
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir(parents=True)
    start = time.monotonic()
    try:
        findings = part.run(cases or max(1, round(part.full * share)), seed, own)
    except Exception as error:  # the other parts still run
        place = traceback.extract_tb(error.__traceback__)[-1]
        problem = f"the drill itself: {error!r} ({place.filename}:{place.lineno})"
        findings = Findings(0, [problem])
    if not findings.failures:
        shutil.rmtree(own, ignore_errors=True)
    return Ran(part.name, part.what, findings, time.monotonic() - start)
