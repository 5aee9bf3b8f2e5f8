"""Results as tables: the tidy CSV, and models as rows beside the published figures. The only room with pandas."""

import json
from collections.abc import Mapping, Sequence
from itertools import count

import pandas as pd

from gpt2eval.config.schema import Suite
from gpt2eval.errors import UsageError
from gpt2eval.metrics.result import MetricValue, Result
from gpt2eval.metrics.signature import protocol_of
from gpt2eval.metrics.verdict import judged
from gpt2eval.report.render import check_format

BESIDE = {
    "acc_unfiltered": "{} ACC unfiltered"
}  # metrics that no column of the suite has, but are shown


def render(
    results: Sequence[Result], suite: Suite, form: str = "markdown", *, mixed: bool = False
) -> str:
    """The table: models as rows, the suite's columns in its order, then any others; the published rows below.

    Under a model of the published table stands its published row, the difference, the tolerance and the verdict; where
    no model is one of them, all published rows do.
    Markdown and LaTeX end with a signature line per number. Raises UsageError for an unknown format, and, unless
    `mixed`, for a column whose numbers were made by different protocols.
    """
    check_format(form)
    cells = _cells(results, suite)
    if not mixed:
        _check_one_protocol(cells)
    frame = _frame(cells, suite)
    if form == "json":
        return json.dumps(
            {"rows": frame.to_dict("records"), "signatures": _signatures(cells)},
            indent=1,
            ensure_ascii=False,
        )
    if form == "csv":
        return frame.to_csv(index=False).rstrip("\n")
    lines = [
        f"{column}, {label}: {line}"
        for label, of_model in _signatures(cells).items()
        for column, line in of_model.items()
    ]
    notes = _notes(results) + _reasons(cells, suite)
    if form == "latex":
        return "\n".join(
            [
                frame.to_latex(index=False, escape=True).rstrip("\n"),
                *(f"% {line}" for line in lines + notes),
            ]
        )
    return "\n".join(
        [
            frame.to_markdown(index=False, disable_numparse=True),
            "",
            *lines,
            *([""] if notes else []),
            *notes,
        ]
    )


Cells = dict[str, dict[str, tuple[Result, MetricValue]]]


def _cells(results: Sequence[Result], suite: Suite) -> Cells:
    """Row label to column title to what stands there; a later result replaces an earlier one of the same protocol."""
    titles = {(column.task, column.metric): column.title for column in suite.columns}
    cells: Cells = {}
    for result in results:
        label = _label(result, results)
        named = {name: _title(result, name, titles) for name in result.metrics}
        for measured in result.metrics.values():
            title = named[measured.name]
            if title or len(result.metrics) == 1 or not any(named.values()):
                title = title or f"{result.full_name} {measured.name}"
                cells.setdefault(_free(cells, label, title, measured), {})[title] = (
                    result,
                    measured,
                )
    return cells


def _title(result: Result, metric: str, titles: Mapping[tuple[str, str], str]) -> str:
    """The column of a metric: its own, or that of its task with the variant; "" where the suite has neither."""
    if own := titles.get((result.full_name, metric)):
        return own
    title = titles.get((result.task, metric)) or BESIDE.get(metric, "").format(result.title)
    return f"{title} /{result.variant}" if title and result.variant else title


def _free(cells: Cells, label: str, title: str, measured: MetricValue) -> str:
    """The row for a number: the model's own, or a numbered one if another protocol's number stands there."""
    rows = (label if n == 1 else f"{label} ({n})" for n in count(1))
    protocol = protocol_of(measured.signature)
    return next(
        r
        for r in rows
        if title not in cells.get(r, {}) or protocol_of(cells[r][title][1].signature) == protocol
    )


def _label(result: Result, results: Sequence[Result]) -> str:
    """The model's name, with its revision and dtype where the name alone stands for several."""
    name = result.model.name
    keys = ("revision", "dtype", "attn")
    if (
        len({tuple(getattr(r.model, k) for k in keys) for r in results if r.model.name == name})
        == 1
    ):
        return name
    model = result.model
    return f"{name}@{model.revision} {model.dtype} {model.attn}"


def _check_one_protocol(cells: Cells) -> None:
    first: dict[str, str] = {}
    for row in cells.values():
        for column, (_, measured) in row.items():
            protocol = protocol_of(measured.signature)
            if first.setdefault(column, protocol) != protocol:
                raise UsageError(
                    f"column {column}: made by two protocols, {first[column]} and {protocol}; expected one (--mixed shows them)"
                )


def _frame(cells: Cells, suite: Suite) -> pd.DataFrame:
    present = [column for row in cells.values() for column in row]
    ordered = [c.title for c in suite.columns if c.title in present]
    columns = ordered + [c for c in dict.fromkeys(present) if c not in ordered]
    rows: list[dict[str, str]] = []
    known = [row for row in (_paper_row(cells, label) for label in cells) if row]
    for label, row in cells.items():
        rows.append(
            {"model": label} | {c: _cell(row[c][1].value) if c in row else "" for c in columns}
        )
        if paper := _paper_row(cells, label):
            rows += _published(paper, cells, columns)
            rows += _verdicts(row, columns, suite)
    if not known:
        rows += (
            row for paper in ["SOTA", *suite.models] for row in _published(paper, cells, columns)
        )
    return pd.DataFrame(rows, columns=["model", *columns])


def _paper_row(cells: Cells, label: str) -> str:
    return next((result.row for result, _ in cells[label].values()), "")


def _published(paper: str, cells: Cells, columns: Sequence[str]) -> list[dict[str, str]]:
    """The published row of that name; none where it has no figure in any column."""
    row: dict[str, str] = {}
    for column in columns:
        result, measured = next(cells[label][column] for label in cells if column in cells[label])
        figure = result.figure(measured.name, paper)
        if figure:
            row[column] = max(f"{figure[0]:.2f}", f"{figure[0]:g}", key=len)
    return (
        [{"model": f"published {paper}"} | {column: row.get(column, "") for column in columns}]
        if row
        else []
    )


def _verdicts(
    row: Mapping[str, tuple[Result, MetricValue]], columns: Sequence[str], suite: Suite
) -> list[dict[str, str]]:
    """Difference from the published row, tolerance and verdict."""
    judgements = {column: judged(*cell, suite) for column, cell in row.items()}
    shown = {
        "difference": lambda v: "" if v.difference is None else f"{v.difference:+.2f}",
        "tolerance": lambda v: "" if v.tolerance is None else f"{v.tolerance:.2f}",
        "verdict": lambda v: v.verdict,
    }
    return [
        {"model": name} | {c: say(judgements[c]) if c in judgements else "" for c in columns}
        for name, say in shown.items()
    ]


def _cell(value: float) -> str:
    return f"{value:.2f}" if value < 1e5 else f"{value:.3g}"


def _signatures(cells: Cells) -> dict[str, dict[str, str]]:
    return {
        label: {column: _line(measured) for column, (_, measured) in row.items()}
        for label, row in cells.items()
    }


def _line(measured: MetricValue) -> str:
    interval = ""
    if measured.interval:
        low, high = measured.interval
        interval = f" [{_cell(low)}, {_cell(high)}]"
    return f"{measured.value:.4f}{interval} {measured.signature}"


def _reasons(cells: Cells, suite: Suite) -> list[str]:
    """Why a number is outside its tolerance, where that is known."""
    judgements = [
        (label, column, judged(*cell, suite))
        for label, row in cells.items()
        for column, cell in row.items()
    ]
    return [
        f"{column}, {label}: {found.verdict}: {found.reason}"
        for label, column, found in judgements
        if found.reason
    ]


def _notes(results: Sequence[Result]) -> list[str]:
    """What a reader must know that the numbers do not say."""
    other = sorted({f"{r.full_name} ({r.data.origin})" for r in results if not r.data.published})
    unscored = [
        f"{r.full_name}: {r.tally.unscored} tokens unscored" for r in results if r.tally.unscored
    ]
    plain = [
        f"{r.full_name}, {r.model.name}: the model finds no words, so its ACC is without the list of stop words"
        for r in results
        if r.protocol.filter == "none" and "acc_unfiltered" in r.metrics
    ]
    straddling = [
        f"{r.full_name}: {r.tally.straddling} tokens straddle the scored span"
        for r in results
        if r.tally.straddling
    ]
    data = (
        [
            f"! not known to be the published test data, so not comparable with the published rows: {', '.join(other)}"
        ]
        if other
        else []
    )
    return data + plain + unscored + straddling
