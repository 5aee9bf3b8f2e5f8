"""How fast a run goes, and how long it will take: arithmetic on progress reports.

Does not know how it is shown.
"""

import time
from collections.abc import Callable

from gpt2eval.cli.amounts import duration
from gpt2eval.types import Progress

SHORTEST = 2.0  # seconds after which a speed means something


class Pace:
    """The speed of a run, and the time that it needs.

    Only tokens computed in this run count, since what the journal has costs no time. The task's own
    speed predicts the rest of the task, that of all tasks so far the tasks that follow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start = 0.0
        self._finished = 0  # tokens that earlier tasks computed
        self._seconds = 0.0  # that earlier tasks took
        self._seen = 0.0  # when the last report came
        self.last: Progress | None = None

    def update(self, progress: Progress) -> None:
        """Take a report into account."""
        now = self._clock()
        if self.last is None:
            self._start = now
        elif progress.task != self.last.task or progress.tokens < self.last.tokens:
            self._finished += _computed(self.last)
            self._seconds += self._seen - self._start
            self._start = now
        self._seen = now
        self.last = progress

    def task_seconds(self) -> float:
        """Return the seconds since the first report of the task."""
        return self._clock() - self._start

    def seconds(self) -> float:
        """Return the seconds that the model has worked on all tasks so far."""
        return self._seconds + self.task_seconds()

    def speed(self) -> float | None:
        """Return the tokens per second of the task, or None if little has been computed."""
        if self.last is None:
            return None
        return _speed(_computed(self.last), self.task_seconds())

    def _mean_speed(self) -> float | None:
        """Return the tokens per second of all tasks so far."""
        if self.last is None:
            return None
        return _speed(self._finished + _computed(self.last), self.seconds())

    def task_left(self) -> float | None:
        """Return the seconds that the task still needs, or None if that is not known."""
        speed = self.speed() or self._mean_speed()
        if speed is None or self.last is None:
            return None
        return (self.last.of_tokens - self.last.tokens) / speed

    def total_left(self) -> float | None:
        """Return the seconds that the task and those after it need, or None if not known."""
        speed = self._mean_speed()
        left = self.task_left()
        if speed is None or left is None or self.last is None:
            return None
        return left + self.last.later / speed

    def is_done(self) -> bool:
        """Return whether the task has all its tokens."""
        return self.last is not None and self.last.tokens >= self.last.of_tokens

    def line(self, unit: str) -> str:
        """Return one plain line about the task and the run.

        An example is `ptb: 12,288 of 103,423 tokens (12 %), 812 tokens/s, 1 min 52 s left`.
        """
        if self.last is None:
            return ""
        progress = self.last
        if self.is_done():
            return f"{progress.task}: {self._how_done(progress, unit)}"
        share = 100 * progress.tokens // max(progress.of_tokens, 1)
        text = f"{progress.task}: {progress.tokens:,} of {progress.of_tokens:,} {unit} ({share} %)"
        speed = self.speed()
        left = self.task_left()
        total = self.total_left()
        if speed is not None:
            text += f", {speed:,.0f} {unit}/s"
        if left is not None:
            text += f", {duration(left)} left"
        if total is not None and progress.later:
            text += f", about {duration(total)} for all tasks"
        return text

    def _how_done(self, progress: Progress, unit: str) -> str:
        if not _computed(progress):
            return f"{progress.tokens:,} {unit}, all from the journal"
        return f"{progress.tokens:,} {unit} in {duration(self.task_seconds())}"


def _speed(tokens: int, seconds: float) -> float | None:
    return tokens / seconds if tokens > 0 and seconds >= SHORTEST else None


def _computed(progress: Progress) -> int:
    return max(0, progress.tokens - progress.resumed)
