"""Signatures below a table: in full, or abbreviated to what columns share and where they differ."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from gpt2eval.metrics.result import MetricValue
from gpt2eval.metrics.signature import MODEL, read, written
from gpt2eval.report.cells import Cells
from gpt2eval.report.labels import RowName
from gpt2eval.report.numbers import value_text

OF_COLUMN = {"task", "data", "unit"}  # a column's own, even where it is the only one


class Line(NamedTuple):
    """A label, and the fields of a signature after it, separated by spaces."""

    label: str
    fields: str


def full_lines(cells: Cells, label: Callable[[RowName], str]) -> dict[str, dict[str, str]]:
    """Return value, interval and signature in one line, by row and column."""
    return {
        label(name): {title: _line(cell.metric) for title, cell in row.items()}
        for name, row in cells.items()
    }


def _line(metric: MetricValue) -> str:
    interval = ""
    if metric.interval:
        low, high = metric.interval
        interval = f" [{value_text(low)}, {value_text(high)}]"
    return f"{metric.value:.4f}{interval} {metric.signature}"


def abbreviated(
    cells: Cells, columns: Sequence[str], label: Callable[[RowName], str]
) -> list[Line]:
    """Return a line per model with what all its columns share, then a line per column with the rest.

    A column has one line where its rest is the same for every model, else one for each.
    """
    fields = {
        name: {title: read(cell.metric.signature) for title, cell in row.items()}
        for name, row in cells.items()
    }
    own = _column_keys(fields)
    lines = []
    for name, row in fields.items():
        first = next(iter(row.values()))
        lines.append(Line(label(name), _text(first, [key for key in first if key not in own])))
    for title in columns:
        rest = {
            label(name): _text(row[title], [key for key in row[title] if key in own])
            for name, row in fields.items()
            if title in row
        }
        if len(set(rest.values())) == 1:
            lines.append(Line(title, next(iter(rest.values()))))
        else:
            lines += [Line(f"{title}, {model}", text) for model, text in rest.items()]
    return lines


def _column_keys(fields: Mapping[RowName, Mapping[str, Mapping[str, str]]]) -> set[str]:
    """Return the fields that differ between the columns of some model."""
    keys = set(OF_COLUMN)
    for row in fields.values():
        names = {key for column in row.values() for key in column}
        keys |= {key for key in names if len({column.get(key) for column in row.values()}) > 1}
    single = all(len(row) == 1 for row in fields.values())
    if single:  # the model's line would hold everything; it keeps what says which model
        keys |= {
            key
            for row in fields.values()
            for column in row.values()
            for key in column
            if key not in MODEL
        }
    return keys


def _text(fields: Mapping[str, str], keys: Sequence[str]) -> str:
    return " ".join(written({key: fields[key]}) for key in keys)
