"""Signatures below a table: in full, or abbreviated to shared and differing fields."""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import NamedTuple

from gpt2eval.metrics.result import MetricValue
from gpt2eval.metrics.signature import MODEL, read, short, written
from gpt2eval.report.cells import Cells
from gpt2eval.report.escape import visible
from gpt2eval.report.labels import RowName
from gpt2eval.report.numbers import POWERS, value_text

OF_COLUMN = {"task", "data", "unit"}  # specific to a column, even if it is the only one
Signed = Mapping[str, Mapping[str, Mapping[str, str]]]  # model to column to field to value


class Line(NamedTuple):
    """A label, and the fields of a signature after it, separated by spaces."""

    label: str
    fields: str


def full_lines(
    cells: Cells, label: Callable[[RowName], str], *, in_short: bool = False
) -> dict[str, dict[str, str]]:
    """Return value, interval and signature in one line, by row and column.

    `in_short` puts the short form of the signature instead.
    """
    return {
        label(name): {title: _line(cell.metric, in_short) for title, cell in row.items()}
        for name, row in cells.items()
    }


def _line(metric: MetricValue, in_short: bool) -> str:
    interval = ""
    if metric.interval:
        low, high = metric.interval
        interval = f" [{value_text(low)}, {value_text(high)}]"
    value = value_text(metric.value) if not abs(metric.value) < POWERS else f"{metric.value:.4f}"
    signature = short(metric.signature) if in_short else metric.signature
    return f"{value}{interval} {signature}"


def abbreviated(
    cells: Cells, columns: Sequence[str], label: Callable[[RowName], str]
) -> list[Line]:
    """Return a line per model with the fields that its columns share, then a line per column.

    A field that differs between models within a column is followed by the models it applies to.
    """
    fields = {
        label(name): {title: read(cell.metric.signature) for title, cell in row.items()}
        for name, row in cells.items()
    }
    shared = _model_keys(fields)
    lines = [Line(model, _model_fields(row.values(), shared)) for model, row in fields.items()]
    for title in columns:
        by_model = {model: row[title] for model, row in fields.items() if title in row}
        lines.append(Line(title, _column_fields(by_model, shared)))
    return lines


def _model_keys(fields: Signed) -> set[str]:
    """Return the fields that have one value per model, such as its name, dtype and context.

    A field that some columns lack, such as the stride, counts if it differs between models.
    """
    signatures = [signature for row in fields.values() for signature in row.values()]
    keys = {key for signature in signatures for key in signature} - OF_COLUMN
    has_one_column = all(len(row) == 1 for row in fields.values())
    shared: set[str] = set()
    for key in keys:
        values = [_values(row.values(), key) for row in fields.values()]
        if any(len(of_model) > 1 for of_model in values):
            continue
        differs = len(set().union(*values)) > 1
        is_everywhere = all(key in signature for signature in signatures)
        if key in MODEL or differs or (is_everywhere and not has_one_column):
            shared.add(key)
    return shared


def _values(signatures: Iterable[Mapping[str, str]], key: str) -> set[str]:
    return {signature[key] for signature in signatures if key in signature}


def _model_fields(signatures: Iterable[Mapping[str, str]], shared: Set[str]) -> str:
    merged: dict[str, str] = {}
    for signature in signatures:
        merged |= signature
    return " ".join(_field(key, merged[key]) for key in _ordered([merged]) if key in shared)


def _column_fields(by_model: Mapping[str, Mapping[str, str]], shared: Set[str]) -> str:
    """Return a column's fields; one that differs between models appears once for each value."""
    parts: list[str] = []
    for key in _ordered(by_model.values()):
        if key in shared:
            continue
        models: dict[str | None, list[str]] = {}
        for model, signature in by_model.items():
            models.setdefault(signature.get(key), []).append(model)
        for value, names in models.items():
            if value is not None:
                note = f" ({', '.join(names)})" if len(models) > 1 else ""
                parts.append(_field(key, value) + note)
    return " ".join(parts)


def _ordered(signatures: Iterable[Mapping[str, str]]) -> list[str]:
    """Return all keys; those that name the model come last, as in a signature."""
    keys = dict.fromkeys(key for signature in signatures for key in signature)
    return sorted(keys, key=lambda key: key in MODEL)


def _field(key: str, value: str) -> str:
    return visible(written({key: value}))
