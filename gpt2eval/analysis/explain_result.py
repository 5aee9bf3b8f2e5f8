"""The result of `explain`: protocols, the steps between them, and a Markdown table of both."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tabulate import tabulate

from gpt2eval.errors import unknown
from gpt2eval.report.escape import markdown_cell
from gpt2eval.report.numbers import share_text

# Groups of a task's settings, in the order in which they change. Every protocol on the way can be
# measured. `unit` comes before the groups that can leave tokens unscored, so that it is compared
# over the same tokens; `join` comes before `block`, `block` before `pack`, and `tail` before
# `draw` and `drop`, because each needs the one before it. Rows are read when they are joined:
# until then another protocol's detokenizer may need complete lines.
SETTING_GROUPS: Mapping[str, tuple[str, ...]] = {
    "text": ("source", "format", "encoding", "cut_last", "cut_whole", "expect"),
    "detokenizer": ("detokenizer", "lead"),
    "ask": ("ask", "normalize"),
    "join": ("join", "format", "expect"),
    "unit": ("unit",),
    "windows": ("context", "stride", "windows"),
    "block": ("block",),
    "start": ("start",),
    "specials": ("specials",),
    "word_ends": ("word_ends",),
    "pack": ("pack",),
    "tail": ("tail",),
    "draw": ("draw",),
    "drop": ("drop",),
    "mean": ("mean", "batch"),
}


class Step(NamedTuple):
    """A change of one group of settings, and the change in nats per unit that it causes."""

    group: str
    before: str
    after: str
    nats: float


class ExplainedProtocol(NamedTuple):
    """A protocol's perplexity, and the steps that lead to it from the first protocol.

    `nats` is ln(perplexity). `reason_omitted` is empty unless the protocol cannot be measured.
    `kept` is the share of the text's tokens that lie in some window.
    """

    name: str
    ppl: float
    unit: str
    units: int
    nats: float
    steps: tuple[Step, ...]
    reason_omitted: str = ""
    kept: float = 1.0


@dataclass(frozen=True, slots=True)
class Explanation:
    """The protocols of one task on one model, the task's own first.

    Iterates over the protocols and is indexed by position or name. `print` shows the table.

    Examples:
        ```python
        explanation = explain("gpt2", "wikitext103")
        print(explanation)
        explanation["lm_eval"].ppl
        ```
    """

    protocols: tuple[ExplainedProtocol, ...]

    def __iter__(self) -> Iterator[ExplainedProtocol]:
        return iter(self.protocols)

    def __len__(self) -> int:
        return len(self.protocols)

    def __getitem__(self, key: int | str) -> ExplainedProtocol:
        """Return a protocol by position, or by name with or without the task's name.

        Raises UsageError for an unknown name.
        """
        if isinstance(key, int):
            return self.protocols[key]
        for protocol in self.protocols:
            if key in (protocol.name, protocol.name.partition("/")[2]):
                return protocol
        raise unknown("protocol", key, [protocol.name for protocol in self.protocols])

    def __str__(self) -> str:
        """A table with a row per protocol; below it, every change and every omitted protocol."""
        changed_groups = {step.group for row in self.protocols for step in row.steps}
        groups = [group for group in SETTING_GROUPS if group in changed_groups]
        measured = [row for row in self.protocols if not row.reason_omitted]
        omitted = [row for row in self.protocols if row.reason_omitted]
        shares = ["kept"] if any(row.kept < 1 for row in measured) else []
        table = tabulate(
            [_cells(row, groups, with_kept=bool(shares)) for row in measured],
            ["protocol", "PPL", "per", "nats", *shares, *groups],
            "pipe",
            disable_numparse=True,
        )
        first = self.protocols[0].name
        sums = f"nats = nats of {first} plus the changes, left to right; PPL = exp(nats)"
        return "\n".join(
            [
                table,
                "",
                sums,
                *(_changes(row) for row in measured if row.steps),
                *(f"{row.name}: omitted: {row.reason_omitted}" for row in omitted),
            ]
        )


def _cells(row: ExplainedProtocol, groups: Sequence[str], *, with_kept: bool) -> list[str]:
    nats_by_group = {step.group: f"{step.nats:+.6f}" for step in row.steps}
    return [
        markdown_cell(row.name),
        f"{row.ppl:.4f}",
        f"{row.unit}@{row.units}",
        f"{row.nats:.6f}",
        *([share_text(row.kept)] if with_kept else []),
        *(nats_by_group.get(group, "") for group in groups),
    ]


def _changes(row: ExplainedProtocol) -> str:
    steps = [f"{step.group} {step.before} -> {step.after} ({step.nats:+.6f})" for step in row.steps]
    return f"{row.name}: {'; '.join(steps)}"
