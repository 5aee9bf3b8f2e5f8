"""The groups of a result as rows of a table for programs."""

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from gpt2eval.metrics.estimate import Estimate
from gpt2eval.metrics.groups import Groups
from gpt2eval.metrics.result import Result
from gpt2eval.report.steps import step_of
from gpt2eval.report.strict_json import finite
from gpt2eval.report.tidy import Row, missing
from gpt2eval.types import Tally

if TYPE_CHECKING:
    import pandas as pd

COUNTS = ("documents", "words", "lines", "bytes", "chars", "tokens")


def group_rows(groups: Groups, result: Result) -> list[Row]:
    """Return a row per group, then one of all documents together, then one of the groups' mean.

    `kind` is `group`, `micro` or `macro`. A macro average has no counts. A number that is not
    finite is missing; `reason` says why, and why a metric has no interval.
    """
    unit = result.primary.unit
    rows = [_row("group", group.name, group.tally, group.metrics, unit) for group in groups.rows]
    rows.append(_row("micro", "", result.tally, groups.micro, unit))
    rows.append(_row("macro", "", None, groups.macro, unit))
    metrics = [f"{name}{end}" for name in groups.micro for end in ("", "_low", "_high")]
    columns = [*dict.fromkeys([*rows[-2], *metrics])]
    columns = [*(name for name in columns if name != "reason"), "reason"]
    return [{column: row.get(column) for column in columns} for row in rows]


def _row(
    kind: str, name: str, tally: Tally | None, metrics: Mapping[str, Estimate], unit: str
) -> Row:
    numbers: dict[str, float | None] = {"nats": None, "bits": None}
    if tally is not None:
        numbers = {"nats": tally.nats, "bits": tally.nats / math.log(2)}
    why: list[str] = []
    for metric, estimate in metrics.items():
        low, high = estimate.interval or (None, None)
        numbers |= {metric: estimate.value, f"{metric}_low": low, f"{metric}_high": high}
        why.append(estimate.why_no_interval)
    reasons = dict.fromkeys([missing(numbers), *why])
    return {
        "kind": kind,
        "group": name,
        **(dict.fromkeys(COUNTS) if tally is None else _counts(tally)),
        "unit": unit,
        **{key: finite(number) for key, number in numbers.items()},
        "reason": "; ".join(reason for reason in reasons if reason),
    }


def _counts(tally: Tally) -> dict[str, int]:
    units = tally.units
    counts = (tally.records, units.words, units.lines, units.bytes, units.chars, tally.tokens)
    return dict(zip(COUNTS, counts, strict=True))


def group_frame(results: Iterable[Result]) -> "pd.DataFrame":
    """Return the groups of all results as a pandas table; it is empty if no result has groups."""
    import pandas as pd

    rows = [
        {
            "model": result.model.name,
            "step": step_of(result.model),
            "task": result.task,
            "variant": result.variant,
            "by": result.groups.by,
            **row,
        }
        for result in results
        if result.groups
        for row in group_rows(result.groups, result)
    ]
    frame = pd.DataFrame(rows)
    return frame.astype({name: "Int64" for name in ("step", *COUNTS) if name in frame})
