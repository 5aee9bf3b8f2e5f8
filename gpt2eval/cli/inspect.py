"""The commands that inspect tasks: `ls`, `show` and `check`."""

import shutil
import sys
from collections.abc import Iterable
from textwrap import fill
from typing import Annotated

import typer

from gpt2eval.cli.arguments import data_files, size
from gpt2eval.cli.options import DATA, OUTPUT, Cache, Data, Include, MaxSize, option

TaskName = Annotated[
    str, typer.Argument(metavar="TASK", help="A task, or a variant as TASK/VARIANT.")
]
Passport = Annotated[
    bool,
    option(
        DATA,
        "--passport",
        text="Print the data's checksums, counts and licence, with their sources.",
    ),
]
Sample = Annotated[
    int,
    option(
        OUTPUT, metavar="N", text="Also print N detokenized lines, spread evenly over the file."
    ),
]


def ls(include: Include = None) -> None:
    """List tasks and their variants, suites and detokenizers."""
    from gpt2eval.config import catalog, loader

    for name in catalog.files("tasks", include or ()):
        task = loader.load_task(name, include or ())
        print(f"{name:12} {', '.join(task.metrics):24} {task.title}")
        if task.variants:
            _print_names(f"{'':12} variants", task.variants)
    _print_names("suites", catalog.files("tasks/suites", include or ()))
    _print_names("detokenizers", catalog.files("detokenizers", include or ()))


def _print_names(heading: str, names: Iterable[str]) -> None:
    """Print names after a heading: in one line, or wrapped if stdout is a terminal."""
    line = f"{heading}: {', '.join(names)}"
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
        indent = " " * (len(heading) + 2)
        line = fill(line, width, subsequent_indent=indent, break_on_hyphens=False)
    print(line)


def show(
    task: TaskName,
    data: Data = None,
    cache: Cache = None,
    max_size: MaxSize = None,
    include: Include = None,
    passport: Passport = False,
) -> None:
    """Show a task's settings and its first record.

    The record is printed as published and as scored; [[ and ]] enclose the scored span.
    """
    from gpt2eval.analysis import inspect_task
    from gpt2eval.config.loader import select_tasks
    from gpt2eval.data.passport import task_passport

    folders = include or ()
    if passport:
        print("\n\n".join(task_passport(one) for one in select_tasks(task, folders)))
    else:
        files = data_files(data, folders)
        print(inspect_task.show(task, files, folders, cache=cache, max_size=size(max_size)))


def check(
    task: TaskName,
    data: Data = None,
    cache: Cache = None,
    max_size: MaxSize = None,
    include: Include = None,
    sample: Sample = 0,
) -> None:
    """Check the round trip of a task's detokenizer on every line."""
    from gpt2eval.analysis import inspect_task

    folders = include or ()
    files = data_files(data, folders)
    limit = size(max_size)
    print(inspect_task.check(task, files, folders, sample, cache=cache, max_size=limit))
