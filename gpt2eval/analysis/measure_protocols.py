"""Measure one model under several protocols, each distinct measurement once.

Knows which parts of a task do not affect the model's scores. Does not compare protocols.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gpt2eval.config.schema import Task
from gpt2eval.config.source_schema import Expect
from gpt2eval.data import corpus, formats
from gpt2eval.data.local import file_of
from gpt2eval.data.records import Corpus
from gpt2eval.measurement import measure
from gpt2eval.metrics.result import Result
from gpt2eval.settings import Settings
from gpt2eval.text import passages
from gpt2eval.types import Model, Progress


@dataclass(frozen=True, slots=True)
class ProtocolMeasurer:
    """Measures protocols of one model and caches their results.

    `journal` is the folder where scores are journaled; `files` are local files by task.
    """

    model: Model
    files: Mapping[str, Path]
    include: Sequence[Path]
    settings: Settings
    journal: Path | None
    progress: Callable[[Progress], None]
    results: dict[str, Result] = field(default_factory=dict)

    def result(self, task: Task) -> Result:
        """Return the result of a task; tasks that differ only in their unit share a measurement.

        Only its sums and its kept tokens are those of the task.
        """
        unaffected = {
            "unit": "word",
            "variant": "",
            "published": (),
            "note": "",
            "metrics": (),
            "filter": "none",
        }
        key = f"{self.file(task)}\n{task.model_copy(update=unaffected).model_dump_json()}"
        if key not in self.results:
            self.results[key] = self._measure(task)
        return self.results[key]

    def resolved(self, task: Task) -> Task:
        """Return a task with the context and the block that the model really gets, and no other."""
        sizes = {
            size: self.settings.context or min(wanted, self.model.context)
            for size in ("context", "block")
            if (wanted := getattr(task, size))
        }
        return task.model_copy(update=sizes)

    def file(self, task: Task) -> Path | None:
        """Return the local file of a task; None for the published one."""
        return file_of(task, self.files)

    def _measure(self, task: Task) -> Result:
        measurement = measure(
            self.model,
            task.model_copy(
                update={"metrics": ("nats_per_token",), "published": (), "filter": "none"}
            ),
            self._corpus(task),
            replace(self.settings, limit=None, allow_lossy=True),  # _corpus applies the limit
            self.include,
            journal=self.journal,
            progress=self.progress,
        )
        assert measurement, "a single worker scores every chunk"
        return measurement.result

    def _corpus(self, task: Task) -> Corpus:
        """Return the records of a task's text, cut to the first `limit` lines (or records)."""
        limit = self.settings.limit
        is_stream = task.format == "stream"
        if limit is None or task.format != "pages":
            loaded = self._load(task)
            records = tuple(passages.head(loaded.records, limit, stream=is_stream))
        else:  # cut the text before it is split into pages
            loaded = self._load(task.model_copy(update={"format": "stream", "expect": Expect()}))
            (text,) = passages.head(loaded.records, limit, stream=True)
            records = formats.parse(task, text.text, loaded.origin)
        return replace(loaded, records=records, units=passages.total_units(records))

    def _load(self, task: Task) -> Corpus:
        return corpus.load(task, self.files, self.settings)
