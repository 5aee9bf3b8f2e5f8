"""Run many attempts in a forked process with limits, and judge how each one ends.

An attempt may return, or raise UsageError with one line that names the file. A traceback, a crash,
more than two seconds or more than 500 MB of memory is a failure.
"""

import os
import resource
import signal
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from types import FrameType
from typing import NamedTuple

from drill.part import Findings
from gpt2eval.errors import UsageError

SECONDS = 2.0  # of the processor, since the machine may be busy
MEGABYTES = 500
HANGS = 60.0  # wall-clock seconds after which an attempt in C code counts as hanging
KEPT = 20  # failures whose files are kept


class TooSlowError(BaseException):
    """An attempt took more than `SECONDS`. Not an Exception, so that no handler swallows it."""


class Attempt(NamedTuple):
    """One kind of input file.

    Attributes:
        file: The file's name, which an error must mention.
        make: Returns the content of a mutated file.
        read: Gives the file to the product, and returns what it read. Raises UsageError.
        wrong: Returns why accepting a file was wrong, or None: given its path and what was read.
        mentions: What an error may mention instead of the file's name.
    """

    file: str
    make: Callable[[Random], bytes]
    read: Callable[[Path], object]
    wrong: Callable[[Path, object], str | None] = lambda path, read: None
    mentions: tuple[str, ...] = ()


class Ended(NamedTuple):
    """How an attempt ended: accepted, refused or failed."""

    how: str
    why: str
    seconds: float


def run(attempt: Attempt, cases: int, seed: int, folder: Path) -> Findings:
    """Run attempts in a forked process; one that dies is replaced.

    The files of the first failures stay in `folder/failures`.
    """
    ended: list[Ended] = []
    while len(ended) < cases:
        ended += _until_dead(attempt, range(len(ended), cases), seed, folder)
    failures = []
    for number, end in enumerate(ended):
        if end.how == "failed":
            kept = _keep(attempt, seed, number, folder) if len(failures) < KEPT else ""
            failures.append(f"case {number}: {end.why} {kept}".rstrip())
    counts = Counter(end.how for end in ended)
    figures = {how: f"{counts[how]:,}" for how in ("accepted", "refused")}
    figures["slowest"] = f"{max((end.seconds for end in ended), default=0):.2f} s"
    return Findings(cases, failures, figures)


def content_of(attempt: Attempt, seed: int, number: int) -> bytes:
    """Return the mutated file of a case."""
    return attempt.make(Random(f"{attempt.file}:{seed}:{number}"))


def _keep(attempt: Attempt, seed: int, number: int, folder: Path) -> Path:
    path = folder / "failures" / f"{number}-{attempt.file}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content_of(attempt, seed, number))
    return path


def _until_dead(attempt: Attempt, cases: range, seed: int, folder: Path) -> list[Ended]:
    """Run cases in one process; if it dies or hangs, the last one returned is the cause."""
    context = get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(attempt, cases, seed, folder, theirs))
    process.start()
    theirs.close()
    ended: list[Ended] = []
    try:
        while len(ended) < len(cases):
            if not ours.poll(HANGS):
                ended.append(Ended("failed", f"no answer in {HANGS:.0f} s", HANGS))
                break
            ended.append(ours.recv())
    except EOFError:
        process.join()
        ended.append(Ended("failed", f"the process died: exit code {process.exitcode}", 0.0))
    finally:
        process.kill()
        process.join()
        ours.close()
    return ended


def _work(attempt: Attempt, cases: range, seed: int, folder: Path, connection: Connection) -> None:
    """Run cases, and send how each one ended. Warnings are no errors here, as for a user."""
    warnings.simplefilter("ignore")
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    signal.signal(signal.SIGPROF, _too_slow)
    limit = _virtual_bytes() + MEGABYTES * 1_000_000
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    path = folder / attempt.file
    path.parent.mkdir(parents=True, exist_ok=True)
    for number in cases:
        path.write_bytes(content_of(attempt, seed, number))
        connection.send(_judged(attempt, path))
    connection.close()


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise TooSlowError


def _virtual_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def _judged(attempt: Attempt, path: Path) -> Ended:
    """Let the product read a file once, and judge how that ends."""
    before = os.times()
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        result = attempt.read(path)
        signal.setitimer(signal.ITIMER_PROF, 0)
        why = attempt.wrong(path, result)
        how = "accepted" if why is None else "failed"
    except UsageError as error:
        signal.setitimer(signal.ITIMER_PROF, 0)
        message = str(error).replace(str(path.parent), "FOLDER")  # its name may be like the file's
        why = unclear(message, (attempt.file, *attempt.mentions))
        how = "refused" if why is None else "failed"
    except TooSlowError:
        how, why = "failed", f"more than {SECONDS:.0f} s"
    except BaseException as error:  # a SystemExit would be a failure, too
        signal.setitimer(signal.ITIMER_PROF, 0)
        place = traceback.extract_tb(error.__traceback__)[-1]
        how = "failed"
        why = f"{type(error).__name__}: {error!s:.200} ({place.filename}:{place.lineno})"
    after = os.times()
    return Ended(how, why or "", sum(after[:2]) - sum(before[:2]))


def unclear(message: str, names: tuple[str, ...]) -> str | None:
    """Return what is wrong with an error message, or None: it is one line that names a file."""
    if len(message.splitlines()) != 1 or not message.isprintable():
        return f"not one printable line: {message!r:.300}"
    if not any(name in message for name in names):
        return f"does not name the file: {message!r:.300}"
    return None
