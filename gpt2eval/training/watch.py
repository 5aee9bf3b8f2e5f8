"""Score each checkpoint of a training run as it appears, and draw the curves.

`checkpoints.py` knows when a checkpoint is complete, `polling.py` which ones are due, `history.py`
which ones are scored, and `pipeline.py` how to score. This module orders these steps.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from gpt2eval import pipeline
from gpt2eval.config import loader
from gpt2eval.config.catalog import PAPER
from gpt2eval.data import corpus
from gpt2eval.data.local import Data, local_files
from gpt2eval.errors import UsageError
from gpt2eval.files import write_atomic
from gpt2eval.models import identified, registry
from gpt2eval.models.options import LoadOptions
from gpt2eval.notices import notify
from gpt2eval.report import store
from gpt2eval.report.plots import curves
from gpt2eval.report.results import Results
from gpt2eval.settings import Settings
from gpt2eval.training import checkpoints, history
from gpt2eval.training.checkpoints import TrainingCheckpoint
from gpt2eval.training.polling import Poller
from gpt2eval.types import Progress

SECONDS_PER_DAY = 86400
# The settings and options that affect scores, besides the checkpoint, the tasks and their data.
SCORING_SETTINGS = (
    "limit",
    "context",
    "stride",
    "batch_size",
    "tokens",
    "allow_lossy",
    "allow_kept",
    "dtype",
    "attn",
    "tokenizer",
    "peft",
    "quantization",
)
CHECKPOINT_TOKENIZERS = (None, "auto", "file")  # values of --tokenizer that read the checkpoint's
ProgressBars = Callable[[str], AbstractContextManager[Callable[[Progress], None]]]


class ScoredCheckpoint(NamedTuple):
    """A newly scored checkpoint: its name in results, its training step if known, its results."""

    model: str
    step: int | None
    results: Results


@dataclass(frozen=True, slots=True)
class WatchPlan:
    """What to measure on every checkpoint, and how; `tasks` maps tasks to their data's SHA-256."""

    tasks: Mapping[str, str]
    data: Data
    out: Path
    settings: Settings
    options: LoadOptions
    include: Sequence[Path]
    bars: ProgressBars

    def scoring_settings(self) -> dict[str, str | int | None]:
        """Return the settings and options that affect scores."""
        values = asdict(self.settings) | asdict(self.options)
        return {key: value for key, value in values.items() if key in SCORING_SETTINGS}


def watch(
    folder: Path,
    tasks: str | Sequence[str] = PAPER,
    *,
    data: Data = None,
    out: Path = Path("results"),
    settings: Settings = Settings(),
    options: LoadOptions = LoadOptions(),
    include: Sequence[Path] = (),
    every: float = 10.0,
    once: bool = False,
    bars: ProgressBars = lambda label: nullcontext(lambda progress: None),
) -> Iterator[ScoredCheckpoint]:
    """Score the checkpoints in a run's folder in order of their steps, then each new one.

    A checkpoint is scored once it is complete and unchanged between two polls. A later watch with
    the same tasks, data and settings does not score it again. A checkpoint whose files are
    overwritten is scored again under another name. A checkpoint that cannot be scored is reported
    as a notice and retried when its files change. `<out>/results.csv` and `<out>/curves.svg` are
    rewritten after each checkpoint.

    Args:
        folder: the training run: `checkpoint-STEP` folders, `ckpt*.pt` or `model_*.bin` files.
        every: the polling interval in seconds.
        once: stop when all existing checkpoints are scored, instead of polling indefinitely.
        bars: opens the progress display of one checkpoint, given its name.
        The other arguments are those of `evaluate`.

    Yields:
        Each checkpoint when it is scored.

    Raises:
        UsageError: before scoring, for invalid tasks, data or folders; with `once`, at the end, if
            a checkpoint could not be scored.

    Examples:
        ```python
        for scored in watch(Path("runs/mine"), "wikitext2", once=True):
            print(scored.step, scored.results)
        ```
    """
    if not 0 < every <= SECONDS_PER_DAY:
        raise UsageError(
            f"--every {every:g}: expected more than 0 and at most {SECONDS_PER_DAY} seconds"
        )
    poller = Poller(folder)
    poller.poll()
    hashes = _hash_data(tasks, data, settings, include)
    plan = WatchPlan(hashes, data, out, settings, options, include, bars)
    store.check_writable(out)
    _draw_curves(out)
    if not once:
        notify(f"watching {folder} every {every:g} s; press Ctrl-C to stop")
    while True:
        time.sleep(every)
        for checkpoint in poller.poll():
            if scored := _try_to_score(plan, poller, checkpoint):
                yield scored
        if once:
            return poller.check_all_scored()


def _hash_data(
    names: str | Sequence[str],
    data: Data,
    settings: Settings,
    include: Sequence[Path],
) -> dict[str, str]:
    """Map each task to its data's SHA-256. Reads all data, so that bad data fails at the start."""
    settings.check()
    files = local_files(data, include)
    return {
        task.full_name: corpus.load(task, files, settings).sha256
        for task in loader.select_tasks(names, include)
    }


def _try_to_score(
    plan: WatchPlan, poller: Poller, checkpoint: TrainingCheckpoint
) -> ScoredCheckpoint | None:
    """Score a checkpoint; return None if it is already scored or not ready."""
    path = checkpoint.path
    name = checkpoint.name
    scored = None
    try:
        if incomplete := checkpoints.find_incomplete_part(checkpoint):
            poller.notify_once(path, f"{name}: {incomplete}; waiting until it is complete")
            return None
        settings = plan.scoring_settings()
        if tasks := history.unscored_tasks(plan.out, checkpoint, settings, plan.tasks):
            scored = _score(plan, checkpoint, tasks)
            if scored is None:  # it changed during loading
                return None
        poller.scored[path] = checkpoint.file_stats
    except UsageError as error:
        store.check_writable(plan.out)  # a full disk is not the checkpoint's fault
        message = str(error) if name in str(error) else f"{name}: {error}"
        poller.notify_once(path, f"{message}; skipped until its files change")
        poller.broken[path] = checkpoint.file_stats
    return scored


def _score(
    plan: WatchPlan, checkpoint: TrainingCheckpoint, tasks: Sequence[str]
) -> ScoredCheckpoint | None:
    """Load a checkpoint and measure tasks on it; None if its files changed during loading."""
    needs_tokenizer = checkpoint.scheme == "hf" and plan.options.tokenizer in CHECKPOINT_TOKENIZERS
    if needs_tokenizer and not checkpoints.has_tokenizer(checkpoint.path):
        raise UsageError(
            f"{checkpoint.name}: it has no tokenizer; expected --tokenizer with a folder or Hub id"
        )
    backend = registry.load_model(checkpoint.model, plan.options)
    if checkpoints.read_checkpoint(checkpoint.path) != checkpoint:
        return None
    identity = identified.identity_of(backend)
    step = int(identity.step) if identity.step.isdecimal() else checkpoint.number
    name = history.result_name(plan.out, checkpoint, step, identity.revision)
    with plan.bars(name) as show_progress:
        measured = pipeline.evaluate(
            history.named(backend, name, step),
            tasks,
            data=plan.data,
            out=plan.out,
            settings=plan.settings,
            include=plan.include,
            progress=_labelled(show_progress, checkpoint.path.name),
        )
    settings = plan.scoring_settings()
    entry = history.HistoryEntry.from_checkpoint(checkpoint, name, step, settings, plan.tasks)
    history.write_entry(plan.out, entry)
    _draw_curves(plan.out)
    return ScoredCheckpoint(name, step, measured)


def _labelled(
    show_progress: Callable[[Progress], None], checkpoint: str
) -> Callable[[Progress], None]:
    """Prefix the task name with the checkpoint's name in every progress report."""
    return lambda progress: show_progress(progress._replace(task=f"{checkpoint} {progress.task}"))


def _draw_curves(out: Path) -> None:
    """Rewrite `curves.svg` with every scored checkpoint whose step is known."""
    points = [
        curves.Point(entry.series, entry.step, result)
        for entry in history.read_history(out)
        if entry.step is not None
        for result in history.read_model_results(out, entry.model)
    ]
    if points:
        write_atomic(out / "curves.svg", curves.svg(points))
