"""Write the results of one model below an output folder, each as soon as it exists."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from gpt2eval.config.schema import Task
from gpt2eval.data.grouping import Grouping
from gpt2eval.errors import UsageError
from gpt2eval.files import write_atomic
from gpt2eval.metrics.result import Result
from gpt2eval.report import folders, group_rows, run_record, store, tidy
from gpt2eval.report.tidy_csv import TidyCsv
from gpt2eval.types import ModelIdentity, Tally


class ResultWriter:
    """The files of one model's results below an output folder.

    `chosen` says that the user chose the model's name, so that it may mean other weights there.
    """

    def __init__(self, out: Path, model: ModelIdentity, *, chosen: bool = False) -> None:
        self._out = out
        self._model = model
        self._chosen = chosen
        self._csv = TidyCsv(out)

    def folder(self, task: Task) -> Path:
        """Return the folder of a task."""
        return store.result_folder(self._out, self._model.name, task.full_name)

    def path(self, task: Task) -> Path:
        """Return the file of a task's result."""
        return self.folder(task) / folders.RESULT

    def journal(self, task: Task) -> Path:
        """Return the folder of a task's journal."""
        return self.folder(task) / "journal"

    def other_journals(self, task: Task) -> list[Path]:
        """Return the journals of the same task on the output folder's other models."""
        return folders.of_other_models(self._out, self.journal(task))

    def check_name(self, tasks: Iterable[Task]) -> None:
        """Raise UsageError if a name that the user chose has a result of another model here."""
        for task in tasks if self._chosen else ():
            path = self.path(task)
            if not path.exists():
                continue
            found = store.read_result(path).model
            if _decisive(found) != _decisive(self._model):
                raise UsageError(
                    f"--name {self._model.name}: {path} is of another model "
                    f"({_described(found)}, not {_described(self._model)}); "
                    "expected another name, or another --out"
                )

    def write(
        self,
        task: Task,
        result: Result,
        parts: Sequence[Tally],
        grouping: Grouping | None,
        start: str,
    ) -> None:
        """Write `result.json`, `run.json` and `results.csv`.

        Documents have `documents.csv`, and groups of documents `groups.csv`, too.
        """
        folder = self.folder(task)
        folders.check_owner(folder, result.model.name)
        run_record.write_run(folder, start, f"evaluate({self._model.name!r}, {task.full_name!r})")
        store.write_result(folder, result)
        if task.format == "documents":
            bits = "bpb" in task.metrics or not result.protocol.tokens
            rows = tidy.document_rows(parts, bits=bits, groups=grouping and grouping.names)
            write_atomic(folder / "documents.csv", tidy.to_csv(rows))
        groups = folder / folders.GROUPS
        if result.groups:
            write_atomic(groups, tidy.to_csv(group_rows.group_rows(result.groups, result)))
        else:
            groups.unlink(missing_ok=True)  # of an earlier run with groups
        self._csv.update()


def _decisive(model: ModelIdentity) -> tuple[str, str]:
    """Return what tells one model from another: its weights, or else its own name; its adapter."""
    return model.weights if model.is_pinned else model.label or model.name, model.peft


def _described(model: ModelIdentity) -> str:
    return f"{model.label or model.name}@{model.revision} {model.peft}".strip()
