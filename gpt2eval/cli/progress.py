"""Progress bars on stderr: requests, tokens a second and time left of each task."""

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

from gpt2eval.types import Progress


class Speed(ProgressColumn):
    """Tokens, or something else, a second."""

    def __init__(self, unit: str) -> None:
        self.unit = unit
        super().__init__()

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} {self.unit}/s" if speed else "")


@contextmanager
def bars(
    *, hidden: bool = False, unit: str = "tokens", items: str = "requests"
) -> Iterator[Callable[[Progress], None]]:
    """A bar per task, fed by calling what this yields; where stderr is no terminal, a line per finished task."""
    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn(f"{{task.fields[records]}} {items}"),
        Speed(unit),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    shown = Bars(*columns, console=console, disable=hidden)
    numbers: dict[str, TaskID] = {}

    def watch(progress: Progress) -> None:
        if progress.task not in numbers:
            shown.start()
            numbers[progress.task] = shown.add_task(
                progress.task, total=progress.of_tokens, records=""
            )
        records = f"{progress.requests}/{progress.of_requests}"
        shown.update(numbers[progress.task], completed=progress.tokens, records=records)

    try:
        yield watch
    finally:
        if numbers:
            shown.stop()
