"""Turn a result.json of an older format into the current one, one function per step.

A step reads one format and writes the next. Does not know files, and does not fill in counts.
"""

from collections.abc import Callable, Mapping
from typing import Any

from gpt2eval.errors import UsageError

FORMAT = 1
Document = Mapping[str, Any]


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
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise UsageError(f"cannot be migrated from format {number}: {reason:.100}") from None
    return document


def key_metrics_by_name(old: Document) -> Document:
    """Format 0 to 1: metrics are objects keyed by name, and published figures are objects.

    Format 0 lists a metric as `[name, value, low, high, unit, units]` beside its signature,
    published figures as `[source, metric, rows]`, and repeats the unit (always null) in the
    protocol.
    """
    metrics = {}
    for entry in old["metrics"]:
        name, value, low, high, unit, units = entry["metric"]
        metrics[name] = {
            "value": value,
            "interval": None if low is None else [low, high],
            "unit": unit,
            "units": units,
            "signature": entry["signature"],
        }
    published = [
        {"source": source, "metric": metric, "rows": rows}
        for source, metric, rows in old["published"]
    ]
    protocol = {key: value for key, value in old["protocol"].items() if key != "unit"}
    return {
        **old,
        "format": 1,
        "metrics": metrics,
        "published": published,
        "protocol": protocol,
    }


STEPS: tuple[Callable[[Document], Document], ...] = (key_metrics_by_name,)
