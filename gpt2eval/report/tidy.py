"""Tidy tables: one row per model, task and metric, and one row per document."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING

from gpt2eval.metrics.metrics import by_record, value
from gpt2eval.metrics.result import MetricValue, Result
from gpt2eval.metrics.verdict import is_limited
from gpt2eval.report.escape import csv_cell
from gpt2eval.report.steps import step_of
from gpt2eval.report.strict_json import finite, reason_of
from gpt2eval.types import Tally

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, object]
WHOLE = ("step", "limit")  # columns of whole numbers that may be empty


def tidy(results: Iterable[Result]) -> "pd.DataFrame":
    """Return a row per model, task and metric.

    `units` counts `unit`; `kept` is the share of the text's tokens that the protocol keeps, missing
    if it keeps all; `published` is the figure in the model's row of the published table, `source`
    its source. A number that is not finite is missing, and `reason` says why.
    """
    import pandas as pd

    frame = pd.DataFrame([_encodable(row) for result in results for row in tidy_rows(result)])
    return frame.astype({name: "Int64" for name in WHOLE if name in frame})


def _encodable(row: Row) -> Row:
    """Return a row that has a UTF-8 encoding; the path of a model may have none."""
    return {
        key: value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
        for key, value in row.items()
    }


def tidy_rows(result: Result) -> list[Row]:
    """Return the rows of one result."""
    return [tidy_row(result, metric) for metric in result.metrics.values()]


def to_csv(rows: Iterable[Row], columns: Sequence[str] = ()) -> bytes:
    """Return rows as a CSV file with a header, by default the first row's keys; None is empty.

    Numbers have full precision. Text that a spreadsheet would run as a formula follows a `'`.
    """
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    remaining = iter(rows)
    first = [*islice(remaining, 1)]
    columns = columns or [name for row in first for name in row]
    writer.writerow(map(csv_cell, columns))
    for row in chain(first, remaining):
        writer.writerow([csv_cell(finite(row[column])) for column in columns])
    return content.getvalue().encode()


def tidy_row(result: Result, metric: MetricValue) -> Row:
    """Return the row of one number."""
    tally = result.tally
    low, high = metric.interval or (None, None)
    published, source = (None, "")
    if not is_limited(result):  # no published figure stands beside a part of the data
        published, source = result.figure(metric.name, result.row) or (None, "")
    numbers = {
        "value": metric.value,
        "ci_low": low,
        "ci_high": high,
        "nats": tally.nats,
    }
    return {
        "model": result.model.name,
        "step": step_of(result.model),
        "task": result.task,
        "variant": result.variant,
        "metric": metric.name,
        **{name: finite(number) for name, number in numbers.items()},
        "unit": metric.unit,
        "units": metric.units,
        "words": tally.units.words,
        "lines": tally.units.lines,
        "bytes": tally.units.bytes,
        "chars": tally.units.chars,
        "tokens": tally.tokens,
        "records": tally.records,
        "limit": result.protocol.limit,
        "published_data": result.data.published,
        "start_loss": result.start_loss,
        "ties": result.tally.ties,
        "kept": result.kept and result.kept.share,
        "published": published,
        "source": source,
        "reason": missing(numbers),
        "signature": metric.signature,
    }


def documents(parts: Sequence[Tally], *, bits: bool) -> "pd.DataFrame":
    """Return `document_rows` as a pandas table."""
    import pandas as pd

    return pd.DataFrame([*document_rows(parts, bits=bits)])


def document_rows(
    parts: Sequence[Tally], *, bits: bool, groups: Sequence[str] | None = None
) -> Iterator[Row]:
    """Yield a row per document: counts, nats, perplexity per token; with `bits`, bits per byte.

    Perplexity and bits are None where no token is scored. A number that is not finite is missing,
    and `reason` says why. Counts and nats add up to the totals of the task. `groups` are the
    documents' groups, a column of their own.
    """
    tallies = by_record(parts)
    for number, (tally, group) in enumerate(
        zip(tallies, [""] * len(tallies) if groups is None else groups, strict=True)
    ):
        row = _document(number, tally, bits=bits)
        yield row if groups is None else {"record": number, "group": group, **row}


def _document(number: int, tally: Tally, *, bits: bool) -> Row:
    ppl = value("ppl", tally, "token") if tally.tokens else None
    bpb = value("bpb", tally, "byte") if tally.tokens and bits else None
    numbers = {"nats": tally.nats, "ppl": ppl, "bpb": bpb}
    return {
        "record": number,
        "tokens": tally.tokens,
        "words": tally.units.words,
        "bytes": tally.units.bytes,
        "chars": tally.units.chars,
        **{name: finite(value) for name, value in numbers.items()},
        "reason": missing(numbers),
    }


def missing(numbers: Mapping[str, object]) -> str:
    """Return why numbers are missing, such as `ppl infinite`."""
    reasons = {name: reason_of(number) for name, number in numbers.items()}
    return "; ".join(f"{name} {reason}" for name, reason in reasons.items() if reason)
