"""The checks of a gate as text: for a terminal, as Markdown for a job's summary, and as JSON."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, get_args

from gpt2eval.report.cells import Cells
from gpt2eval.report.comparison.facts import fact
from gpt2eval.report.comparison.rows import columns_of, duel_rows, signed
from gpt2eval.report.comparison.text import mark_notes, markdown_table, signature_lines
from gpt2eval.report.escape import markdown_cell, visible
from gpt2eval.report.gate.checks import Check, Gate
from gpt2eval.report.labels import RowName
from gpt2eval.report.render import check_format
from gpt2eval.report.rows import Row
from gpt2eval.report.signature_lines import abbreviated
from gpt2eval.report.strict_json import dumps

GateFormat = Literal["terminal", "markdown", "json"]
LIMIT, WORST = "limit", "worst record"
GROUPS = (
    ("verdict", "change", LIMIT, "baseline", "value"),
    ("nats per unit", WORST, "n", "MDE80"),
)


def render_gate(
    gate: Gate, form: str = "markdown", *, signatures: bool = False, width: int | None = None
) -> str:
    """Return the checks as text; the first line states the status, such as `gate: within`.

    Args:
        gate: The checks.
        form: `terminal`, `markdown` or `json`; json has full precision.
        signatures: Makes `terminal` print every signature in full.
        width: Width of `terminal` in characters; by default that of the terminal.

    Raises:
        UsageError: for an unknown format.
    """
    check_format(form, get_args(GateFormat))
    if form == "json":
        return dumps(
            {
                "status": gate.status,
                "checks": [*map(_fact, gate.checks)],
                "not_judged": gate.not_judged,
            }
        )
    head = f"gate: {gate.status}"
    if form == "terminal":
        return _terminal(gate, head, signatures, width)
    table = markdown_table(*_table(gate), first="task")
    lines = "\n".join([*_notes(gate), "", *signature_lines(*_cells(gate), RowName.text)])
    return f"{head}\n\n{markdown_cell(_title(gate))}:\n\n{table}\n\n{lines}"


def summary(gate: Gate) -> str:
    """Return the checks as a section of a job's summary in Markdown, the signatures folded."""
    table = markdown_table(*_table(gate), first="task")
    notes = "\n".join(f"- {markdown_cell(line)}" for line in _notes(gate))
    signatures = "\n".join(signature_lines(*_cells(gate), RowName.text))
    head = f"### gpt2eval gate: {gate.status}\n\n{markdown_cell(_title(gate))}:"
    folded = f"<details><summary>Signatures</summary>\n\n```text\n{signatures}\n```\n\n</details>"
    return "\n\n".join([head, table, notes, folded]) + "\n\n"


def _terminal(gate: Gate, head: str, signatures: bool, width: int | None) -> str:
    from gpt2eval.report import terminal

    rows, groups = _table(gate)
    tables = [terminal.terminal_table(rows, group, width, first="task") for group in groups]
    if signatures:
        signed = "\n".join(signature_lines(*_cells(gate), RowName.text))
    else:
        signed = terminal.terminal_signatures(abbreviated(*_cells(gate), RowName.text), width)
    notes = terminal.terminal_notes(_notes(gate), width)
    title = terminal.terminal_notes([f"{_title(gate)}:"], width)
    return "\n\n".join([head, title, *tables, notes, signed])


def _cells(gate: Gate) -> tuple[Cells, list[str]]:
    """Return the metrics that are judged, by side and title."""
    duels = {visible(check.duel.title): check.duel for check in gate.checks}
    cells: Cells = {
        RowName("baseline"): {title: duel.baseline for title, duel in duels.items()},
        RowName("now"): {title: duel.other for title, duel in duels.items()},
    }
    return cells, [*duels]


def _title(gate: Gate) -> str:
    return visible(f"{gate.model} against the baseline {gate.baseline}")


def _table(gate: Gate) -> tuple[list[Row], list[list[str]]]:
    """Return the rows, and their columns in groups."""
    rows = duel_rows(check.duel for check in gate.checks)
    rows = [_with_limit(row, check) for row, check in zip(rows, gate.checks, strict=True)]
    return rows, columns_of(rows, GROUPS)


def _with_limit(row: Row, check: Check) -> Row:
    values = {**row.values, LIMIT: str(check.limit)}
    intervals = {**row.intervals}
    if check.worst:
        values[WORST] = signed(check.worst.increase, None)
        part = "part" if check.duel.is_stream else "record"
        intervals[WORST] = f"in {part} {check.worst.number}"
    return replace(row, values=values, intervals=intervals)


def _notes(gate: Gate) -> list[str]:
    worst = "worst record: the largest increase of a record's nats per unit"
    lines = [
        *(
            f"{check.duel.title}: {check.duel.verdict}: {check.reason}"
            for check in gate.checks
            if check.reason
        ),
        *(f"{task}: not in the baseline, not judged" for task in gate.not_judged),
        "change: of the metric, with its 95 % interval; MDE80: smallest change detected with a "
        "power of 80 %",
        *([worst] if any(check.worst for check in gate.checks) else []),
        *mark_notes(check.duel for check in gate.checks),
    ]
    return [*map(visible, lines)]


def _fact(check: Check) -> Mapping[str, object]:
    duel = check.duel
    names = (duel.baseline.result.model.name, duel.other.result.model.name)
    return {
        **fact(duel, *names),
        "reason": check.reason,
        "limit_of_change": check.limit.amount,
        "limit_unit": check.limit.unit,
        "worst_record": check.worst and check.worst.number,
        "worst_increase": check.worst and check.worst.increase,
    }
