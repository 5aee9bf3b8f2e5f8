"""The tidy table: one row per model, task and metric, and one row per document."""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from gpt2eval.metrics.metrics import by_record, measure
from gpt2eval.metrics.result import MetricValue, Result
from gpt2eval.types import Tally


def tidy(results: Iterable[Result]) -> pd.DataFrame:
    """A row per model, task and metric; `units` counts `unit`, `published` and `source` are those of the model's row."""
    return pd.DataFrame(
        [_tidy_row(result, metric) for result in results for metric in result.metrics.values()]
    )


def _tidy_row(result: Result, metric: MetricValue) -> Mapping[str, object]:
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
    """A row per document: its tokens, units and nats, its perplexity per token, and, with `bits`, its bits per byte.

    Where no token is scored, these two are left empty. The columns of counts and nats add up to the totals of the task.
    """
    return pd.DataFrame(
        [_document(n, tally, bits=bits) for n, tally in enumerate(by_record(parts))]
    )


def _document(number: int, tally: Tally, *, bits: bool) -> Mapping[str, object]:
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
