"""One part of the drill per kind of file, made of one or more attempts."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from drill import attempts
from drill.attempts import Attempt
from drill.part import Findings, Part
from gpt2eval.config.loader import load_task
from gpt2eval.config.schema import Task

FULL = 10_000
FEWER = 2_500  # cases of a kind that shares its reader with another
QUICK = 40


def part(
    name: str,
    attempts_: Sequence[Attempt] | Callable[[], Sequence[Attempt]],
    what: str = "",
    *,
    full: int = FULL,
    quick: int = QUICK,
) -> Part:
    """Return the part that shares its cases among attempts; a function of them is called late."""
    what = what or f"a mutated {name}: accepted only if valid, else refused in one line"

    def run(cases: int, seed: int, folder: Path) -> Findings:
        return run_all(attempts_() if callable(attempts_) else attempts_, cases, seed, folder)

    return Part(f"input: {name}", what, full, quick, run)


def run_all(attempts_: Sequence[Attempt], cases: int, seed: int, folder: Path) -> Findings:
    """Run all attempts, each with its share of the cases, and join what they found."""
    share = -(-cases // len(attempts_))
    found = [
        attempts.run(attempt, share, seed, folder / str(number))
        for number, attempt in enumerate(attempts_)
    ]
    failures = [
        f"{attempt.file}: {failure}"
        for attempt, one in zip(attempts_, found, strict=True)
        for failure in one.failures
    ]
    figures = {
        how: f"{sum(int(one.figures[how].replace(',', '')) for one in found):,}"
        for how in ("accepted", "refused")
    }
    figures["slowest"] = max((one.figures["slowest"] for one in found), default="0.00 s")
    return Findings(sum(one.cases for one in found), failures, figures)


@cache
def task(name: str) -> Task:
    """Return a shipped task; it is the same in every case."""
    return load_task(name)
