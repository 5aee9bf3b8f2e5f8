"""Record which checkpoints of a training run are scored: a `checkpoint.json` beside their results.

A restarted watch resumes from these files, and the curves are drawn from them. Does not know
models and does not score.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from gpt2eval.errors import UsageError
from gpt2eval.files import write_atomic
from gpt2eval.metrics.result import Result
from gpt2eval.models import identified
from gpt2eval.report import folders, store, strict_json
from gpt2eval.training.checkpoints import FileStats, TrainingCheckpoint
from gpt2eval.types import Model

ScoringSettings = Mapping[str, str | int | None]

OLD_KEYS = {"written": "modified_ns", "asked": "settings"}  # keys of older versions


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """A scored checkpoint.

    `model` is its name in results, `settings` holds the settings that affect its scores, and
    `tasks` maps each scored task to the SHA-256 of its data.
    """

    model: str
    path: str
    series: str
    step: int | None
    modified_ns: int
    files: FileStats
    settings: ScoringSettings
    tasks: Mapping[str, str]

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: TrainingCheckpoint,
        model: str,
        step: int | None,
        settings: ScoringSettings,
        tasks: Mapping[str, str],
    ) -> "HistoryEntry":
        """Return the entry of a checkpoint as its files are now."""
        return cls(
            model,
            str(checkpoint.path.resolve()),
            checkpoint.series,
            step,
            checkpoint.modified_ns,
            checkpoint.file_stats,
            settings,
            tasks,
        )

    def matches(self, checkpoint: TrainingCheckpoint, settings: ScoringSettings) -> bool:
        """Return whether the entry is for this checkpoint, unchanged, with the same settings."""
        return (
            self.path == str(checkpoint.path.resolve())
            and self.files == checkpoint.file_stats
            and self.settings == settings
        )

    def same_scoring(self, other: "HistoryEntry") -> bool:
        """Return whether two entries differ in their tasks at most."""
        return replace(self, tasks={}) == replace(other, tasks={})


def read_history(out: Path) -> list[HistoryEntry]:
    """Return the entries below a results folder, oldest checkpoint first.

    Raises UsageError for a `checkpoint.json` that cannot be read.
    """
    entries = [_read_entry(path) for path in sorted(out.glob("*/checkpoint.json"))]
    return sorted(entries, key=lambda entry: (entry.modified_ns, entry.model))


def _read_entry(path: Path) -> HistoryEntry:
    try:
        content = strict_json.loads(path.read_bytes())
        if isinstance(content, dict):
            content = {OLD_KEYS.get(key, key): value for key, value in content.items()}
        return TypeAdapter(HistoryEntry).validate_python(content)
    except (OSError, ValueError, ValidationError, RecursionError):
        raise UsageError(
            f"{path}: unreadable; expected a file that 'gpt2eval watch' wrote (it may be deleted)"
        ) from None


def write_entry(out: Path, entry: HistoryEntry) -> None:
    """Write the entry of a checkpoint, merged with tasks scored earlier with the same settings."""
    for previous in read_history(out):
        if previous.same_scoring(entry):
            entry = replace(entry, tasks={**previous.tasks, **entry.tasks})
    content = strict_json.dumps(asdict(entry)) + "\n"
    write_atomic(store.result_folder(out, entry.model, "") / "checkpoint.json", content.encode())


def unscored_tasks(
    out: Path,
    checkpoint: TrainingCheckpoint,
    settings: ScoringSettings,
    tasks: Mapping[str, str],
) -> list[str]:
    """Return the tasks that have no finished result for this checkpoint, its files unchanged.

    `tasks` maps each task to the SHA-256 of its data; a task whose data changed is unscored.
    """
    entries = (entry for entry in read_history(out) if entry.matches(checkpoint, settings))
    entry = next(entries, None)
    if entry is None:
        return list(tasks)
    finished = {result.full_name for result in read_model_results(out, entry.model)}
    return [
        task
        for task, sha256 in tasks.items()
        if entry.tasks.get(task) != sha256 or task not in finished
    ]


def result_name(out: Path, checkpoint: TrainingCheckpoint, step: int | None, revision: str) -> str:
    """Return the model name of a checkpoint in results.

    The name tells the step: `RUN/checkpoint-500`, `nanogpt:RUN/ckpt.pt@step2000`. It carries the
    revision instead if the step is unknown, or if other weights already use the name.
    """
    if checkpoint.number is None and step is None:
        return f"{checkpoint.name}@{revision}"
    name = checkpoint.name if checkpoint.number is not None else f"{checkpoint.name}@step{step}"
    is_name_used = any(
        result.model.revision != revision for result in read_model_results(out, name)
    )
    return f"{checkpoint.name}@{revision}" if is_name_used else name


def named(model: Model, name: str, step: int | None) -> Model:
    """Return a checkpoint's backend with the name and the step that its results state."""
    renamed = identified.renamed(model, name)
    identity = identified.identity_of(renamed)
    if step is None or identity.step:
        return renamed
    return identified.Identified(renamed, replace(identity, step=str(step)))


def read_model_results(out: Path, model: str) -> list[Result]:
    """Return all results of one model, of any protocol."""
    return [
        result
        for folder in folders.model_folders(out, model)
        for result in store.readable(folder)
        if result.model.name == model
    ]
