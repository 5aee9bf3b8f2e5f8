"""Score each checkpoint of a training run as it appears, and draw the curves.

How a model is scored is known to `pipeline.py`, what a whole checkpoint looks like to `checkpoints.py`, and what was
scored before to `history.py`. This is the order in which things happen.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

from gpt2eval import pipeline
from gpt2eval.config import loader
from gpt2eval.data import corpus
from gpt2eval.errors import UsageError
from gpt2eval.files import write_atomic
from gpt2eval.models import registry
from gpt2eval.models.options import LoadOptions
from gpt2eval.notices import notify
from gpt2eval.pipeline import Settings
from gpt2eval.report import plots, store
from gpt2eval.report.results import Results
from gpt2eval.training import checkpoints, history
from gpt2eval.training.checkpoints import Stamp, TrainingCheckpoint
from gpt2eval.types import Progress

DAY = 86400
# what numbers depend on besides checkpoint, tasks and data
ASKED = (
    "limit",
    "context",
    "stride",
    "batch_size",
    "tokens",
    "allow_lossy",
    "dtype",
    "attn",
    "tokenizer",
    "peft",
    "quantization",
)
OWN = (None, "auto", "file")  # choices of tokenizer that need the checkpoint's own
Bars = Callable[[], AbstractContextManager[Callable[[Progress], None]]]


class ScoredCheckpoint(NamedTuple):
    """A checkpoint that was just scored: its name in results, its step if it is known, and what was measured."""

    model: str
    step: int | None
    results: Results


@dataclass(frozen=True, slots=True)
class Job:
    """What to do with every checkpoint; `tasks` maps each to the hash of its data."""

    tasks: Mapping[str, str]
    data: Mapping[str, Path | str] | None
    out: Path
    settings: Settings
    options: LoadOptions
    include: Sequence[Path]
    bars: Bars

    def asked(self) -> dict[str, str | int | None]:
        """What the numbers depend on besides the checkpoint, the tasks and their data."""
        return {
            key: value
            for key, value in (asdict(self.settings) | asdict(self.options)).items()
            if key in ASKED
        }


@dataclass(slots=True)
class Looks:
    """What was seen at the last look, and which checkpoints need no other until they change: they are scored, or broken."""

    folder: Path
    last: dict[Path, Stamp] = field(default_factory=dict)
    scored: dict[Path, Stamp] = field(default_factory=dict)
    broken: dict[Path, Stamp] = field(default_factory=dict)
    said: dict[Path, str] = field(default_factory=dict)

    def again(self) -> list[TrainingCheckpoint]:
        """The checkpoints that have not changed since the look before and are neither scored nor broken, in order."""
        found, before = checkpoints.find(self.folder), self.last
        self.last = {c.path: c.stamp for c in found}
        settled = [self.scored, self.broken]
        return [
            c
            for c in found
            if before.get(c.path) == c.stamp and all(of.get(c.path) != c.stamp for of in settled)
        ]

    def say(self, path: Path, what: str) -> None:
        """A line on stderr, once for each thing there is to say of a checkpoint."""
        if self.said.get(path) != what:
            notify(what)
        self.said[path] = what

    def check_all_scored(self) -> None:
        """Raise UsageError for checkpoints that are not, or where there is none."""
        if not self.last:
            raise UsageError(
                f"{self.folder}: no checkpoint there; expected checkpoint-STEP folders, ckpt*.pt or model_*.bin"
            )
        if left := [
            path.name for path, stamp in self.last.items() if self.scored.get(path) != stamp
        ]:
            raise UsageError(
                f"{self.folder}: not scored: {', '.join(left)}; expected whole checkpoints that do not change"
            )


def watch(
    folder: Path,
    tasks: str | Sequence[str] = loader.PAPER,
    *,
    data: Mapping[str, Path | str] | None = None,
    out: Path = Path("results"),
    settings: Settings = Settings(),
    options: LoadOptions = LoadOptions(),
    include: Sequence[Path] = (),
    every: float = 10.0,
    once: bool = False,
    bars: Bars = lambda: nullcontext(lambda progress: None),
) -> Iterator[ScoredCheckpoint]:
    """Score the checkpoints in a run's folder in order of their steps, then each new one, without end.

    A checkpoint is taken when its files are whole by their own form, and have not changed between two looks, `every`
    seconds apart. It is scored once: not again by a later watch with the same tasks, data and settings, but again, under
    another name, when its files were written anew. One that cannot be scored is said on stderr, and tried again when it
    changes. `<out>/results.csv` and `<out>/curves.svg` are written anew after each.

    With `once` it ends when those that are there are scored. Raises UsageError, before anything is scored, for what is
    wrong with the tasks, the data or the folders; and with `once`, at the end, for checkpoints that could not be scored.
    """
    if not 0 < every <= DAY:
        raise UsageError(f"--every {every:g}: expected seconds, more than 0 and at most {DAY}")
    looks = Looks(folder)
    looks.again()
    job = Job(_hashes(tasks, data, settings, include), data, out, settings, options, include, bars)
    store.check_writable(out)
    _draw(out)
    if not once:
        notify(f"watching {folder}, every {every:g} s; Ctrl-C ends it")
    while True:
        time.sleep(every)
        for checkpoint in looks.again():
            if scored := _attempt(job, looks, checkpoint):
                yield scored
        if once:
            return looks.check_all_scored()


def _hashes(
    names: str | Sequence[str],
    data: Mapping[str, Path | str] | None,
    settings: Settings,
    include: Sequence[Path],
) -> dict[str, str]:
    """The tasks with the hashes of their data, all of them read once, so that what is wrong is said now."""
    settings.check()
    files = {name: Path(path) for name, path in (data or {}).items()}
    tasks = [(task, corpus.file_of(task, files)) for task in loader.select_tasks(names, include)]
    return {
        task.full_name: corpus.load_corpus(task, file, strict=settings.strict_data).sha256
        for task, file in tasks
    }


def _attempt(job: Job, looks: Looks, checkpoint: TrainingCheckpoint) -> ScoredCheckpoint | None:
    """Score a checkpoint; None if it is scored already, or not yet whole, or broken, which is said."""
    path, name, scored = checkpoint.path, checkpoint.name, None
    try:
        if lack := checkpoints.lacking(checkpoint):
            looks.say(path, f"{name}: {lack}; it waits until it is whole")
            return None
        if missing := history.unscored(job.out, checkpoint, job.asked(), job.tasks):
            scored = _score(job, checkpoint, missing)
            if scored is None:  # it changed while it was loaded
                return None
        looks.scored[path] = checkpoint.stamp
    except UsageError as error:
        store.check_writable(job.out)  # which would be no fault of the checkpoint
        looks.say(
            path, f"{error if name in str(error) else f'{name}: {error}'}; skipped until it changes"
        )
        looks.broken[path] = checkpoint.stamp
    return scored


def _score(
    job: Job, checkpoint: TrainingCheckpoint, tasks: Sequence[str]
) -> ScoredCheckpoint | None:
    """Load a checkpoint and measure tasks on it; None if it was written to while it was loaded."""
    if (
        checkpoint.scheme == "hf"
        and job.options.tokenizer in OWN
        and not checkpoints.has_tokenizer(checkpoint.path)
    ):
        raise UsageError(
            f"{checkpoint.name}: no tokenizer was saved with it; expected --tokenizer with a folder or Hub id"
        )
    backend = registry.load_model(checkpoint.model, job.options)
    if checkpoints.look(checkpoint.path) != checkpoint:
        return None
    identity = registry.identity_of(backend)
    said = identity.step
    step = int(said) if said.isdecimal() else checkpoint.number
    name = history.name(job.out, checkpoint, step, identity.revision)
    with job.bars() as bar:
        made = pipeline.evaluate(
            registry.renamed(backend, name),
            tasks,
            data=job.data,
            out=job.out,
            settings=job.settings,
            include=job.include,
            progress=bar,
        )
    history.write(job.out, history.HistoryEntry.of(checkpoint, name, step, job.asked(), job.tasks))
    _draw(job.out)
    return ScoredCheckpoint(name, step, made)


def _draw(out: Path) -> None:
    """Write the curves of all that was scored, if anything was."""
    records = [(record, record.step) for record in history.read(out) if record.step is not None]
    points = [
        plots.Point(record.series, step, result)
        for record, step in records
        for result in record.results(out)
    ]
    if points:
        write_atomic(out / "curves.svg", plots.svg(points))
