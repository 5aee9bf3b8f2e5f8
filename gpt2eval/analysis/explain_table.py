"""Render explained protocols as a Markdown table with the changes below it."""

from collections.abc import Sequence

from tabulate import tabulate

from gpt2eval.analysis.explain import SETTING_GROUPS, ExplainedProtocol


def render(rows: Sequence[ExplainedProtocol]) -> str:
    """Return a table with one row per protocol and one column per group of settings.

    A group's column holds the nats per unit that it adds. The lines below the table name every
    change, and the protocols that are omitted.
    """
    changed_groups = {step.group for row in rows for step in row.steps}
    groups = [group for group in SETTING_GROUPS if group in changed_groups]
    table = tabulate(
        [_cells(row, groups) for row in rows if not row.reason_omitted],
        ["protocol", "PPL", "per", "nats", *groups],
        "pipe",
        disable_numparse=True,
    )
    sums = f"nats = nats of {rows[0].name} plus the changes, left to right; PPL = exp(nats)"
    changes = [_changes(row) for row in rows if row.steps]
    omitted = [f"{row.name}: omitted: {row.reason_omitted}" for row in rows if row.reason_omitted]
    return "\n".join([table, "", sums, *changes, *omitted])


def _cells(row: ExplainedProtocol, groups: Sequence[str]) -> list[str]:
    nats_by_group = {step.group: f"{step.nats:+.6f}" for step in row.steps}
    return [
        row.name,
        f"{row.ppl:.4f}",
        f"{row.unit}@{row.units}",
        f"{row.nats:.6f}",
        *(nats_by_group.get(group, "") for group in groups),
    ]


def _changes(row: ExplainedProtocol) -> str:
    steps = [f"{step.group} {step.before} -> {step.after} ({step.nats:+.6f})" for step in row.steps]
    return f"{row.name}: {'; '.join(steps)}"
