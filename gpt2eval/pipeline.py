"""Measure tasks on a model, and write each result as soon as it exists."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from warnings import catch_warnings

from gpt2eval.config import catalog
from gpt2eval.config.catalog import PAPER
from gpt2eval.config.loader import select_tasks
from gpt2eval.config.schema import Task
from gpt2eval.data import corpus
from gpt2eval.data.custom import Text, load_texts
from gpt2eval.data.local import Data, local_files
from gpt2eval.data.records import Corpus
from gpt2eval.errors import UsageError
from gpt2eval.files import write_atomic
from gpt2eval.measurement import Measurement, measure
from gpt2eval.metrics.result import Result
from gpt2eval.models import registry
from gpt2eval.models.memory.recall import OutdatedMemoryError, open_model
from gpt2eval.models.options import LoadOptions
from gpt2eval.report import folders, run_record, store, tidy
from gpt2eval.report.results import Results
from gpt2eval.report.tidy_csv import TidyCsv
from gpt2eval.scoring.start_check import StartCheck
from gpt2eval.settings import Settings
from gpt2eval.types import Model, Progress


class Job(NamedTuple):
    """A task and its text."""

    task: Task
    corpus: Corpus


@contextmanager
def undisturbed() -> Iterator[None]:
    """Restore warning filters and torch's environment variables, which imports change."""
    before = set(os.environ)
    with catch_warnings():
        try:
            yield
        finally:
            for name in set(os.environ) - before:
                if name.startswith("TORCH"):
                    del os.environ[name]


@undisturbed()
def evaluate(
    model: str | Model = "demo",
    tasks: str | Sequence[str] | None = None,
    *,
    texts: str | Path | Sequence[str | Path | Text] = (),
    data: Data = None,
    out: Path | str | None = None,
    settings: Settings = Settings(),
    options: LoadOptions = LoadOptions(),
    include: Sequence[Path] = (),
    progress: Callable[[Progress], None] | None = None,
    wait: Callable[[], bool] = lambda: False,
) -> Results:
    """Measure tasks on a model. Prints nothing, and changes no global state of the process.

    Args:
        model: A name (`gpt2`, a folder, `toy:uniform-bytes`, `module:Factory`) or a backend.
        tasks: Names of tasks, variants (`wikitext103/s32`) or suites. By default the columns of
            the paper, or none if `texts` are given.
        texts: Your own texts, in the syntax of `gpt2eval run --text`.
        data: Local file of each task, or a folder with published files. By default the published
            data is downloaded; the demo model has its own records.
        out: Folder to which each result is written as soon as it exists; a later call with the
            same arguments resumes there.
        settings: Changes to the protocols, and how numbers are computed.
        options: How a named model is loaded.
        include: Folders with your own tasks, suites and detokenizers.
        progress: Called with a `Progress` after every batch.
        wait: For processes that share the work: waits for the others, and returns whether to
            check for their chunks again.

    Returns:
        One result per task, in order. A task whose chunks other workers have not finished is
        omitted.

    Raises:
        UsageError: a task, a text, an option or the model is invalid; the message states what is
            expected.

    Examples:
        >>> from gpt2eval import demo, evaluate
        >>> results = evaluate("toy:uniform-bytes", ["text8"], data=demo.data())
        >>> round(results["text8"].bpc, 9)
        8.0
    """
    settings.check()
    if settings.worker.world > 1 and out is None:
        raise UsageError("several workers: expected out=, a folder that all workers share")
    chosen = select_tasks(listed(tasks, texts), include)
    files = local_files(data, include, model)
    if isinstance(model, str):
        registry.check_name(model)  # before anything is downloaded
    if out is not None:
        store.check_writable(Path(out))
    jobs = _jobs(chosen, files, texts, settings, include)
    is_named = isinstance(model, str)
    backend = open_model(model, options, out) if is_named else registry.checked(model)

    def measure_all(backend: Model) -> list[Result]:
        writer = None if out is None else Writer(Path(out), registry.identity_of(backend).name)
        check = StartCheck(backend)

        def run(job: Job) -> Result | None:
            report = progress or (lambda progress: None)
            return _run(backend, job, settings, include, writer, report, check)

        results = [run(job) for job in jobs]
        if wait() and None in results:
            results = [done or run(job) for done, job in zip(results, jobs, strict=True)]
        return [result for result in results if result]

    try:
        finished = measure_all(backend)
    except OutdatedMemoryError as outdated:
        finished = measure_all(outdated.model)
    return Results(finished, suite=suite_of(tasks, include), include=include)


def listed(
    tasks: str | Sequence[str] | None, texts: str | Path | Sequence[str | Path | Text] = ()
) -> str | Sequence[str]:
    """Return the requested tasks; those of the paper if neither tasks nor texts are requested."""
    if tasks is None:
        return () if texts else PAPER
    return tasks


def suite_of(tasks: str | Sequence[str] | None, include: Sequence[Path] = ()) -> str:
    """Return the suite whose table shows the tasks: the requested one, or the paper's."""
    if isinstance(tasks, str) and tasks in catalog.files("tasks/suites", include):
        return tasks
    return PAPER


def _jobs(
    tasks: Sequence[Task],
    files: Mapping[str, Path],
    texts: str | Path | Sequence[str | Path | Text],
    settings: Settings,
    include: Sequence[Path],
) -> list[Job]:
    """Return the tasks and texts with their records. Raises UsageError for a duplicate name."""
    jobs = [Job(task, corpus.load(task, files, settings)) for task in tasks]
    for text in load_texts(texts, include, settings.max_size):
        jobs.append(Job(text.task, text.read(strict=settings.strict_data)))
    names: set[str] = set()
    for job in jobs:
        if job.task.full_name in names:
            raise UsageError(
                f"task {job.task.full_name}: requested twice; rename one, or run them separately"
            )
        names.add(job.task.full_name)
    return jobs


def _run(
    model: Model,
    job: Job,
    settings: Settings,
    include: Sequence[Path],
    writer: "Writer | None",
    progress: Callable[[Progress], None],
    check: StartCheck,
) -> Result | None:
    """Measure one task and write its files; return None if chunks of other workers are missing."""
    start = run_record.now()
    folder = writer.folder(job.task) if writer else None
    measurement = measure(
        model,
        job.task,
        job.corpus,
        settings,
        include,
        journal=folder and folder / "journal",
        progress=progress,
        check=check,
    )
    if measurement and writer:
        writer.write(job.task, measurement, start)
    return measurement.result if measurement else None


class Writer:
    """The files of one model's results below an output folder."""

    def __init__(self, out: Path, model: str) -> None:
        self._out = out
        self._model = model
        self._csv = TidyCsv(out)

    def folder(self, task: Task) -> Path:
        """Return the folder of a task."""
        return store.result_folder(self._out, self._model, task.full_name)

    def write(self, task: Task, measurement: Measurement, start: str) -> None:
        """Write `result.json`, `run.json`, `results.csv`, and `documents.csv` for documents."""
        folder = self.folder(task)
        result = measurement.result
        folders.check_owner(folder, result.model.name)
        run_record.write_run(folder, start, f"evaluate({self._model!r}, {task.full_name!r})")
        store.write_result(folder, result)
        if task.format == "documents":
            bits = "bpb" in task.metrics or not result.protocol.tokens
            rows = tidy.document_rows(measurement.parts, bits=bits)
            write_atomic(folder / "documents.csv", tidy.to_csv(rows))
        self._csv.update()
