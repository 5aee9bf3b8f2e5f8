"""Run `gpt2eval` commands in processes that are killed at a chosen moment.

A command runs in a fork of a process that has imported everything, so that 200 kills are cheap.
A moment is an amount of processor time, so that a busy machine does not shift it, or a counted
event around the writing of a file. The kernel itself sends the signal after the processor time.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from multiprocessing import get_context, set_start_method
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from resource import RLIMIT_FSIZE, RUSAGE_CHILDREN, getrlimit, getrusage, setrlimit
from typing import Any, NamedTuple

HANGS = 300.0  # wall-clock seconds after which a command counts as hanging
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
BEFORE_SYNC, BEFORE_RENAME, AFTER_RENAME = "before fsync", "before rename", "after rename"
EVENTS = (BEFORE_SYNC, BEFORE_RENAME, AFTER_RENAME)
CPU = "cpu seconds"
PROCESS_CPU_CLOCK = 2  # CLOCK_PROCESS_CPUTIME_ID of Linux
PRELOADED = "drill.interruption.preloaded"
OUTPUT, ERRORS, COUNTS = ".stdout", ".stderr", ".counts"


class Kill(NamedTuple):
    """A signal, and the moment at which a process gets it.

    Attributes:
        signal: The signal.
        event: `CPU`, or one of `EVENTS`.
        at: Seconds of processor time, or the number of the event, from 1 on.
    """

    signal: signal.Signals
    event: str
    at: float

    def __str__(self) -> str:
        return f"{self.signal.name} at {self.event} {self.at:.4g}"


class Ended(NamedTuple):
    """How a command ended: its exit code, negative for a signal, and what it printed.

    `counts` has its processor time and its events; it is empty if a signal ended the process.
    """

    code: int
    out: str
    err: str
    counts: Mapping[str, float]


Prepare = Callable[[], None]  # changes the forked process before the command starts


class Running:
    """A command that runs in a fork."""

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        kill: Kill | None = None,
        prepare: Prepare | None = None,
        name: str = "",
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._name = name
        self._process: BaseProcess = _context().Process(
            target=_work, args=(arguments, folder, kill, prepare, name)
        )
        self._process.start()

    def wait(self) -> Ended:
        """Wait until the command ends, and return how."""
        self._process.join(HANGS)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
            return Ended(-1, "", f"no end within {HANGS:.0f} s", {})
        counts = self._folder / f"{self._name}{COUNTS}"
        return Ended(
            self._process.exitcode,
            (self._folder / f"{self._name}{OUTPUT}").read_text("utf-8"),
            (self._folder / f"{self._name}{ERRORS}").read_text("utf-8"),
            json.loads(counts.read_text()) if counts.exists() else {},
        )


def forked(
    arguments: Sequence[str],
    folder: Path,
    kill: Kill | None = None,
    prepare: Prepare | None = None,
) -> Ended:
    """Run a command in a fork, with `folder` as its current folder."""
    return Running(arguments, folder, kill, prepare).wait()


def installed(arguments: Sequence[str], folder: Path, kill: Kill | None = None) -> Ended:
    """Run the installed command, and send it a signal after an amount of processor time."""
    before = getrusage(RUSAGE_CHILDREN)
    folder.mkdir(parents=True, exist_ok=True)
    script = Path(sys.executable).with_name("gpt2eval")
    command = [str(script)] if script.exists() else [sys.executable, "-m", "gpt2eval"]
    with (
        (folder / OUTPUT).open("wb") as out_file,
        (folder / ERRORS).open("wb") as err_file,
        subprocess.Popen(
            [*command, *arguments],
            stdout=out_file,
            stderr=err_file,
            cwd=folder,
            env=os.environ | ENVIRONMENT,
            preexec_fn=accept_interrupts,
        ) as process,
    ):
        while kill and process.poll() is None:
            if cpu_seconds(process.pid) >= kill.at:
                process.send_signal(kill.signal)
                break
            time.sleep(0.002)
        process.wait(HANGS)
    after = getrusage(RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    out, err = ((folder / name).read_text("utf-8") for name in (OUTPUT, ERRORS))
    return Ended(process.returncode, out, err, {CPU: seconds})


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a running process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "PYTHONPATH": str(Path(__file__).parents[3]),
}


@cache
def _context() -> Any:
    """Return the context whose processes are forks of one that has imported everything."""
    os.environ["OMP_NUM_THREADS"] = ENVIRONMENT["OMP_NUM_THREADS"]  # torch reads it at its import
    context = get_context("forkserver")
    context.set_forkserver_preload(["__main__", PRELOADED])
    return context


def accept_interrupts() -> None:
    """Restore the default of SIGINT, which a process in the background ignores."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _work(
    arguments: Sequence[str],
    folder: Path,
    kill: Kill | None,
    prepare: Prepare | None,
    name: str,
) -> None:
    """Run a command in this process as the installed script does, and end the process."""
    os.chdir(folder)
    (folder / f"{name}{COUNTS}").unlink(missing_ok=True)
    for number, suffix in ((1, OUTPUT), (2, ERRORS)):
        with Path(f"{name}{suffix}").open("wb") as file:
            os.dup2(file.fileno(), number)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 (ends with the process)
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    accept_interrupts()
    set_start_method("fork", force=True)  # as in the command; another one tracks semaphores
    sys.argv = ["gpt2eval", *arguments]
    from gpt2eval.__main__ import main

    if prepare:
        prepare()
    counts = _watch_events(kill)
    if kill and kill.event == CPU:
        _send_after(kill.signal, kill.at)
    before = sum(os.times()[:2])
    code: Any = 1
    try:
        main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()  # as Python prints it
    counts[CPU] = sum(os.times()[:2]) - before
    most = getrlimit(RLIMIT_FSIZE)[1]
    setrlimit(RLIMIT_FSIZE, (most, most))  # a case may have lowered it
    (folder / f"{name}{COUNTS}").write_text(json.dumps(counts))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def _watch_events(kill: Kill | None) -> dict[str, float]:
    """Count the events of this process from now on, and send it the signal at the chosen one."""
    counts: defaultdict[str, float] = defaultdict(float)
    sync, replace = os.fsync, os.replace

    def event(name: str) -> None:
        counts[name] += 1
        if kill and (kill.event, kill.at) == (name, counts[name]):
            os.kill(os.getpid(), kill.signal)

    def counted_sync(file: Any) -> None:
        event(BEFORE_SYNC)
        sync(file)

    def counted_replace(source: Any, target: Any, **options: Any) -> None:
        event(BEFORE_RENAME)
        replace(source, target, **options)
        event(AFTER_RENAME)

    os.fsync, os.replace = counted_sync, counted_replace
    return counts


class _SignalEvent(ctypes.Structure):
    """The C structure `sigevent` of Linux, which says that a timer sends a signal."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("number", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("rest", ctypes.c_byte * 48),
    )


class _TimerSpec(ctypes.Structure):
    """The C structure `itimerspec`: a repetition and a first time, in seconds and nanoseconds."""

    _fields_ = (("repeat", ctypes.c_long * 2), ("first", ctypes.c_long * 2))


def _send_after(number: int, seconds: float) -> None:
    """Have the kernel send this process a signal after some seconds of its processor time."""
    library = ctypes.CDLL(None, use_errno=True)
    timer = ctypes.c_void_p()
    event = _SignalEvent(number=number)
    if library.timer_create(PROCESS_CPU_CLOCK, ctypes.byref(event), ctypes.byref(timer)):
        raise OSError(ctypes.get_errno(), "timer_create")
    first = (ctypes.c_long * 2)(int(seconds), max(1, int(seconds % 1 * 1e9)))
    spec = _TimerSpec(first=first)
    if library.timer_settime(timer, 0, ctypes.byref(spec), None):
        raise OSError(ctypes.get_errno(), "timer_settime")


def kills(cases: int, counts: Mapping[str, float], random: Random) -> list[Kill]:
    """Return kills spread over a command whose undisturbed run had these counts.

    Half of them are at an amount of processor time, the others at an event around a file.
    """
    chosen = []
    for number in range(cases):
        sent = SIGNALS[number % len(SIGNALS)]
        event = random.choice([event for event in (CPU, CPU, CPU, *EVENTS) if event in counts])
        last = counts[event]
        at = random.uniform(0.0, last) if event == CPU else random.randint(1, int(last))
        chosen.append(Kill(sent, event, at))
    return chosen
