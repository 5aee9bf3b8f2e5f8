"""The tasks and texts of a run, with their records."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from gpt2eval.config.catalog import PAPER
from gpt2eval.config.schema import Task
from gpt2eval.data import corpus
from gpt2eval.data.custom import Text, load_texts
from gpt2eval.data.records import Corpus
from gpt2eval.errors import UsageError
from gpt2eval.settings import Settings


class Job(NamedTuple):
    """A task and its text."""

    task: Task
    corpus: Corpus


def listed(
    tasks: str | Sequence[str] | None, texts: str | Path | Sequence[str | Path | Text] = ()
) -> str | Sequence[str]:
    """Return the requested tasks; those of the paper if neither tasks nor texts are requested."""
    if tasks is None:
        return () if texts else PAPER
    return tasks


def load_jobs(
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
