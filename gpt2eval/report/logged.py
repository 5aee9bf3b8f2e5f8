"""What a tracker logs of a result: numbers by name, signatures, the step and the run."""

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from gpt2eval.metrics.result import Result
from gpt2eval.report.escape import visible
from gpt2eval.report.steps import run_of, step_of
from gpt2eval.types import ModelIdentity

PREFIX = "gpt2eval"
UNUSUAL = re.compile(r"[^\w\-. :/]")  # characters that MLflow refuses in names
WILDCARD_AND_REST = re.compile(r"[/@_.-]*\*.*")


class Logged(NamedTuple):
    """What is logged of one result: the numbers and the signatures by name, and the step."""

    numbers: Mapping[str, float]
    signatures: Mapping[str, str]
    step: int


def logged_of(result: Result, step: int | None = None) -> Logged:
    """Return what is logged of a result. A number that is not finite is left out."""
    numbers: dict[str, float] = {}
    signatures: dict[str, str] = {}
    for metric in result.metrics.values():
        name = UNUSUAL.sub("_", f"{PREFIX}/{result.full_name}/{metric.name}")
        low, high = metric.interval or (math.nan, math.nan)
        values = {name: metric.value, f"{name}/ci_low": low, f"{name}/ci_high": high}
        numbers |= {key: value for key, value in values.items() if math.isfinite(value)}
        signatures[name] = metric.signature
    stated = step if step is not None else step_of(result.model)
    return Logged(numbers, signatures, stated or 0)


def run_name(model: ModelIdentity) -> str:
    """Return the name of a model's run: checkpoints of one training run share it.

    >>> run_name(ModelIdentity("runs/a/checkpoint-500", "1", "2", "float32", "packed", "cpu"))
    'runs/a'
    """
    return visible(WILDCARD_AND_REST.sub("", run_of(model)) or model.name)
