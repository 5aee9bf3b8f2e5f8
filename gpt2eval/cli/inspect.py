"""The commands that inspect tasks: `ls`, `show` and `check`."""

from typing import Annotated

import typer

from gpt2eval.cli.options import DATA, OUTPUT, Cache, Data, Include, data_files, option

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
            print(f"{'':12} variants: {', '.join(task.variants)}")
    print(f"suites: {', '.join(catalog.files('tasks/suites', include or ()))}")
    print(f"detokenizers: {', '.join(catalog.files('detokenizers', include or ()))}")


def show(
    task: TaskName,
    data: Data = None,
    cache: Cache = None,
    include: Include = None,
    passport: Passport = False,
) -> None:
    """Show a task's settings and its first record.

    The record is printed as published and as scored, [[ and ]] enclose the scored span.
    """
    from gpt2eval.analysis import inspect_task
    from gpt2eval.config.loader import select_tasks
    from gpt2eval.data.passport import task_passport

    folders = include or ()
    if passport:
        print("\n\n".join(task_passport(one) for one in select_tasks(task, folders)))
    else:
        print(inspect_task.show(task, data_files(data, folders), folders, cache=cache))


def check(
    task: TaskName,
    data: Data = None,
    cache: Cache = None,
    include: Include = None,
    sample: Sample = 0,
) -> None:
    """Check the round trip of a task's detokenizer on every line."""
    from gpt2eval.analysis import inspect_task

    folders = include or ()
    print(inspect_task.check(task, data_files(data, folders), folders, sample, cache=cache))
