"""Progress on stderr: bars in a terminal, else a plain line every minute.

Both show tokens per second and the time left, of the task and of all tasks.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.table import Column

from gpt2eval.cli.amounts import duration
from gpt2eval.cli.command import is_quiet
from gpt2eval.cli.pace import Pace
from gpt2eval.errors import clean, scrub
from gpt2eval.notices import notify
from gpt2eval.types import Progress

EVERY = 60.0  # seconds between two plain lines
LONG = 3600.0  # seconds of a run that is announced
KNOWN = 20.0  # seconds of a task after which its time left is believed
ALL = "all tasks"

Show = Callable[[Progress], None]


@contextmanager
def bars(*, hidden: bool = False, unit: str = "tokens", items: str = "requests") -> Iterator[Show]:
    """Yield a function that shows the progress of a run: bars in a terminal, else plain lines.

    Shows nothing if `hidden` or with --quiet.
    """
    if hidden or is_quiet():
        yield lambda progress: None
        return
    console = Console(stderr=True)
    pace = Pace()
    notice = LongRunNotice(pace)
    shown = TerminalBars(console, pace, unit, items) if console.is_terminal else Lines(pace, unit)

    def show(progress: Progress) -> None:
        pace.update(progress._replace(task=scrub(clean(progress.task))))
        shown.show()
        notice.show()

    try:
        yield show
    finally:
        shown.stop()


class LongRunNotice:
    """Says once, when the first batches have shown the speed, that a run takes hours."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._is_decided = False

    def show(self) -> None:
        """Notify if the run takes an hour or more from now on."""
        if self._is_decided or self._pace.task_seconds() < KNOWN:
            return
        left = self._pace.total_left()
        if left is None:
            return
        self._is_decided = True
        if left >= LONG:
            notify(
                f"about {duration(left)} left at this speed; Ctrl-C is safe, the same command "
                "resumes with --out; --limit N scores a part, a GPU is faster"
            )


class Lines:
    """Plain lines: one a minute, and one for each finished task."""

    def __init__(self, pace: Pace, unit: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._pace = pace
        self._unit = unit
        self._clock = clock
        self._printed = clock()

    def show(self) -> None:
        """Print a line if the task is done, or a minute has passed since the last one."""
        now = self._clock()
        if self._pace.is_done() or now - self._printed >= EVERY:
            self._printed = now
            print(self._pace.line(self._unit), file=sys.stderr, flush=True)

    def stop(self) -> None:
        """Do nothing: no line is open."""


class TerminalBars:
    """A bar for each task, and one for all tasks if several follow each other."""

    def __init__(self, console: Console, pace: Pace, unit: str, items: str) -> None:
        self._pace = pace
        self._unit = unit
        self._items = items
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False, table_column=_unbroken()),
            BarColumn(),
            TextColumn("{task.fields[done]}", table_column=_unbroken()),
            TextColumn("{task.fields[speed]}", table_column=_unbroken()),
            TextColumn("{task.fields[left]}", table_column=_unbroken()),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._all: TaskID | None = None
        self._finished: dict[str, int] = {}  # tokens of each task; one may be shown again

    def show(self) -> None:
        """Draw the bars as the last report says."""
        progress = self._pace.last
        if progress is None:
            return
        pace = self._pace
        speed = pace.speed()
        per_second = f"{speed:,.0f} {self._unit}/s" if speed else ""
        if progress.task not in self._tasks:
            self._add(progress.task, is_last=not progress.later)
        self._bars.update(
            self._tasks[progress.task],
            total=progress.of_tokens,  # differs between the protocols that explain scores
            completed=progress.tokens,
            done=f"{progress.requests}/{progress.of_requests} {self._items}",
            speed=per_second,
            left=_time(pace.task_seconds() if pace.is_done() else pace.task_left()),
        )
        if self._all is not None:
            others = self._finished | {progress.task: 0}
            before = sum(others.values())
            done = before + progress.tokens
            total = before + progress.of_tokens + progress.later
            is_done = pace.is_done() and not progress.later
            self._bars.update(
                self._all,
                total=total,
                completed=done,
                done=f"{100 * done // max(total, 1)} %",
                left=_time(pace.seconds() if is_done else pace.total_left()),
            )
        if pace.is_done():
            self._finished[progress.task] = progress.of_tokens

    def _add(self, name: str, *, is_last: bool) -> None:
        """Add the bar of a task; the bar of all tasks stays the last one."""
        self._bars.start()
        if self._all is not None:
            self._bars.remove_task(self._all)
        self._tasks[name] = self._bar(name)
        has_others = len(self._tasks) > 1 or not is_last
        self._all = self._bar(ALL) if has_others else None

    def _bar(self, name: str) -> TaskID:
        return self._bars.add_task(name, total=None, done="", speed="", left="")

    def stop(self) -> None:
        """Leave the bars as they are, and stop drawing."""
        if self._tasks:
            self._bars.stop()


def _time(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)


def _unbroken() -> Column:
    """Return a column that a narrow terminal does not wrap; the bar shrinks instead."""
    return Column(no_wrap=True)
