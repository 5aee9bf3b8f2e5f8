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
from rich.table import Column
from rich.text import Text

from gpt2eval.cli.command import is_quiet
from gpt2eval.errors import clean
from gpt2eval.types import Progress


class Speed(ProgressColumn):
    """Tokens, or another unit, per second."""

    def __init__(self, unit: str) -> None:
        self.unit = unit
        super().__init__(_unbroken())

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} {self.unit}/s" if speed else "")


def _unbroken() -> Column:
    """Return a column that a narrow terminal does not wrap; the bar shrinks instead."""
    return Column(no_wrap=True)


@contextmanager
def bars(
    *, hidden: bool = False, unit: str = "tokens", items: str = "requests"
) -> Iterator[Callable[[Progress], None]]:
    """Yield a function that shows progress: a bar per task, named after the task.

    If stderr is not a terminal, prints one line per finished task.
    """
    shown = Bars(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False, table_column=_unbroken()),
        BarColumn(),
        TextColumn(f"{{task.fields[records]}} {items}", table_column=_unbroken()),
        Speed(unit),
        TimeRemainingColumn(elapsed_when_finished=True, table_column=_unbroken()),
        console=Console(stderr=True),
        disable=hidden or is_quiet(),
    )
    numbers: dict[str, TaskID] = {}

    def show_progress(progress: Progress) -> None:
        if progress.task not in numbers:
            shown.start()
            numbers[progress.task] = shown.add_task(clean(progress.task), total=None, records="")
        shown.update(
            numbers[progress.task],
            total=progress.of_tokens,  # differs between the protocols that explain scores
            completed=progress.tokens,
            records=f"{progress.requests}/{progress.of_requests}",
        )

    try:
        yield show_progress
    finally:
        if numbers:
            shown.stop()
