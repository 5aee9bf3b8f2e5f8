"""Explain why one model has many perplexities on one text: what each difference in protocol costs.

Between two protocols the settings change one group at a time. Every change is measured, so the
contributions add up exactly. This module does not know what the settings mean.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from gpt2eval import pipeline
from gpt2eval.analysis.measure_protocols import ProtocolMeasurer
from gpt2eval.config import loader
from gpt2eval.config.schema import Task
from gpt2eval.errors import UsageError, unknown
from gpt2eval.metrics import metrics
from gpt2eval.types import Model, Progress, Tally

# Groups of a task's settings, in the order in which they change. `unit` comes before the groups
# that can leave tokens unscored, so that it is compared over the same tokens.
SETTING_GROUPS: Mapping[str, tuple[str, ...]] = {
    "text": ("source", "format", "encoding", "cut_last", "cut_whole", "expect"),
    "detokenizer": ("detokenizer", "lead", "join"),
    "ask": ("ask", "normalize"),
    "unit": ("unit",),
    "windows": ("context", "stride", "windows"),
    "start": ("start",),
    "specials": ("specials",),
}


class Step(NamedTuple):
    """One group of settings that changes, and by how much the nats per unit grow with it."""

    group: str
    before: str
    after: str
    nats: float


class ExplainedProtocol(NamedTuple):
    """A protocol's perplexity, and the steps that lead to it from the first protocol.

    `nats` is ln(perplexity). `reason_omitted` is empty unless the protocol cannot be measured.
    """

    name: str
    ppl: float
    unit: str
    units: int
    nats: float
    steps: tuple[Step, ...]
    reason_omitted: str = ""


def explain(
    model: Model,
    name: str,
    files: Mapping[str, Path] | None = None,
    *,
    protocols: Sequence[str] = (),
    include: Sequence[Path] = (),
    settings: pipeline.Settings = pipeline.Settings(),
    folder: Path | None = None,
    watch: Callable[[Progress], None] = lambda progress: None,
) -> list[ExplainedProtocol]:
    """Measure the perplexity of a task under its own protocol and under its variants.

    For every variant v, nats(v) = nats(first) + the sum of its steps' nats, where nats = ln(PPL).

    Args:
        model: a backend.
        name: a task with a perplexity.
        files: local files by task; the published files by default.
        protocols: names of variants; by default all of the task's.
        include: folders with further tasks and detokenizers.
        settings: `limit` keeps the first lines of the published text, whatever the records are.
        folder: where the model's scores are journaled, so that an interrupted run can resume.
        watch: called with the progress of each measurement.

    Returns:
        The task's own protocol first. A variant that cannot be measured carries the reason.

    Raises:
        UsageError: for an unknown task or variant, and for a task without a perplexity.
    """
    base = loader.load_task(name, include)
    if unlisted := [p for p in protocols if p not in base.variants]:
        raise unknown(f"variant of {base.name}", unlisted[0], base.variants)
    if "ppl" not in base.metrics:
        raise UsageError(f"task {name}: it has no perplexity to explain; expected a task with ppl")
    measurer = ProtocolMeasurer(model, files, include, settings, folder, watch)
    rows = [_explain_protocol(measurer, base, base)]
    for variant in protocols or base.variants:
        task = loader.load_task(f"{base.name}/{variant}", include)
        if "ppl" in task.metrics and task.full_name != base.full_name:
            rows.append(_explain_protocol(measurer, base, task))
    return rows


def _explain_protocol(measurer: ProtocolMeasurer, base: Task, task: Task) -> ExplainedProtocol:
    """Change the base's settings into the task's, group by group, and measure every change."""
    steps: list[Step] = []
    try:
        current = base
        tally = measurer.tally(base)
        for group, keys in SETTING_GROUPS.items():
            changed = current.model_copy(update={key: getattr(task, key) for key in keys})
            if changed == current:
                continue
            changed_tally = measurer.tally(changed)
            growth = _nats_per_unit(changed_tally, changed) - _nats_per_unit(tally, current)
            steps.append(Step(group, _describe(current, keys), _describe(changed, keys), growth))
            tally = changed_tally
            current = changed
    except UsageError as error:
        if task is base:
            raise
        return ExplainedProtocol(
            task.full_name, math.nan, task.unit, 0, math.nan, (), reason_omitted=str(error)
        )
    nats = _nats_per_unit(tally, current)
    perplexity = math.exp(min(nats, 700))  # exp overflows just above 709
    units = metrics.count(tally, task.unit)
    return ExplainedProtocol(task.full_name, perplexity, task.unit, units, nats, tuple(steps))


def _nats_per_unit(tally: Tally, task: Task) -> float:
    """Return ln(PPL)."""
    units = metrics.count(tally, task.unit)
    if not units:
        raise UsageError(
            f"task {task.full_name}: the text has no {task.unit} to divide by; expected at least 1"
        )
    return tally.nats / units


def _describe(task: Task, keys: Sequence[str]) -> str:
    """Return the values of a group of settings in short."""
    if "source" in keys:
        by_format = "" if task.format == "stream" else f" by {task.format}"
        return f"{task.source.file.name}{by_format}"
    values = [str(getattr(task, key)) for key in keys if getattr(task, key) is not None]
    return " ".join(values).replace("\n", "\\n") or "none"
