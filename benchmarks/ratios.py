"""The measured rounds of each side of a benchmark, and ratios between them."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

OURS = "gpt2eval"
HF = "Hugging Face recipe"
LM_EVAL = "lm-evaluation-harness"
Round = Mapping[str, Any]  # a `Measured` of sides/timed.py, as JSON
Runs = Mapping[str, Mapping[str, Sequence[Round]]]  # by task and side, in order of the rounds


def paired(over: Sequence[Round], under: Sequence[Round], key: str) -> list[float]:
    """Return the ratio of a quantity, round by round."""
    return [a[key] / b[key] for a, b in zip(over, under, strict=True)]


def middle(values: Sequence[float], form: str) -> str:
    """Format the median, and the range if there are several values; "" if there are none."""
    if not values:
        return ""
    if len(values) == 1:
        return form.format(values[0])
    return (
        f"{form.format(median(values))} ({form.format(min(values))} to {form.format(max(values))})"
    )


def fastest(sides: Mapping[str, Sequence[Round]], tool: str, clock: str) -> str | None:
    """Return the fastest side of a tool, among the batch sizes with which it ran."""
    names = [name for name in sides if name.startswith(tool)]
    return min(names, key=lambda name: median(run[clock] for run in sides[name]), default=None)


def loglikelihood(runs: Sequence[Round]) -> float:
    """Return the total log-likelihood of a side in the last round."""
    return runs[-1]["score"][0]


def disagreement(sides: Mapping[str, Sequence[Round]]) -> float:
    """Return the largest relative difference between our total and lm-evaluation-harness's.

    Returns 0 without measurements of lm-evaluation-harness.
    """
    totals = [loglikelihood(runs) for name, runs in sides.items() if name.startswith(LM_EVAL)]
    return max((abs(loglikelihood(sides[OURS]) / total - 1) for total in totals), default=0.0)
