"""Tidy tables: one row per model, task and metric, and one row per document."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from gpt2eval.metrics.metrics import by_record, measure
from gpt2eval.metrics.result import MetricValue, Result
from gpt2eval.types import Tally

Row = Mapping[str, object]


def tidy(results: Iterable[Result]) -> pd.DataFrame:
    """Return a row per model, task and metric.

    `units` counts `unit`; `published` is the figure in the model's row of the published table,
    `source` its source.
    """
    return pd.DataFrame([row for result in results for row in tidy_rows(result)])


def tidy_rows(result: Result) -> list[Row]:
    """Return the rows of one result."""
    return [_tidy_row(result, metric) for metric in result.metrics.values()]


def to_csv(rows: Sequence[Row]) -> bytes:
    """Return rows as a CSV file with a header; None is an empty cell."""
    content = io.StringIO()
    writer = csv.DictWriter(content, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return content.getvalue().encode()


def _tidy_row(result: Result, metric: MetricValue) -> Row:
    tally = result.tally
    low, high = metric.interval or (None, None)
    published, source = result.figure(metric.name, result.row) or (None, "")
    return {
        "model": result.model.name,
        "task": result.task,
        "variant": result.variant,
        "metric": metric.name,
        "value": metric.value,
        "ci_low": low,
        "ci_high": high,
        "nats": tally.nats,
        "unit": metric.unit,
        "units": metric.units,
        "words": tally.units.words,
        "lines": tally.units.lines,
        "bytes": tally.units.bytes,
        "chars": tally.units.chars,
        "tokens": tally.tokens,
        "records": tally.records,
        "published": published,
        "source": source,
        "signature": metric.signature,
    }


def documents(parts: Sequence[Tally], *, bits: bool) -> pd.DataFrame:
    """Return a row per document: counts, nats, perplexity per token; with `bits`, bits per byte.

    Perplexity and bits are None where no token is scored. Counts and nats add up to the totals
    of the task.
    """
    return pd.DataFrame(
        [_document(n, tally, bits=bits) for n, tally in enumerate(by_record(parts))]
    )


def _document(number: int, tally: Tally, *, bits: bool) -> Row:
    return {
        "record": number,
        "tokens": tally.tokens,
        "words": tally.units.words,
        "bytes": tally.units.bytes,
        "chars": tally.units.chars,
        "nats": tally.nats,
        "ppl": measure("ppl", [tally], "token").value if tally.tokens else None,
        "bpb": measure("bpb", [tally], "byte").value if tally.tokens and bits else None,
    }
