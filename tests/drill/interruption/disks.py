"""An output folder that fills up, turns read-only or disappears during a run, and a file limit.

Each case expects one clear line and exit code 2, unchanged earlier results, and that the same
command completes once the trouble is over. A small tmpfs fills up and turns read-only; where none
can be mounted, `fsync` fails with the same error.
"""

import errno
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from drill.interruption.commands import AFTER_RENAME, Ended, Prepare, Running, forked
from drill.interruption.judged import OUT, contents, difference
from drill.interruption.runs import TOY, small_chunks
from drill.part import Findings

ARGUMENTS = TOY.arguments
ENOUGH = "size=32m"
MOUNT = shutil.which("mount")


class Trouble(NamedTuple):
    """What happens to the output folder during a run.

    Attributes:
        options: Those with which its tmpfs is mounted; None for a plain folder.
        prepare: Changes the forked process.
        may_complete: Whether the run may succeed in spite of it.
    """

    options: str | None
    prepare: Prepare
    may_complete: bool = False


def disks(cases: int, seed: int, folder: Path) -> Findings:
    """Run into a troubled output folder, and run the same command again without the trouble."""
    random = Random(seed)
    ended = forked(ARGUMENTS, folder / "undisturbed", None, small_chunks)
    if ended.code:
        return Findings(cases, [f"undisturbed: {ended.err[-600:]!r}"])
    expected = contents(folder / "undisturbed" / OUT)
    events = int(ended.counts[AFTER_RENAME])
    can_mount = mountable(folder / "probe")
    names = [*TROUBLES]
    failures = []
    for number in range(cases):
        name = names[number % len(names)]
        trouble = TROUBLES[name](random.randint(1, events - 1), random, can_mount)
        place = folder / str(number)
        problem = troubled(trouble, place, expected)
        if problem:
            failures.append(f"case {number}, {name}: {problem} {place}")
    return Findings(cases, failures, {"full and read-only": "tmpfs" if can_mount else "injected"})


def troubled(trouble: Trouble, place: Path, expected: Mapping[str, bytes]) -> str | None:
    """Run a command in trouble and once more without it; return what went wrong, if anything."""
    out = place / OUT
    with mounted(out, trouble.options):
        ended = forked(ARGUMENTS, place, None, trouble.prepare)
        if problem := unclear(ended, may_complete=trouble.may_complete):
            return problem
        if trouble.options is not None:
            subprocess.run([MOUNT or "", "-o", f"remount,rw,{ENOUGH}", out], check=True)
        earlier = {name: text for name, text in contents(out).items() if "result.json" in name}
        if damaged := [name for name in earlier if earlier[name] != expected[name]]:
            return f"other results than an undisturbed run's: {damaged}"
        again = forked(ARGUMENTS, place, None, small_chunks)
        if again.code or "gpt2eval: " in again.err:
            return f"the same command: exit code {again.code}: {again.err[-600:]!r}"
        return difference(contents(out), expected)


def unclear(ended: Ended, *, may_complete: bool) -> str | None:
    """Return what is wrong with the end of a run in trouble, or None."""
    lines = [line for line in ended.err.splitlines() if line.startswith("gpt2eval: ")]
    if may_complete and ended.code == 0 and not lines:
        return None
    if ended.code != 2 or len(lines) != 1 or "Traceback" in ended.err:
        return f"exit code {ended.code}: {ended.err[-600:]!r}"
    return None if OUT in lines[0] else f"does not name the folder: {lines[0]!r}"


@contextmanager
def mounted(folder: Path, options: str | None) -> Iterator[None]:
    """Mount a tmpfs with some options on a folder, unless they are None."""
    folder.mkdir(parents=True)
    if options is None:
        yield
        return
    subprocess.run([MOUNT or "", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def mountable(folder: Path) -> bool:
    """Return whether this process may mount a tmpfs."""
    try:
        with mounted(folder, ENOUGH):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def full(number: int, random: Random, can_mount: bool) -> Trouble:
    """A disk without space for all files."""
    pages = random.randint(1, 12)  # fewer than the files need
    if can_mount:
        return Trouble(f"size={4 * pages}k", small_chunks)
    return Trouble(None, partial(fail_at, number, errno.ENOSPC))


def read_only(number: int, random: Random, can_mount: bool) -> Trouble:
    """A disk that turns read-only after a number of files."""
    if can_mount:
        return Trouble(ENOUGH, partial(remount_after, number))
    return Trouble(None, partial(fail_at, number, errno.EROFS))


def removed(number: int, random: Random, can_mount: bool) -> Trouble:
    """A folder that somebody deletes; a run may create it again, and lacks chunks then."""
    return Trouble(None, partial(remove_after, number), may_complete=True)


def file_limit(number: int, random: Random, can_mount: bool) -> Trouble:
    """A limit on the size of files, as `ulimit -f` sets it."""
    return Trouble(None, partial(limit_files, random.choice((512, 1024, 2048, 3072))))


TROUBLES: Mapping[str, Callable[[int, Random, bool], Trouble]] = {
    "full": full,
    "read-only": read_only,
    "removed": removed,
    "file limit": file_limit,
}


def fail_at(number: int, code: int) -> None:
    """Have `fsync` fail from its n-th call on."""
    small_chunks()
    sync = os.fsync
    calls = 0

    def failing(file: Any) -> None:
        nonlocal calls
        calls += 1
        if calls >= number:
            raise OSError(code, os.strerror(code))
        sync(file)

    os.fsync = failing


def after_rename(number: int, act: Callable[[], object]) -> None:
    """Do something after the n-th file has its name."""
    small_chunks()
    replace = os.replace
    calls = 0

    def counted(source: Any, target: Any, **options: Any) -> None:
        nonlocal calls
        replace(source, target, **options)
        calls += 1
        if calls == number:
            act()

    os.replace = counted


def remount_after(number: int) -> None:
    """Make the output folder's tmpfs read-only after the n-th file."""
    command = [MOUNT or "", "-o", "remount,ro", str(Path(OUT).absolute())]
    after_rename(number, lambda: subprocess.run(command, check=True))


def remove_after(number: int) -> None:
    """Delete the output folder after the n-th file."""
    after_rename(number, lambda: shutil.rmtree(OUT))


def limit_files(size: int) -> None:
    """Limit files to some bytes; what the command prints goes to files, so that it fits."""
    small_chunks()
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def two_runs(cases: int, seed: int, folder: Path) -> Findings:
    """Start the same run twice at once into one folder."""
    ended = forked(ARGUMENTS, folder / "undisturbed", None, small_chunks)
    expected = contents(folder / "undisturbed" / OUT)
    failures = [] if ended.code == 0 else [f"undisturbed: {ended.err[-600:]!r}"]
    for number in range(cases):
        place = folder / str(number)
        running = [Running(ARGUMENTS, place, None, small_chunks, f"run{twin}") for twin in range(2)]
        for end in [process.wait() for process in running]:
            if end.code or "gpt2eval: " in end.err or end.out != ended.out:
                failures.append(f"case {number}: exit code {end.code}: {end.err[-600:]!r}")
        if problem := difference(contents(place / OUT), expected):
            failures.append(f"case {number}: {problem} {place}")
    return Findings(cases, failures)
