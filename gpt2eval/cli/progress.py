"""Progress bars on stderr: requests, tokens per second and remaining time of each task."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from gpt2eval.cli.command import is_quiet
from gpt2eval.types import Progress


class Speed(ProgressColumn):
    """Tokens, or another unit, per second."""

    def __init__(self, unit: str) -> None:
        self.unit = unit
        super().__init__()

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} {self.unit}/s" if speed else "")


@contextmanager
def bars(
    label: str = "", *, hidden: bool = False, unit: str = "tokens", items: str = "requests"
) -> Iterator[Callable[[Progress], None]]:
    """Yield a function that shows progress: a bar per task, named after `label` and the task.

    If stderr is not a terminal, prints one line per finished task.
    """
    shown = Bars(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn(f"{{task.fields[records]}} {items}"),
        Speed(unit),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=Console(stderr=True),
        disable=hidden or is_quiet(),
    )
    numbers: dict[str, TaskID] = {}

    def show_progress(progress: Progress) -> None:
        if progress.task not in numbers:
            shown.start()
            numbers[progress.task] = shown.add_task(
                f"{label} {progress.task}".strip(), total=progress.of_tokens, records=""
            )
        records = f"{progress.requests}/{progress.of_requests}"
        shown.update(numbers[progress.task], completed=progress.tokens, records=records)

    try:
        yield show_progress
    finally:
        if numbers:
            shown.stop()
