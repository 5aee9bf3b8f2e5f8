"""Judge a model by a baseline: whether a metric became worse by more than a limit.

A limit is compared with the 95 % interval of the difference, record by record, so that a small set
of records neither hides a regression nor invents one.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gpt2eval.errors import UsageError, unknown
from gpt2eval.metrics.metrics import ACCURACIES, count
from gpt2eval.metrics.paired import PairedDifference
from gpt2eval.report.comparison.entrants import Entrant
from gpt2eval.report.comparison.pairs import (
    Tallied,
    check_metrics,
    check_pair,
    compared_metrics,
    difference,
    duel,
    why_incomparable,
)
from gpt2eval.report.comparison.scale import Limit, Limits, Scale
from gpt2eval.report.gate.checks import Check, Gate, Status, Worst

if TYPE_CHECKING:
    from gpt2eval.report.results import Results

UPDATE = "--update writes a new baseline"


def judge(
    results: "Results",
    baseline: Sequence[Tallied],
    limits: Limits,
    *,
    max_record: float | None = None,
    tasks: Sequence[str] = (),
    metrics: Sequence[str] = (),
) -> Gate:
    """Judge a model by a baseline.

    With the 95 % interval of the change for the worse, a metric is `within` its limit if the whole
    interval is at most the limit, `regressed` if all of it is above, and else `investigate`.

    Args:
        results: The results of the model.
        baseline: The results to compare with.
        limits: How much worse a metric may be.
        max_record: How many nats per unit the loss of a single record, or part of a text, may
            increase; by default any.
        tasks: Only these tasks; by default all of the baseline.
        metrics: Only these metrics; by default a task's first and its first accuracy.

    Raises:
        UsageError: A task of the baseline is missing, two results cannot be compared, or a metric
            has no limit.
    """
    if max_record is not None and not (math.isfinite(max_record) and max_record >= 0):
        raise UsageError(f"--max-record {max_record}: expected nats, 0 or more")
    entrant = Entrant.of(results)
    known = {entry.result.full_name: entry for entry in baseline}
    for task in tasks:
        if task not in known:
            raise unknown("task", task, known)
    chosen = [task for task in known if not tasks or task in tasks]
    if missing := [task for task in chosen if task not in entrant.tasks]:
        raise UsageError(
            f"{baseline[0].path}: has {', '.join(missing)}, which the results lack; expected "
            f"results of all its tasks (--tasks chooses some; {UPDATE})"
        )
    measured = {task: known[task].result.metrics.keys() for task in chosen}
    limits.check_tasks(measured)
    check_metrics(metrics, measured.values())
    checks: list[Check] = []
    for task in chosen:
        pair = known[task], entrant.measured(task)
        checks += [_check(*pair, metric, limits, max_record) for metric in _metrics(*pair, metrics)]
    return Gate(
        tuple(checks),
        baseline[0].result.model.name,
        entrant.model.name,
        tuple(task for task in entrant.tasks if task not in known),
    )


def _metrics(first: Tallied, second: Tallied, wanted: Sequence[str]) -> list[str]:
    """Return the metrics to judge, after checking that two results can be compared."""
    try:
        check_pair(first, second)
    except UsageError as error:
        raise UsageError(f"{error} ({UPDATE})") from None
    return compared_metrics(first.result, wanted)


def _check(
    first: Tallied, second: Tallied, metric: str, limits: Limits, max_record: float | None
) -> Check:
    task = first.result.full_name
    limit = limits.of(task, metric)
    if limit is None:
        raise UsageError(
            f"{task} {metric}: no limit; expected one in --max, such as {task}=2%, or other "
            "--metrics"
        )
    found = _difference(first, second, metric)
    worst = None if metric in ACCURACIES else _worst(first, second, metric)
    status, reason = _status(found, Scale(metric, found.first), limit)
    if worst and max_record is not None and worst.increase > max_record:
        status = "regressed"
        reason = f"a record's loss grew by more than {max_record:g} nats per unit"
    judged = duel(first, second, metric, found, status)
    if status == "investigate" and judged.why_no_interval:
        reason = judged.why_no_interval
    return Check(judged, limit, worst, reason)


def _difference(first: Tallied, second: Tallied, metric: str) -> PairedDifference:
    """Return the difference; one from a finite to an infinite loss has no statistics."""
    before, now = (side.result.tally.nats for side in (first, second))
    if metric not in ACCURACIES and math.isfinite(before) and math.isinf(now):
        rate = before / first.result.metrics[metric].units
        entries = len(first.parts)
        return PairedDifference(
            rate, now, now, None, None, None, 0, 0, entries, 0, entries, entries, False, None
        )
    if reason := why_incomparable(first, second, metric):
        raise UsageError(
            f"{first.result.full_name} {metric}: cannot be judged: {reason}; expected other "
            f"--metrics, or another baseline ({UPDATE})"
        )
    return difference(first, second, metric)


def _status(found: PairedDifference, scale: Scale, limit: Limit) -> tuple[Status, str]:
    """Return the status of a difference by its limit, and the reason if it is not `within`."""
    allowed = scale.difference(*limit)
    worse_by = found.difference if scale.lower_is_better else -found.difference
    if math.isinf(worse_by):
        return "regressed", "a record has a probability of 0"
    if found.ties == found.entries:
        return "within", ""
    if found.interval is None:
        return "investigate", "there is no interval"
    low, high = (
        found.interval if scale.lower_is_better else (-found.interval[1], -found.interval[0])
    )
    if high <= allowed:
        return "within", ""
    if low > allowed:
        return "regressed", f"worse by more than {limit}, the whole interval"
    return "investigate", f"the interval contains the limit of {limit}"


def _worst(first: Tallied, second: Tallied, metric: str) -> Worst:
    """Return the record whose nats per unit increased most."""
    unit = first.result.metrics[metric].unit
    units = np.array([max(count(tally, unit), 1) for tally in first.parts])
    one, other = (np.array([tally.nats for tally in side.parts]) for side in (first, second))
    increases = (other - one) / units
    number = int(np.argmax(increases))
    return Worst(number, float(increases[number]))
