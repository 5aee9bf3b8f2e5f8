"""Kill a command, run it again, and compare everything it leaves with an undisturbed run."""

import json
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from drill.interruption.commands import CPU, Ended, Kill, Prepare, forked, installed, kills
from drill.part import Findings
from gpt2eval.files import TEMPORARY

OUT = "out"
VARYING = ("start", "end", "command")  # of run.json: times, and a worker's number


class Scenario(NamedTuple):
    """A command that can be killed and resumed.

    Attributes:
        arguments: The command, which writes into the folder `out` of its current folder.
        prepare: Changes the forked process before it starts.
        before: Called before each command that runs, to set up its surroundings.
    """

    arguments: Sequence[str]
    prepare: Prepare | None = None
    before: Callable[[], None] = lambda: None


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, hidden ones included, without the times in them."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _lasting(path) for path in paths}


def _lasting(path: Path) -> bytes:
    """Return the content of a file without what differs between runs of equal work."""
    if path.name != "run.json":
        return path.read_bytes()
    record = json.loads(path.read_bytes())
    return json.dumps({key: record[key] for key in record if key not in VARYING}).encode()


def difference(found: Mapping[str, bytes], expected: Mapping[str, bytes]) -> str | None:
    """Return which files differ from those of an undisturbed run; None if none does."""
    surplus = [name for name in found if name not in expected]
    if garbage := [name for name in surplus if TEMPORARY.fullmatch(Path(name).name)]:
        return f"temporary files stay: {garbage}"
    if surplus:
        return f"files that an undisturbed run does not have: {surplus[:5]}"
    changed = [name for name in expected if found.get(name) != expected[name]]
    return f"other content than an undisturbed run's: {changed[:5]}" if changed else None


def chunks(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the finished chunks below a folder, each with its inode and time."""
    paths = folder.rglob("journal/*.safetensors")
    stats = {path.relative_to(folder).as_posix(): path.stat() for path in paths}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}


def disorderly(ended: Ended, kill: Kill) -> str | None:
    """Return what is wrong with the end of a killed command; None if it ended as documented.

    It may have finished before the signal came.
    """
    if "Traceback" in ended.err or "Exception ignored" in ended.err:
        return f"a traceback: {ended.err[-600:]!r}"
    lines = [line for line in ended.err.splitlines() if line.startswith("gpt2eval: interrupted")]
    if ended.code == 0:
        return "it says that it was interrupted, with exit code 0" if lines else None
    if ended.code == -kill.signal:  # always for SIGKILL, and else before the command began
        began_late = kill.signal != signal.SIGKILL and kill.event != CPU
        return "the signal ended the process" if began_late or lines else None
    if ended.code != 128 + kill.signal:
        return f"exit code {ended.code}: {ended.err[-600:]!r}"
    return None if len(lines) == 1 else f"expected one line: {ended.err[-600:]!r}"


def once(scenario: Scenario, folder: Path, kill: Kill | None, *, real: bool) -> Ended:
    """Run a command once: the installed one, or a fork."""
    scenario.before()
    if real:
        return installed(scenario.arguments, folder, kill)
    return forked(scenario.arguments, folder, kill, scenario.prepare)


def killed_and_resumed(
    scenario: Scenario, folder: Path, kill: Kill, expected: Mapping[str, bytes], *, real: bool
) -> str | None:
    """Kill a command, run it again, and return what went wrong, if anything."""
    ended = once(scenario, folder, kill, real=real)
    problem = disorderly(ended, kill)
    if problem:
        return problem
    before = chunks(folder / OUT)
    again = once(scenario, folder, None, real=real)
    if again.code or "gpt2eval: " in again.err:
        return f"the resumed command: exit code {again.code}: {again.err[-600:]!r}"
    after = chunks(folder / OUT)
    if repeated := [name for name in before if after.get(name) != before[name]]:
        return f"finished chunks were scored again: {repeated[:5]}"
    return difference(contents(folder / OUT), expected)


def drill(
    scenarios: Mapping[str, Scenario], cases: int, seed: int, folder: Path, *, real: bool = False
) -> Findings:
    """Kill commands at moments spread over their undisturbed runs, and resume each of them.

    Args:
        scenarios: The commands by name; the cases take turns.
        cases: How many kills.
        seed: Decides the moments.
        folder: An empty folder.
        real: Whether to run the installed command instead of a fork.
    """
    failures = []
    random = Random(seed)
    undisturbed: dict[str, dict[str, bytes]] = {}
    planned: dict[str, list[Kill]] = {}
    for name, scenario in [*scenarios.items()][:cases]:
        place = folder / f"{name}-undisturbed"
        ended = once(scenario, place, None, real=real)
        if ended.code:
            return Findings(cases, [f"{name}: undisturbed: {ended.err[-600:]!r}"])
        undisturbed[name] = contents(place / OUT)
        planned[name] = kills(cases, ended.counts, random)
    for number in range(cases):
        name = [*scenarios][number % len(scenarios)]
        kill = planned[name][number]
        place = folder / str(number)
        problem = killed_and_resumed(scenarios[name], place, kill, undisturbed[name], real=real)
        if problem:
            failures.append(f"case {number}, {name}, {kill}: {problem} {place}")
        else:
            shutil.rmtree(place)
    return Findings(cases, failures, {})
