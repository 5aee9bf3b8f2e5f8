"""Results as the Hugging Face Hub's own records: `model-index` entries and `.eval_results` files.

Neither ever claims that a number is verified: only the Hub's evaluation service may.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt2eval.config.loader import load_task
from gpt2eval.config.source_schema import Hub
from gpt2eval.errors import UsageError
from gpt2eval.metrics.result import MetricValue, Result
from gpt2eval.metrics.verdict import is_complete
from gpt2eval.notices import notify
from gpt2eval.report.escape import visible
from gpt2eval.report.numbers import value_label
from gpt2eval.report.strict_json import reason_of

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, EvalResultEntry

TASK_TYPE = "text-generation"  # the Hub's task of causal language models
TASK_NAME = "Zero-shot language modeling"
METRIC_TYPES = {  # the Hub's identifiers
    "ppl": "perplexity",
    "byte_ppl": "perplexity",
    "bpb": "bits_per_byte",
    "bpc": "bits_per_character",
    "nats_per_token": "nats_per_token",
    "acc": "accuracy",
    "acc_unfiltered": "accuracy",
}
FOLDER = ".eval_results"
FILE = "gpt2eval.yaml"


def hub_of(result: Result, include: Sequence[Path] = ()) -> Hub | None:
    """Return the Hub's data set of a result, or None.

    There is none for data that are not the complete published text, and for a task that has no
    data set on the Hub or is not known here.
    """
    if not is_complete(result):
        return None
    try:
        return load_task(result.full_name, include).source.hub
    except UsageError:  # a task of somebody else, or a text of one's own
        return None


def check_one_model(results: Sequence[Result]) -> None:
    """Raise UsageError if results are of several models; a model card describes one."""
    names = list(dict.fromkeys(result.model.name for result in results))
    if len(names) > 1:
        raise UsageError(
            f"a model card describes one model; the results have {len(names)}: "
            f"{', '.join(names[:5])}; expected the results of one"
        )


def model_index(
    results: Sequence[Result], name: str, include: Sequence[Path] = ()
) -> list[dict[str, Any]]:
    """Return the `model-index` of a model card: an entry per task, with its metrics.

    The signature and the interval of each number are arguments of its metric. Data that are not
    the complete published text are not named like a data set of the Hub.

    Args:
        results: The results of one model.
        name: The model's name in the index.
        include: Folders with tasks of your own.
    """
    from huggingface_hub.repocard_data import eval_results_to_model_index

    entries = [
        entry
        for result in results
        if (of_task := _eval_results(result, hub_of(result, include)))
        for entry in eval_results_to_model_index(visible(name), of_task)[0]["results"]
    ]
    if not entries:
        raise UsageError("no finite number for a model card; expected results with finite metrics")
    return [{"name": visible(name), "results": entries}]


def _eval_results(result: Result, hub: Hub | None) -> "list[EvalResult]":
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type=TASK_TYPE,
            task_name=TASK_NAME,
            dataset_type=hub.id if hub else visible(result.task),
            dataset_name=_dataset_name(result),
            dataset_config=hub.config if hub else None,
            dataset_split=hub.split if hub else None,
            dataset_revision=_commit(hub),
            metric_type=METRIC_TYPES[metric.name],
            metric_name=value_label(metric.name, metric.unit),
            metric_value=metric.value,
            metric_args=_arguments(result, metric),
        )
        for metric in _finite(result)
    ]


def _commit(hub: Hub | None) -> str | None:
    """Return the commit of a data set; None for a branch, which may move."""
    revision = hub and hub.revision
    return revision if revision and re.fullmatch(r"[0-9a-f]{40}", revision) else None


def _dataset_name(result: Result) -> str:
    """Return the title of a task, with what makes its data differ from the published ones."""
    name = f"{result.title} /{result.variant}" if result.variant else result.title
    if result.protocol.limit is not None:
        name += f" (first {result.protocol.limit} records or lines)"
    if not result.data.published:
        name += " (not known to be the published file)"
    return visible(name)


def _arguments(result: Result, metric: MetricValue) -> dict[str, Any]:
    arguments: dict[str, Any] = {"task": visible(result.full_name), "signature": metric.signature}
    if metric.interval and all(map(math.isfinite, metric.interval)):
        arguments["interval_95"] = list(metric.interval)
    return arguments


def _finite(result: Result) -> list[MetricValue]:
    """Return the metrics with a finite value; a notice names the others."""
    kept: list[MetricValue] = []
    for metric in result.metrics.values():
        if math.isfinite(metric.value):
            kept.append(metric)
        else:
            notify(f"{result.full_name} {metric.name}: {reason_of(metric.value)}; left out")
    return kept


def eval_results_file(
    results: Sequence[Result], dates: Sequence[str], include: Sequence[Path] = ()
) -> bytes:
    """Return the content of a file in `.eval_results/`: an entry per task and metric.

    The signature goes into `notes`. Only complete published data of a data set on the Hub can be
    named there; a notice names the results that are left out.

    Args:
        results: The results of one model.
        dates: When each result was measured, in ISO 8601; "" if that is unknown.
        include: Folders with tasks of your own.

    Raises:
        UsageError: No result can be named there.
    """
    from huggingface_hub import eval_result_entries_to_yaml
    from huggingface_hub.utils import yaml_dump

    entries: list[EvalResultEntry] = []
    for result, date in zip(results, dates, strict=True):
        hub = hub_of(result, include)
        if hub is None:
            notify(
                f"{result.full_name}: not the complete published text of a data set on the Hub; "
                f"left out of {FOLDER}"
            )
            continue
        entries += _entries(result, hub, date)
    if not entries:
        raise UsageError(
            f"no result for {FOLDER}; expected complete published data of a data set on the Hub"
        )
    return yaml_dump(eval_result_entries_to_yaml(entries), sort_keys=False, width=math.inf).encode()


def _entries(result: Result, hub: Hub, date: str) -> "list[EvalResultEntry]":
    from huggingface_hub import EvalResultEntry

    return [
        EvalResultEntry(
            dataset_id=hub.id,
            task_id=f"{result.full_name}:{metric.name}",
            value=metric.value,
            dataset_revision=_commit(hub),
            date=date or None,
            notes=_notes(metric),
        )
        for metric in _finite(result)
    ]


def _notes(metric: MetricValue) -> str:
    """Return the unit, the interval and the signature of a metric on one line."""
    parts = [value_label(metric.name, metric.unit)]
    if metric.interval:
        parts.append("95 % interval {:.6g} to {:.6g}".format(*metric.interval))
    return "; ".join([*parts, f"gpt2eval signature {metric.signature}"])
