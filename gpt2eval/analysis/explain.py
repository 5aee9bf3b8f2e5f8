"""Why one model has many perplexities on one text: every protocol's number, and what each difference is worth.

Between two protocols the settings are changed one group at a time; each change is measured, so the contributions add up
to the difference. What two protocols ask of the model alike is asked once. It does not know what the settings mean.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tabulate import tabulate

from gpt2eval.config import loader
from gpt2eval.config.schema import Expect, Task
from gpt2eval.data import formats
from gpt2eval.data.corpus import file_of, load_corpus
from gpt2eval.data.records import Corpus
from gpt2eval.errors import UsageError, unknown
from gpt2eval.measurement import measure
from gpt2eval.metrics import metrics
from gpt2eval.settings import Settings
from gpt2eval.text import passages
from gpt2eval.types import Model, Progress, Tally, Units

GROUPS: Mapping[str, tuple[str, ...]] = {
    "text": ("source", "format", "encoding", "cut_last", "cut_whole", "expect"),
    "detokenizer": ("detokenizer", "lead", "join"),
    "asked": ("ask", "normalize"),
    "unit": ("unit",),  # before what leaves tokens unscored
    "windows": ("context", "stride", "windows"),
    "start": ("start",),
    "specials": ("specials",),
}


class Step(NamedTuple):
    """One group of settings changed: from what to what, and how much nats per unit grew by it."""

    group: str
    before: str
    after: str
    nats: float


class Explained(NamedTuple):
    """A protocol's perplexity; how it differs from the first one's, step by step. `nats` is ln(perplexity)."""

    name: str
    ppl: float
    unit: str
    units: int
    nats: float
    steps: tuple[Step, ...]
    said: str = ""


def explain(
    model: Model,
    name: str,
    files: Mapping[str, Path] | None = None,
    *,
    protocols: Sequence[str] = (),
    include: Sequence[Path] = (),
    settings: Settings = Settings(),
    folder: Path | None = None,
    watch: Callable[[Progress], None] = lambda progress: None,
) -> list[Explained]:
    """The task's own protocol, then each of its variants (or those of `protocols`), all with perplexity.

    For a variant v with steps s: nats(v) = nats(first) + sum of s.nats, nats being ln(PPL), so per unit of each.
    `settings.limit` cuts the published text, whatever a protocol's records are. A variant whose text cannot be had is
    left out, and `said` says why. `folder` keeps the model's answers. Source: issue 4.
    """
    base = loader.load_task(name, include)
    if unlisted := [p for p in protocols if p not in base.variants]:
        raise unknown(f"variant of {base.name}", unlisted[0], base.variants)
    if "ppl" not in base.metrics:
        raise UsageError(f"task {name}: it has no perplexity to explain; expected one of ppl")
    bench = Bench(model, files, include, settings, folder, watch)
    first = _explained(bench, base, base)
    made = [first]
    for variant in protocols or base.variants:
        task = loader.load_task(f"{base.name}/{variant}", include)
        if "ppl" in task.metrics and task.full_name != base.full_name:
            made.append(_explained(bench, base, task))
    return made


def _explained(bench: "Bench", base: Task, task: Task) -> Explained:
    """A task's perplexity, reached from the base's one group at a time."""
    try:
        tally, at, steps = bench.tally(base), base, list[Step]()
        for group, keys in GROUPS.items():
            changed = at.model_copy(update={key: getattr(task, key) for key in keys})
            if changed != at:
                before, after = tally, bench.tally(changed)
                worth = _nats(after, changed) - _nats(before, at)
                steps.append(Step(group, _shown(at, keys), _shown(changed, keys), worth))
                tally, at = after, changed
    except UsageError as error:
        if task is base:
            raise
        return Explained(task.full_name, math.nan, task.unit, 0, math.nan, (), str(error))
    nats = _nats(tally, at)
    return Explained(
        task.full_name,
        math.exp(min(nats, 700)),
        task.unit,
        metrics.count(tally, task.unit),
        nats,
        tuple(steps),
    )


def _nats(tally: Tally, task: Task) -> float:
    """Nats per unit: ln(PPL)."""
    units = metrics.count(tally, task.unit)
    if not units:
        raise UsageError(
            f"task {task.full_name}: the text has no {task.unit} to divide by; expected at least one"
        )
    return tally.nats / units


def _shown(task: Task, keys: Sequence[str]) -> str:
    """What a group of settings says, in short."""
    if "source" in keys:
        return task.source.file.name + ("" if task.format == "stream" else f" by {task.format}")
    return (
        " ".join(str(getattr(task, key)) for key in keys if getattr(task, key) is not None).replace(
            "\n", "\\n"
        )
        or "none"
    )


def rendered(rows: Sequence[Explained]) -> str:
    """A table of the protocols, a column per group of settings with what it adds to the nats; below it, what was changed."""
    used = [
        group for group in GROUPS if any(step.group == group for row in rows for step in row.steps)
    ]
    head = ["protocol", "PPL", "per", "nats", *used]
    cells = [
        [
            row.name,
            f"{row.ppl:.4f}",
            f"{row.unit}@{row.units}",
            f"{row.nats:.6f}",
            *(_worth(row, group) for group in used),
        ]
        for row in rows
        if not row.said
    ]
    changes = [
        f"{row.name}: "
        + "; ".join(f"{s.group} {s.before} -> {s.after} ({s.nats:+.6f})" for s in row.steps)
        for row in rows
        if row.steps
    ]
    left_out = [f"{row.name}: left out: {row.said}" for row in rows if row.said]
    sums = f"nats = those of {rows[0].name} and the changes, left to right; PPL = exp(nats)"
    return "\n".join(
        [tabulate(cells, head, "pipe", disable_numparse=True), "", sums, *changes, *left_out]
    )


def _worth(row: Explained, group: str) -> str:
    return "".join(f"{step.nats:+.6f}" for step in row.steps if step.group == group)


@dataclass(frozen=True, slots=True)
class Bench:
    """A model and the texts; what it has measured, by what was asked."""

    model: Model
    files: Mapping[str, Path] | None
    include: Sequence[Path]
    settings: Settings
    folder: Path | None
    watch: Callable[[Progress], None]
    texts: dict[tuple[str, str], Corpus] = field(default_factory=dict)
    measured: dict[str, Tally] = field(default_factory=dict)

    def tally(self, task: Task) -> Tally:
        """The sums of a task; of two that differ in their unit alone, only one is measured."""
        key = task.model_copy(
            update={
                "unit": "word",
                "variant": "",
                "published": (),
                "note": "",
                "metrics": (),
                "filter": "none",
            }
        ).model_dump_json()
        if key not in self.measured:
            settings = replace(self.settings, limit=None, allow_lossy=True)
            made = measure(
                self.model,
                task.model_copy(
                    update={"metrics": ("nats_per_token",), "published": (), "filter": "none"}
                ),
                self.corpus(task),
                settings,
                self.include,
                journal=self.folder,
                progress=self.watch,
            )
            assert made, "one worker leaves nothing out"
            self.measured[key] = made.result.tally
        return self.measured[key]

    def corpus(self, task: Task) -> Corpus:
        """The records that a task makes of its text, of which `limit` leaves the first lines (or as many records)."""
        given = self.settings
        read = partial(
            load_corpus,
            path=file_of(task, self.files),
            strict=given.strict_data,
            cache=given.cache,
        )
        if self.settings.limit is None or task.format != "pages":
            whole = read(task)
            kept = tuple(
                passages.head(whole.records, self.settings.limit, stream=task.format == "stream")
            )
        else:
            whole = read(task.model_copy(update={"format": "stream", "expect": Expect()}))
            (text,) = passages.head(whole.records, self.settings.limit, stream=True)
            kept = tuple(formats.PARSERS[task.format](text.text, whole.origin))
        units = sum((passages.units(record.text) for record in kept), Units())
        return Corpus(kept, units, whole.sha256, whole.published, whole.origin)
