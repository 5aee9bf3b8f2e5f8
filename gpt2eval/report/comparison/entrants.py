"""The models of a comparison: their results by task, their names, the tasks they share."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from gpt2eval.errors import UsageError, unknown
from gpt2eval.report.escape import visible
from gpt2eval.report.labels import RowName, qualifiers, short_names
from gpt2eval.report.measured import Measured
from gpt2eval.types import ModelIdentity

if TYPE_CHECKING:
    from gpt2eval.report.results import Results

SHOWN = 3  # models that an error names


class Entrant(NamedTuple):
    """One model: its identity, and its results by task, each a list of one."""

    model: ModelIdentity
    tasks: "Mapping[str, Results]"

    @classmethod
    def of(cls, results: "Results") -> "Entrant":
        """Return the model of some results.

        Raises:
            UsageError: There is none, they are of several models or revisions, or a task occurs
                twice.
        """
        if not results:
            raise UsageError("a model without results; expected at least one result of each")
        where = _place(results)
        models = dict.fromkeys(result.model.name for result in results)
        if len(models) > 1:
            shown = ", ".join([*models][:SHOWN]) + (", ..." if len(models) > SHOWN else "")
            raise UsageError(
                f"{where}: results of {len(models)} models ({shown}); expected those of one, such "
                "as the folder of a model"
            )
        versions = {
            result.model.revision: f"{result.full_name} of {result.model.revision or 'none'}"
            for result in reversed(results)
        }
        if len(versions) > 1:
            shown = ", ".join([*versions.values()][::-1][:SHOWN])
            raise UsageError(
                f"{where}: results of {len(versions)} revisions of {results[0].model.name} "
                f"({shown}); expected those of one"
            )
        tasks: dict[str, Results] = {}
        for number, result in enumerate(results):
            if result.full_name in tasks:
                raise UsageError(
                    f"{where}: two results of {result.full_name}; expected one of each task"
                )
            tasks[result.full_name] = results[number : number + 1]
        return cls(results[0].model, tasks)

    def measured(self, task: str) -> Measured:
        """Return the result of a task with its records."""
        return self.tasks[task].measured()[0]


def _place(results: "Results") -> str:
    """Return the folder of some results, or the model's name where they are not on disk."""
    paths = [path for path in results.paths if path]
    if not paths:
        return results[0].model.name
    return os.path.commonpath([path.parent for path in paths]) or "."


def names_of(entrants: Sequence[Entrant]) -> list[RowName]:
    """Return a different name for each model; namesakes get what distinguishes them."""
    models = [entrant.model for entrant in entrants]
    names: list[RowName] = []
    for model, qualifier in zip(models, qualifiers(models), strict=True):
        name = RowName(model.name, qualifier)
        while name in names:
            name = name._replace(number=name.number + 1)
        names.append(name)
    return names


def labels_of(entrants: Sequence[Entrant], names: Sequence[RowName]) -> list[str]:
    """Return the names as short labels that a terminal can show."""
    shorts = short_names([entrant.model for entrant in entrants])
    return [visible(name.text(shorts)) for name in names]


def common_tasks(
    entrants: Sequence[Entrant], wanted: Sequence[str], labels: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return the baseline's tasks that another model has too, and a line for each other task.

    Raises:
        UsageError: No task is common, or a wanted one is not.
    """
    holders: dict[str, list[int]] = {}
    for number, entrant in enumerate(entrants):
        for task in entrant.tasks:
            if not wanted or task in wanted:
                holders.setdefault(task, []).append(number)
    for task in wanted:
        if task not in holders:
            raise unknown("task", task, {name for entrant in entrants for name in entrant.tasks})
    common = [task for task, having in holders.items() if having[0] == 0 and len(having) > 1]
    alone = [
        f"{task}: only on {', '.join(labels[number] for number in having)}"
        for task, having in holders.items()
        if len(having) < len(entrants)
    ]
    if not common:
        raise UsageError(f"no task in common with the baseline: {'; '.join(alone)}")
    return common, alone
