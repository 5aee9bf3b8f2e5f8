"""Plan a run without scoring it: tokens, chunks, time, memory, disk and FLOPs of every task."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gpt2eval.config.loader import select_tasks
from gpt2eval.data.custom import Text
from gpt2eval.data.local import Data, local_files
from gpt2eval.errors import UsageError
from gpt2eval.identity import Sized
from gpt2eval.models import identified
from gpt2eval.models.memory.recall import check_names, load_backend
from gpt2eval.models.options import LoadOptions
from gpt2eval.planning import cost
from gpt2eval.planning.batch import BatchChoice
from gpt2eval.planning.cost import Memory, Trial
from gpt2eval.planning.jobs import Job, listed, load_jobs
from gpt2eval.planning.task_plan import plan_task
from gpt2eval.report.writer import ResultWriter
from gpt2eval.scoring.flops import Counts, flops
from gpt2eval.settings import Settings
from gpt2eval.types import Model, ModelIdentity


@dataclass(frozen=True, slots=True)
class PlannedTask:
    """The work of a task.

    Attributes:
        task: The name of the task, with its variant.
        records: Records that are scored; 1 for a stream.
        tokens: Tokens fed to the model; tokens that several windows share count in each.
        scored: Tokens scored.
        chunks: Pieces of work, each with a file in the journal.
        done: Chunks that the journal has.
        missing: Chunks of this worker that the journal lacks.
        seconds: Expected time of the missing chunks, None if it is not known.
        journal: Bytes that their files will take, about.
        flop: Floating-point operations of all chunks, if they are counted.
        memory: What the model and a batch need; None if its sizes are not known, or all is done.
    """

    task: str
    records: int
    tokens: int
    scored: int
    chunks: int
    done: int
    missing: int
    seconds: float | None
    journal: int
    flop: float | None
    memory: Memory | None


@dataclass(frozen=True, slots=True)
class RunPlan:
    """The tasks of one model, and how their time is known: `trial` seconds, or why it is not."""

    model: ModelIdentity
    tasks: tuple[PlannedTask, ...]
    trial: float
    problem: str


def plan_run(
    model: str | Model,
    tasks: str | Sequence[str] | None = None,
    *,
    texts: str | Path | Sequence[str | Path | Text] = (),
    data: Data = None,
    out: Path | str | None = None,
    settings: Settings = Settings(),
    options: LoadOptions = LoadOptions(),
    include: Sequence[Path] = (),
    name: str | None = None,
    count_flops: bool = False,
) -> RunPlan:
    """Plan what `evaluate` would do with the same arguments; score no more than a few batches.

    Writes nothing into `out`. Data that is not at hand is downloaded. `count_flops` counts FLOPs.

    Raises:
        UsageError: As `evaluate` does before it scores, but for an `out` that is missing or cannot
            be written; and where FLOPs cannot be counted.
    """
    settings.check()
    chosen = select_tasks(listed(tasks, texts), include)
    files = local_files(data, include, model)
    check_names(model, name)
    jobs = load_jobs(chosen, files, texts, settings, include)
    backend = load_backend(model, options, name)
    identity = identified.identity_of(backend)
    writer = None
    if out is not None and Path(out).is_dir():
        writer = ResultWriter(Path(out), identity, chosen=bool(name))
        writer.check_name(job.task for job in jobs)
    journals = [writer.journal(job.task) for job in jobs] if writer else []
    batch = BatchChoice(backend, settings, journals)
    trial = Trial(backend)
    planned = tuple(
        _planned(backend, job, batch, include, writer, trial, count_flops=count_flops)
        for job in jobs
    )
    return RunPlan(identity, planned, trial.seconds, trial.problem)


def _planned(
    model: Model,
    job: Job,
    batch: BatchChoice,
    include: Sequence[Path],
    writer: ResultWriter | None,
    trial: Trial,
    *,
    count_flops: bool,
) -> PlannedTask:
    folder = writer.journal(job.task) if writer else None
    settings = batch.settings(folder)
    plan = plan_task(model, *job, settings, include)
    chunks = plan.work.chunks
    lacking = range(len(chunks))
    if writer and folder:
        lacking = plan.journal(folder, writer.other_journals(job.task)).missing()
    rank, world = settings.worker
    missing = [chunks[number] for number in lacking if number % world == rank]
    counts = cost.work_counts(chunks)
    return PlannedTask(
        task=job.task.full_name,
        records=plan.records,
        tokens=counts.tokens,
        scored=counts.scored,
        chunks=len(chunks),
        done=len(chunks) - len(lacking),
        missing=len(missing),
        seconds=trial.seconds_for(plan, missing),
        journal=cost.journal_bytes(cost.work_counts(missing), len(missing)),
        flop=_flop(model, counts) if count_flops else None,
        memory=cost.memory(model, plan) if missing else None,
    )


def _flop(model: Model, counts: Counts) -> float:
    if not isinstance(model, Sized):
        name = identified.identity_of(model).name
        raise UsageError(
            f"--flops: the sizes of {name} are not known; expected a model of transformers, or a "
            "shape such as shape:gpt2-12x768-50257"
        )
    return flops(counts, model.sizes()).total
