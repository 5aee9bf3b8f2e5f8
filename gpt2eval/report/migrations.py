"""Turn a result.json of an older format into the current one, one function per step.

A step reads one format and writes the next. Does not know files, and does not fill in counts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from gpt2eval.errors import UsageError, first_problem

FORMAT = 3
Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Signed0:
    """A metric of format 0."""

    metric: tuple[str, Any, Any, Any, Any, Any]
    signature: Any


@dataclass(frozen=True, slots=True)
class _Format0:
    """The keys of format 0 that the first step reads."""

    metrics: list[_Signed0]
    published: list[tuple[Any, Any, Any]]
    protocol: dict[str, Any]


def migrate(document: Document) -> Document:
    """Return a result in the current format; a document without a number has format 0.

    Raises UsageError for a newer format, and for a document that violates its stated format.
    """
    number = document.get("format", 0)
    if type(number) is not int or not 0 <= number <= FORMAT:
        raise UsageError(f"format {number!r:.20}; expected at most {FORMAT}, or a newer gpt2eval")
    for step in STEPS[int(number) :]:
        try:
            document = step(document)
        except ValidationError as error:
            reason = first_problem(error)
            raise UsageError(f"cannot be migrated from format {number}: {reason}") from None
    return document


def key_metrics_by_name(old: Document) -> Document:
    """Format 0 to 1: metrics are objects keyed by name, and published figures are objects.

    Format 0 lists a metric as `[name, value, low, high, unit, units]` beside its signature,
    published figures as `[source, metric, rows]`, and repeats the unit (always null) in the
    protocol.
    """
    checked = TypeAdapter(_Format0).validate_python(old)
    metrics = {}
    for entry in checked.metrics:
        name, value, low, high, unit, units = entry.metric
        metrics[name] = {
            "value": value,
            "interval": None if low is None else [low, high],
            "unit": unit,
            "units": units,
            "signature": entry.signature,
        }
    published = [
        {"source": source, "metric": metric, "rows": rows}
        for source, metric, rows in checked.published
    ]
    protocol = {key: value for key, value in checked.protocol.items() if key != "unit"}
    return {
        **old,
        "format": 1,
        "metrics": metrics,
        "published": published,
        "protocol": protocol,
    }


def count_ties(old: Document) -> Document:
    """Format 1 to 2: the tally counts ties, and a number that is not finite is null.

    Format 1 did not count ties, so their number is 0. It writes `Infinity`, which is not JSON;
    format 2 writes null and a reason beside it.
    """
    tally = old.get("tally")
    counted = {"ties": 0, **tally} if isinstance(tally, Mapping) else tally
    return {**old, "format": 2, "tally": counted}


def count_undecided(old: Document) -> Document:
    """Format 2 to 3: the tally counts searches for the best word that stopped at their limit.

    Format 2 had no such limit, so their number is 0.
    """
    tally = old.get("tally")
    counted = {"undecided": 0, **tally} if isinstance(tally, Mapping) else tally
    return {**old, "format": 3, "tally": counted}


STEPS: tuple[Callable[[Document], Document], ...] = (
    key_metrics_by_name,
    count_ties,
    count_undecided,
)
