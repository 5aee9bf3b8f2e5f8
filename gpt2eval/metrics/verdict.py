"""Compare a number with the published one. Tolerances and known reasons come from the suite."""

from collections.abc import Mapping
from typing import NamedTuple

from gpt2eval.config.suite_schema import Suite
from gpt2eval.metrics.result import MetricValue, Result


class Verdict(NamedTuple):
    """A verdict: `within`, `outside` or `no target`; the numbers are None without a target."""

    verdict: str
    target: float | None = None
    difference: float | None = None
    tolerance: float | None = None
    reason: str = ""


def is_limited(result: Result) -> bool:
    """Return whether a result covers only the first records or lines of its data."""
    return result.protocol.limit is not None


def is_complete(result: Result) -> bool:
    """Return whether a result covers the complete published text.

    Only such a result is compared with published figures.
    """
    return result.data.published and not is_limited(result)


def why_limited(fields: Mapping[str, str]) -> str:
    """Return that a signature's number is limited, or "" if it covers complete data.

    >>> why_limited({"task": "ptb", "data": "dd65dff3", "limit": "20"})
    'limited to the first 20 records or lines'
    """
    limit = fields.get("limit", "")
    return f"limited to the first {limit} records or lines" if limit else ""


def judge(result: Result, measured: MetricValue, suite: Suite) -> Verdict:
    """Compare a metric with the published figure of the same model.

    The verdict is `within` if |value - target| <= tolerance, where tolerance = absolute + relative
    * target. There is no target if no figure or tolerance exists, or if the data are not the
    complete published text.
    """
    name = measured.name
    value = measured.value
    figure = result.figure(name, result.row)
    allowed = next(
        (tolerance for metric, tolerance in suite.tolerances.items() if metric == name), None
    )
    if figure is None or allowed is None or not is_complete(result):
        return Verdict("no target")
    target = figure[0]
    tolerance = allowed.about(target)
    within = abs(value - target) <= tolerance
    known = [
        k.reason
        for k in suite.known
        if (k.task, k.metric, k.row, k.figure) == (result.task, name, result.row, target)
    ]
    return Verdict(
        "within" if within else "outside",
        target,
        value - target,
        tolerance,
        known[0] if known and not within else "",
    )
