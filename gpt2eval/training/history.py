"""What was scored of a training run: a `checkpoint.json` beside the results of each checkpoint.

It says where the checkpoint lay, its step, its files as they were, and what was asked of it; a watch that is begun anew
goes on from there, and the curves are drawn from it. It does not know models, and scores nothing.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from gpt2eval.errors import UsageError
from gpt2eval.files import write_atomic
from gpt2eval.metrics.result import Result
from gpt2eval.report import store
from gpt2eval.training.checkpoints import TrainingCheckpoint

Asked = Mapping[str, str | int | None]


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """A scored checkpoint: its name in results, itself, what was asked besides tasks, and the hash of each task's data."""

    model: str
    path: str
    series: str
    step: int | None
    written: int
    files: Mapping[str, list[int]]
    asked: Asked
    tasks: Mapping[str, str]

    @classmethod
    def of(
        cls,
        checkpoint: TrainingCheckpoint,
        model: str,
        step: int | None,
        asked: Asked,
        tasks: Mapping[str, str],
    ) -> "HistoryEntry":
        path = str(checkpoint.path.resolve())
        return cls(
            model, path, checkpoint.series, step, checkpoint.written, checkpoint.stamp, asked, tasks
        )

    def is_of(self, checkpoint: TrainingCheckpoint, asked: Asked) -> bool:
        """Whether it is of just this checkpoint, as its files are now, and asked the same."""
        return (self.path, self.files, self.asked) == (
            str(checkpoint.path.resolve()),
            checkpoint.stamp,
            asked,
        )

    def results(self, out: Path) -> list[Result]:
        """The results of the checkpoint, of whatever protocol."""
        return of_model(out, self.model)


def read(out: Path) -> list[HistoryEntry]:
    """The records below a folder of results, in the order in which the checkpoints were written.

    Raises UsageError for one that is none.
    """
    found = []
    for path in sorted(out.glob("*/checkpoint.json")):
        try:
            found.append(TypeAdapter(HistoryEntry).validate_json(path.read_bytes()))
        except (OSError, ValidationError):
            raise UsageError(
                f"{path}: not readable; expected what 'gpt2eval watch' wrote (it may be removed)"
            ) from None
    return sorted(found, key=lambda record: (record.written, record.model))


def write(out: Path, record: HistoryEntry) -> None:
    """Keep a record; tasks that were scored before of the same checkpoint, asked the same, stay in it."""
    for old in read(out):
        if (old.model, old.path, old.files, old.asked) == (
            record.model,
            record.path,
            record.files,
            record.asked,
        ):
            record = replace(record, tasks={**old.tasks, **record.tasks})
    content = json.dumps(asdict(record), indent=1, ensure_ascii=False) + "\n"
    write_atomic(store.result_folder(out, record.model, "") / "checkpoint.json", content.encode())


def unscored(
    out: Path, checkpoint: TrainingCheckpoint, asked: Asked, tasks: Mapping[str, str]
) -> list[str]:
    """The tasks, given with the hashes of their data, that have no finished result of just this checkpoint."""
    record = next((record for record in read(out) if record.is_of(checkpoint, asked)), None)
    if record is None:
        return list(tasks)
    there = {result.full_name for result in record.results(out)}
    return [
        task
        for task, sha256 in tasks.items()
        if record.tasks.get(task) != sha256 or task not in there
    ]


def name(out: Path, checkpoint: TrainingCheckpoint, step: int | None, revision: str) -> str:
    """What a checkpoint is called in results: as given if that says its step, and never as other weights were.

    `RUN/checkpoint-500`, `nanogpt:RUN/ckpt.pt@step2000`; with the revision, a hash of the weights, where the step is not
    known, or other weights have that name already.
    """
    telling = checkpoint.number is not None or step is not None
    plain = checkpoint.name if checkpoint.number is not None else f"{checkpoint.name}@step{step}"
    taken = any(result.model.revision != revision for result in of_model(out, plain))
    return plain if telling and not taken else f"{checkpoint.name}@{revision}"


def of_model(out: Path, model: str) -> list[Result]:
    """The results of a model."""
    folder = store.result_folder(out, model, "")
    return list(store.readable(folder))
