"""A number against the published one: target, difference, tolerance, verdict; and the reason,
where one is known.
"""

from typing import NamedTuple

from gpt2eval.config.schema import Suite
from gpt2eval.metrics.result import MetricValue, Result


class Verdict(NamedTuple):
    """`within`, `outside` or `no target`; the other entries are None without a target."""

    verdict: str
    target: float | None = None
    difference: float | None = None
    tolerance: float | None = None
    reason: str = ""


def judged(result: Result, measured: MetricValue, suite: Suite) -> Verdict:
    """A number of a model that is one of the published table's against its figure there.

    |value - target| <= tolerance is `within`; a metric's tolerance is absolute or a share of
    the target. There is no
    target where nothing is published, for data that are not the published ones, and for a part
    of them. The tolerances
    and known reasons are the suite's.
    """
    name = measured.name
    value = measured.value
    figure = result.figure(name, result.row)
    allowed = next(
        (tolerance for metric, tolerance in suite.tolerances.items() if metric == name), None
    )
    if figure is None or allowed is None or not result.data.published or result.protocol.limit:
        return Verdict("no target")
    target = figure[0]
    tolerance = (allowed.absolute or 0.0) + (allowed.relative or 0.0) * target
    within = abs(value - target) <= tolerance
    known = [
        k.reason
        for k in suite.known
        if (k.task, k.metric, k.row) == (result.task, name, result.row)
    ]
    return Verdict(
        "within" if within else "outside",
        target,
        value - target,
        tolerance,
        known[0] if known and not within else "",
    )
