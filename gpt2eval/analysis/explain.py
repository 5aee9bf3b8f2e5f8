"""Explain why a model has several perplexities on one text: measure each difference in protocol.

Settings change from one protocol to the other one group at a time. Each change is measured, so the
contributions add up exactly. This module does not know what the settings mean.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from gpt2eval.analysis.explain_result import (
    SETTING_GROUPS,
    ExplainedProtocol,
    Explanation,
    Step,
)
from gpt2eval.analysis.measure_protocols import ProtocolMeasurer
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
        out: a results folder, where scores are journaled so that an interrupted call can resume.
        settings: `limit` keeps the first lines of the published text, even if records span lines.
        options: how to load the model, if `model` is a name.
        include: folders with further tasks and detokenizers.
        progress: called with the progress of each measurement.

    Returns:
        The protocols, the task's own first. A protocol that cannot be measured carries the reason.

    Raises:
        UsageError: for an unknown task or variant, a task without a perplexity, or data or a
            model that cannot be loaded.

    Examples:
        ```python
        print(explain("gpt2", "wikitext103", protocols=["no_detok", "lm_eval"]))
        ```
    """
    base = loader.load_task(task, include)
    variants = _load_variants(base, protocols, include)
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
    first, *others = map(measurer.resolved, (base, *variants))
    return Explanation(tuple(_explain_protocol(measurer, first, v) for v in (first, *others)))


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


def _explain_protocol(measurer: ProtocolMeasurer, base: Task, task: Task) -> ExplainedProtocol:
    """Change the base's settings into the task's, group by group, and measure every change."""
    steps: list[Step] = []
    try:
        current = base
        tally = measurer.tally(base)
        for group, keys in SETTING_GROUPS.items():
            changed = current.model_copy(update={key: getattr(task, key) for key in keys})
            if group == "text":  # the name of the variant chooses the local file
                changed = changed.model_copy(update={"variant": task.variant})
            if _is_same(measurer, current, changed):
                continue
            changed_tally = measurer.tally(changed)
            growth = _nats_per_unit(changed_tally, changed) - _nats_per_unit(tally, current)
            before, after = _describe_change(current, changed, group, tally.tokens)
            if before == after:  # two local files for one published name
                before += f" ({measurer.file(current) or 'published'})"
                after += f" ({measurer.file(changed) or 'published'})"
            steps.append(Step(group, before, after, growth))
            tally = changed_tally
            current = changed
    except UsageError as error:
        if task is base:
            raise
        return ExplainedProtocol(
            task.full_name, math.nan, task.unit, 0, math.nan, (), reason_omitted=str(error)
        )
    nats = _nats_per_unit(tally, current)
    perplexity = math.exp(nats) if nats < 700 else math.inf  # as metrics do; exp overflows at 710
    units = metrics.count(tally, task.unit)
    return ExplainedProtocol(task.full_name, perplexity, task.unit, units, nats, tuple(steps))


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


def _describe_change(first: Task, second: Task, group: str, tokens: int) -> tuple[str, str]:
    """Return the settings of a group that differ, before and after, without what is equal.

    A setting that has the name of its group is given by its value alone.
    """
    if group == "text":
        with_format = first.format != second.format
        return _describe_text(first, with_format), _describe_text(second, with_format)
    before: list[str] = []
    after: list[str] = []
    for key in SETTING_GROUPS[group]:
        if getattr(first, key) == getattr(second, key):
            continue
        label = "" if key == group else f"{key} "
        before.append(label + _describe_value(first, key, tokens))
        after.append(label + _describe_value(second, key, tokens))
    return ", ".join(before), ", ".join(after)


def _describe_text(task: Task, with_format: bool) -> str:
    by_format = f" by {task.format}" if with_format and task.format != "stream" else ""
    return f"{task.source.file.name}{by_format}"


def _describe_value(task: Task, key: str, tokens: int) -> str:
    """Return a setting's value on one line; the scored text has `tokens` tokens."""
    value = getattr(task, key)
    if value is None:
        return "none"
    if key == "context" and value >= tokens:
        return "whole text"
    return str(value).replace("\n", "\\n")
