"""Results as records of Every Eval Ever, version 0.3.0 of its schema.

https://github.com/evaleval/every_eval_ever. A record holds all results of one model that one
version of gpt2eval measured; its place is `data/gpt2eval/ORGANIZATION/MODEL/UUID.json`. The UUID
follows from the content, so equal results give an equal file.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args
from uuid import UUID

from gpt2eval.config.source_schema import Hub
from gpt2eval.errors import UsageError, unknown
from gpt2eval.files import write_atomic
from gpt2eval.metrics.result import MetricValue, Result
from gpt2eval.notices import notify
from gpt2eval.report.escape import visible
from gpt2eval.report.hub_results import METRIC_TYPES, hub_of
from gpt2eval.report.numbers import PERCENT, value_label
from gpt2eval.report.strict_json import dumps, reason_of
from gpt2eval.types import ModelIdentity

SCHEMA = "0.3.0"
LIBRARY = "gpt2eval"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
SERVER = "api:"
PER_RUN = ("attn", "gemm", "map", "batch")  # may differ between tasks; signatures have them
Relationship = Literal["first_party", "third_party", "collaborative", "other"]
SMALLEST = {"ppl": 1.0, "byte_ppl": 1.0}  # of a metric; 0 for the others


class Source(NamedTuple):
    """Who measured: the organization, and its relationship to the model."""

    organization: str = "unknown"
    relationship: str = "other"


def write_records(
    folder: Path,
    results: Sequence[Result],
    dates: Sequence[str],
    *,
    model_id: str | None = None,
    source: Source = Source(),
    include: Sequence[Path] = (),
) -> list[Path]:
    """Write a record per model and version of gpt2eval below a folder; return the files.

    Args:
        folder: The folder that holds, or will hold, `data/`.
        results: The results.
        dates: When each result was measured, in ISO 8601; "" if that is unknown.
        model_id: The model's id, such as `org/name`; by default its name if that is a Hub id.
        source: Who measured.
        include: Folders with tasks of your own.

    Raises:
        UsageError: A model has no id, the relationship is unknown, or no number is finite.
    """
    if source.relationship not in get_args(Relationship):
        raise unknown("relationship", source.relationship, get_args(Relationship))
    groups: dict[tuple[ModelIdentity, str], list[tuple[Result, str]]] = {}
    for result, date in zip(results, dates, strict=True):
        model = replace(result.model, **dict.fromkeys(PER_RUN, ""))
        groups.setdefault((model, result.version), []).append((result, date))
    if model_id and len({model.name for model, _ in groups}) > 1:
        raise UsageError(f"--model-id {model_id}: several models; expected the results of one")
    files: dict[Path, bytes] = {}
    for (model, version), dated in groups.items():
        name = _id(model, model_id)
        record = _record(name, model, version, dated, source, include)
        content = f"{dumps(record)}\n".encode()
        uuid = UUID(bytes=sha256(content).digest()[:16], version=4)
        files[folder / "data" / LIBRARY / Path(*name.split("/")) / f"{uuid}.json"] = content
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)
    return [*files]


def _id(model: ModelIdentity, stated: str | None) -> str:
    """Return a model's id as organization and name."""
    name = stated or ("" if model.label else model.name.removeprefix("hf:"))
    if not HUB_ID.fullmatch(name) or {".", ".."} & {*name.split("/")}:
        raise UsageError(
            f"{stated or model.name}: not the id of a model such as org/name; expected --model-id"
        )
    return name


def _record(
    name: str,
    model: ModelIdentity,
    version: str,
    dated: Sequence[tuple[Result, str]],
    source: Source,
    include: Sequence[Path],
) -> dict[str, Any]:
    entries = [
        _entry(result, metric, hub_of(result, include), _seconds(date))
        for result, date in dated
        for metric in result.metrics.values()
        if _is_finite(result, metric)
    ]
    if not entries:
        raise UsageError(f"{model.name}: no finite number; expected results with finite metrics")
    measured = max((_seconds(date) for _, date in dated), default="") or _now()
    return {
        "schema_version": SCHEMA,
        "evaluation_id": f"{LIBRARY}/{name}/{measured}",
        "evaluation_timestamp": measured,
        "retrieved_timestamp": measured,
        "source_metadata": {
            "source_name": LIBRARY,
            "source_type": "evaluation_run",
            "source_organization_name": source.organization,
            "evaluator_relationship": source.relationship,
        },
        "eval_library": {"name": LIBRARY, "version": version},
        "model_info": _model_info(name, model),
        "evaluation_results": entries,
    }


def _model_info(name: str, model: ModelIdentity) -> dict[str, Any]:
    is_served = model.name.startswith(SERVER)
    facts = {key: visible(value) for key, value in model.stated().items() if key != "name"}
    return {
        "name": visible(model.label or model.name),
        "id": name,
        "developer": name.partition("/")[0],
        "inference_engine": {"name": LIBRARY},
        "additional_details": {
            "deployment_type": "unknown" if is_served else "self_deployed",
            "model_availability": "unknown",
            **facts,
        },
    }


def _entry(result: Result, metric: MetricValue, hub: Hub | None, seconds: str) -> dict[str, Any]:
    """Return the entry of one number."""
    is_accuracy = metric.name in PERCENT
    kind = METRIC_TYPES[metric.name]
    entry = {
        "evaluation_result_id": f"{result.full_name}:{metric.name}",
        "evaluation_name": result.full_name,
        "source_data": _source_data(result, hub),
        "metric_config": {
            "evaluation_description": visible(result.title),
            "metric_id": kind,
            "metric_name": value_label(metric.name, metric.unit),
            "metric_kind": kind,
            "metric_unit": "percent" if is_accuracy else f"per {metric.unit}",
            "metric_parameters": {"unit": metric.unit, "units": metric.units},
            "lower_is_better": not is_accuracy,
            "score_type": "continuous",
            "min_score": SMALLEST.get(metric.name, 0.0),
            "max_score": 100.0 if is_accuracy else "Infinity",
        },
        "score_details": {
            "score": metric.value,
            "details": {
                "signature": metric.signature,
                "nats": repr(result.tally.nats),
                "tokens": str(result.tally.tokens),
                "nll_sha256": result.nll_sha256,
            },
            **_uncertainty(metric),
        },
    }
    return entry | ({"evaluation_timestamp": seconds} if seconds else {})


def _source_data(result: Result, hub: Hub | None) -> dict[str, Any]:
    details = {"sha256": result.data.sha256, "published": str(result.data.published).lower()}
    if result.protocol.limit is not None:
        details["limit"] = str(result.protocol.limit)
    name = visible(result.title)
    if hub is None:
        return {"dataset_name": name, "source_type": "other", "additional_details": details}
    if hub.config:
        details["config"] = hub.config
    return {
        "dataset_name": name,
        "source_type": "hf_dataset",
        "hf_repo": hub.id,
        "hf_split": hub.split,
        "samples_number": result.tally.records,
        "additional_details": details,
    }


def _uncertainty(metric: MetricValue) -> Mapping[str, Any]:
    if metric.interval is None or not all(map(math.isfinite, metric.interval)):
        return {}
    low, high = metric.interval
    of = f" over {metric.resampled}s" if metric.resampled else ""
    method = "Wilson score interval" if metric.name in PERCENT else f"studentized bootstrap{of}"
    interval = {"lower": low, "upper": high, "confidence_level": 0.95, "method": method}
    samples = {"num_samples": metric.resampled_units} if metric.resampled_units else {}
    return {"uncertainty": {"confidence_interval": interval, **samples}}


def _is_finite(result: Result, metric: MetricValue) -> bool:
    if math.isfinite(metric.value):
        return True
    notify(f"{result.full_name} {metric.name}: {reason_of(metric.value)}; left out")
    return False


def _seconds(date: str) -> str:
    """Return a time in ISO 8601 as seconds since 1970, the schema's form; "" without one."""
    return f"{datetime.fromisoformat(date).timestamp():.0f}" if date else ""


def _now() -> str:
    return f"{datetime.now(UTC).timestamp():.0f}"
