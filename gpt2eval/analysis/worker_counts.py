"""One protocol per number of workers of its loader, for `explain --workers`.

Some loaders drop tokens, and the more workers share the rows, the more they drop.
"""

from collections.abc import Sequence
from typing import NamedTuple

from gpt2eval.config.schema import Task
from gpt2eval.errors import UsageError

MOST = 1024  # each worker is planned on its own, so that many more would take very long


class NamedTask(NamedTuple):
    """A task, and the name of its row in an explanation."""

    name: str
    task: Task


def per_workers(tasks: Sequence[Task], workers: Sequence[int]) -> list[NamedTask]:
    """Return tasks by name; with `workers`, several in place of each whose loader drops tokens.

    These are the task that keeps all tokens, and the task with each number of workers.

    Raises:
        UsageError: A number is below 1 or above 1,024, or no task has a loader that drops tokens.
    """
    if few := [count for count in workers if count < 1]:
        raise UsageError(f"workers {few[0]}: expected whole numbers of 1 or more")
    if many := [count for count in workers if count > MOST]:
        raise UsageError(f"workers {many[0]}: expected whole numbers of at most {MOST:,}")
    if workers and not any(task.drop for task in tasks):
        names = ", ".join(task.full_name for task in tasks)
        raise UsageError(
            f"workers {workers[0]}: the loader of none of {names} drops tokens; expected a variant "
            "with the key drop, such as ptb/mdlm"
        )
    named: list[NamedTask] = []
    for task in tasks:
        named += _each_count(task, workers) or [NamedTask(task.full_name, task)]
    return named


def _each_count(task: Task, workers: Sequence[int]) -> list[NamedTask]:
    drop = task.drop
    if drop is None or not workers:
        return []
    complete = task.model_copy(update={"drop": None, "tail": "score"})
    return [
        NamedTask(f"{task.full_name}, all tokens", complete),
        *(
            NamedTask(
                f"{task.full_name}, {count} worker{'s' if count > 1 else ''}",
                task.model_copy(update={"drop": drop.model_copy(update={"workers": count})}),
            )
            for count in dict.fromkeys(workers)
        ),
    ]
