"""Measure tasks on a model, and write each result as soon as it exists."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Unpack
from warnings import catch_warnings

from gpt2eval.config import catalog
from gpt2eval.config.catalog import PAPER
from gpt2eval.config.loader import select_tasks
from gpt2eval.data.custom import Text
from gpt2eval.data.local import Data, local_files
from gpt2eval.errors import UsageError
from gpt2eval.measurement import measure
from gpt2eval.metrics.result import Result
from gpt2eval.models import identified
from gpt2eval.models.memory.recall import OutdatedMemoryError, check_names, filed, load_backend
from gpt2eval.models.options import LoadOptions
from gpt2eval.planning.ahead import expected_tokens
from gpt2eval.planning.batch import BatchChoice
from gpt2eval.planning.jobs import Job, listed, load_jobs
from gpt2eval.planning.keywords import Keywords, merged
from gpt2eval.report import run_record, store
from gpt2eval.report.results import Results
from gpt2eval.report.writer import ResultWriter
from gpt2eval.scoring.start_check import StartCheck
from gpt2eval.settings import Settings
from gpt2eval.types import Model, Progress


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
    name: str | None = None,
    progress: Callable[[Progress], None] | None = None,
    wait: Callable[[], bool] = lambda: False,
    **keywords: Unpack[Keywords],
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
        name: What to call the model in folders and tables; signatures keep the loaded name.
        progress: Called with a `Progress` after every batch.
        wait: For processes that share the work: waits for the others, and returns whether to
            check for their chunks again.
        keywords: Any field of `Settings` or `LoadOptions`, such as `limit=100`, in place of the
            same field of `settings` or `options`.

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
        >>> len(evaluate("demo", "ptb", limit=5, dtype="float32"))
        1
    """
    settings, options = merged(settings, options, keywords, model)
    settings.check()
    if settings.worker.world > 1 and out is None:
        raise UsageError("several workers: expected out=, a folder that all workers share")
    chosen = select_tasks(listed(tasks, texts), include)
    files = local_files(data, include, model)
    check_names(model, name)  # before anything is downloaded
    if out is not None:
        store.check_writable(Path(out))
    jobs = load_jobs(chosen, files, texts, settings, include)
    backend = load_backend(model, options, name, out)

    def measured(backend: Model) -> list[tuple[Result, Path | None]]:
        identity = identified.identity_of(backend)
        writer = None if out is None else ResultWriter(Path(out), identity, chosen=bool(name))
        if writer:
            writer.check_name(job.task for job in jobs)
        run = _Run(backend, jobs, settings, include, writer, progress)
        results = [run.result(number) for number in range(len(jobs))]
        if wait() and None in results:
            results = [done or run.result(number) for number, done in enumerate(results)]
        return [(done, run.path(number)) for number, done in enumerate(results) if done]

    try:
        finished = measured(backend)
    except OutdatedMemoryError as outdated:
        finished = measured(filed(outdated.model, name))
    results, paths = zip(*finished, strict=True) if finished else ((), ())
    return Results(results, paths=paths, suite=suite_of(tasks, include), include=include)


class _Run:
    """The tasks of one model, measured one after the other."""

    def __init__(
        self,
        model: Model,
        jobs: Sequence[Job],
        settings: Settings,
        include: Sequence[Path],
        writer: ResultWriter | None,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self._model = model
        self._jobs = jobs
        self._settings = settings
        self._include = include
        self._writer = writer
        self._progress = progress
        self._journals = [writer and writer.journal(job.task) for job in jobs]
        self._batch = BatchChoice(model, settings, [path for path in self._journals if path])
        self._check = StartCheck(model)

    def result(self, number: int) -> Result | None:
        """Measure a task and write its files; None if chunks of other workers are missing."""
        start = run_record.now()
        task, corpus = self._jobs[number]
        journal = self._journals[number]
        measurement = measure(
            self._model,
            task,
            corpus,
            self._batch.settings(journal),
            self._include,
            journal=journal,
            elsewhere=self._writer.other_journals(task) if self._writer else (),
            progress=self._reporter(number),
            check=self._check,
        )
        if measurement and self._writer:
            self._writer.write(task, *measurement, start)
        return measurement.result if measurement else None

    def path(self, number: int) -> Path | None:
        """Return the file of a task's result; None without an output folder."""
        return self._writer and self._writer.path(self._jobs[number].task)

    def _reporter(self, number: int) -> Callable[[Progress], None]:
        """Return what reports the progress of a task, with the tokens of those that follow."""
        report = self._progress
        if report is None:
            return lambda progress: None
        following = zip(self._jobs[number + 1 :], self._journals[number + 1 :], strict=True)
        later = sum(
            expected_tokens(self._model, *job, self._settings, journal)
            for job, journal in following
        )
        return lambda progress: report(progress._replace(later=later))


def suite_of(tasks: str | Sequence[str] | None, include: Sequence[Path] = ()) -> str:
    """Return the suite whose table shows the tasks: the requested one, or the paper's."""
    if isinstance(tasks, str) and tasks in catalog.files("tasks/suites", include):
        return tasks
    return PAPER
