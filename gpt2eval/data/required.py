"""Determine the published files that tasks require. Does not know which files are cached."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gpt2eval.config import catalog, loader
from gpt2eval.config.schema import Task
from gpt2eval.config.source_schema import Source
from gpt2eval.data.cache import key_of


class RequiredFile(NamedTuple):
    """A published file, and the tasks that use it."""

    source: Source
    tasks: tuple[Task, ...]

    @property
    def names(self) -> str:
        """The first task's name, and the number of others."""
        others = len(self.tasks) - 1
        return self.tasks[0].full_name + (f" (+ {others})" if others else "")


def required_files(names: Sequence[str], include: Sequence[Path] = ()) -> list[RequiredFile]:
    """Return the files that tasks and suites require, each once; by default of all tasks."""
    if names:
        tasks = loader.select_tasks([part for name in names for part in name.split(",")], include)
    else:
        tasks = _all_tasks(include)
    by_key: dict[str, list[Task]] = {}
    for task in tasks:
        by_key.setdefault(key_of(task.source), []).append(task)
    return [RequiredFile(group[0].source, tuple(group)) for group in by_key.values()]


def _all_tasks(include: Sequence[Path]) -> list[Task]:
    """Load every task and every variant."""
    tasks: list[Task] = []
    for name in catalog.files("tasks", include):
        base = loader.load_task(name, include)
        tasks.append(base)
        tasks += [loader.load_task(f"{name}/{variant}", include) for variant in base.variants]
    return tasks
