"""Explain why a model has several perplexities on one text: measure each difference in protocol.

Settings change from one protocol to the other one group at a time. Each change is measured, so the
contributions add up exactly. This module does not know what the settings mean.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from gpt2eval.analysis.explain_changes import describe_change, with_group
from gpt2eval.analysis.explain_result import (
    SETTING_GROUPS,
    ExplainedProtocol,
    Explanation,
    Step,
)
from gpt2eval.analysis.measure_protocols import ProtocolMeasurer
from gpt2eval.analysis.worker_counts import NamedTask, per_workers
from gpt2eval.config import loader
from gpt2eval.config.schema import Task
from gpt2eval.data.local import Data, check_exists, file_of, local_files
from gpt2eval.errors import UsageError, unknown
from gpt2eval.metrics import metrics
from gpt2eval.models import identified, registry
from gpt2eval.models.options import LoadOptions
from gpt2eval.pipeline import undisturbed
from gpt2eval.report import store
from gpt2eval.settings import Settings
from gpt2eval.types import Model, Progress, Tally


@undisturbed()
def explain(
    model: str | Model = "demo",
    task: str = "wikitext103",
    *,
    data: Data = None,
    protocols: Sequence[str] = (),
    workers: Sequence[int] = (),
    out: Path | str | None = None,
    settings: Settings = Settings(),
    options: LoadOptions = LoadOptions(),
    include: Sequence[Path] = (),
    progress: Callable[[Progress], None] | None = None,
) -> Explanation:
    """Measure the perplexity of a task under its own protocol and under its variants.

    For every variant v, nats(v) = nats(first) + the sum of its steps' nats, where nats = ln(PPL).

    Args:
        model: a model name, as for `evaluate`, or a backend.
        task: a task with a perplexity.
        data: local files by task; by default the published files, or the demo's records for the
            demo model.
        protocols: names of the task's variants; by default all of them.
        workers: numbers of workers of a loader that drops tokens. Each variant with such a loader
            is measured with each number, and with all tokens.
        out: a results folder, where scores are journaled so that an interrupted call can resume.
        settings: `limit` keeps the first lines of the published text, even if records span lines.
        options: how to load the model, if `model` is a name.
        include: folders with further tasks and detokenizers.
        progress: called with the progress of each measurement.

    Returns:
        The protocols, the task's own first. A protocol that cannot be measured carries the reason.

    Raises:
        UsageError: for an unknown task or variant, a task without a perplexity, workers without
            a loader that drops tokens, or data or a model that cannot be loaded.

    Examples:
        ```python
        print(explain("gpt2", "wikitext103", protocols=["no_detok", "lm_eval"]))
        ```
    """
    base = loader.load_task(task, include)
    variants = _load_variants(base, protocols, include)
    others = per_workers(variants, workers)
    files = local_files(data, include, model)
    for each in (base, *variants):
        if path := file_of(each, files):
            check_exists(each, path / each.source.file.name if path.is_dir() else path)
    if out is not None:
        store.check_writable(Path(out))
    if isinstance(model, str):
        backend = registry.load_model(model, options)
    else:
        backend = registry.checked(model)
    measurer = ProtocolMeasurer(
        backend,
        files,
        include,
        settings,
        _journal_folder(out, backend, task),
        progress or (lambda report: None),
    )
    first = measurer.resolved(base)
    rows = [NamedTask(base.full_name, first)]
    rows += [NamedTask(name, measurer.resolved(other)) for name, other in others]
    return Explanation(tuple(_explain_protocol(measurer, first, row) for row in rows))


def _load_variants(base: Task, names: Sequence[str], include: Sequence[Path]) -> list[Task]:
    """Load the named variants of a task that have a perplexity; by default all of them.

    Raises UsageError for an unknown variant, or if the task itself has no perplexity.
    """
    if unlisted := [name for name in names if name not in base.variants]:
        raise unknown(f"variant of {base.name}", unlisted[0], base.variants)
    if "ppl" not in base.metrics:
        raise UsageError(
            f"task {base.full_name}: no perplexity to explain; expected a task with ppl"
        )
    variants = [loader.load_task(f"{base.name}/{name}", include) for name in names or base.variants]
    return [
        variant
        for variant in variants
        if "ppl" in variant.metrics and variant.full_name != base.full_name
    ]


def _journal_folder(out: Path | str | None, model: Model, task: str) -> Path | None:
    if out is None:
        return None
    return store.result_folder(Path(out), identified.identity_of(model).name, task) / "explained"


def _explain_protocol(measurer: ProtocolMeasurer, base: Task, row: NamedTask) -> ExplainedProtocol:
    """Change the base's settings into the task's, group by group, and measure every change."""
    name, task = row
    steps: list[Step] = []
    try:
        current = base
        result = measurer.result(base)
        for group in SETTING_GROUPS:
            changed = with_group(current, task, group)
            if _is_same(measurer, current, changed):
                current = changed
                continue
            changed_result = measurer.result(changed)
            growth = _nats_per_unit(changed_result.tally, changed) - _nats_per_unit(
                result.tally, current
            )
            before, after = describe_change(current, changed, group, result.tally.tokens)
            if before == after:  # two local files for one published name
                before += f" ({measurer.file(current) or 'published'})"
                after += f" ({measurer.file(changed) or 'published'})"
            steps.append(Step(group, before, after, growth))
            result = changed_result
            current = changed
    except UsageError as error:
        if task is base:
            raise
        return ExplainedProtocol(
            name, math.nan, task.unit, 0, math.nan, (), reason_omitted=str(error)
        )
    nats = _nats_per_unit(result.tally, current)
    perplexity = math.exp(nats) if nats < 700 else math.inf  # as metrics do; exp overflows at 710
    units = metrics.count(result.tally, task.unit)
    kept = result.kept.share if result.kept else 1.0
    return ExplainedProtocol(name, perplexity, task.unit, units, nats, tuple(steps), kept=kept)


def _is_same(measurer: ProtocolMeasurer, first: Task, second: Task) -> bool:
    """Return whether two tasks have the same settings and the same text."""
    renamed = first.model_copy(update={"variant": second.variant})
    return renamed == second and measurer.file(first) == measurer.file(second)


def _nats_per_unit(tally: Tally, task: Task) -> float:
    """Return ln(PPL)."""
    units = metrics.count(tally, task.unit)
    if not units:
        raise UsageError(
            f"task {task.full_name}: the text has no {task.unit} to divide by; expected at least 1"
        )
    return tally.nats / units
