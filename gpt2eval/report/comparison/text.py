"""A comparison in any format: for people with the two signatures below, and for programs."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from tabulate import tabulate

from gpt2eval.report.cells import Cells
from gpt2eval.report.comparison.duels import Contest, Duel
from gpt2eval.report.comparison.facts import csv_text, json_text
from gpt2eval.report.comparison.rows import columns_of, duel_rows, rank_rows
from gpt2eval.report.escape import latex, markdown_cell, visible
from gpt2eval.report.labels import RowName
from gpt2eval.report.latex import latex_table
from gpt2eval.report.marks import marked
from gpt2eval.report.render import check_format
from gpt2eval.report.rows import Row, with_intervals
from gpt2eval.report.signature_lines import abbreviated, full_lines

Groups = Sequence[Sequence[str]]
FORMATS = ("terminal", "markdown", "csv", "latex", "json")
AGREEMENT = (
    "correlation: of the log-probabilities of all tokens; mean |Δp|: how far a token's probability "
    "moves; top-1 agreement: tokens that both models, or neither, hold most likely"
)
RANKS = "Ranks that each model may have (share of records that it wins)"


class _Table(NamedTuple):
    """A table: its heading, its rows, its columns in groups, and the title of its labels."""

    heading: str
    rows: Sequence[Row]
    groups: Groups
    first: str


def render(
    contest: Contest,
    form: str = "markdown",
    *,
    signatures: bool = False,
    width: int | None = None,
) -> str:
    """Return a comparison as text.

    Args:
        contest: The comparison.
        form: `terminal`, `markdown`, `csv`, `latex` or `json`. csv and json have full model names
            and full precision; csv has a row per duel.
        signatures: Makes `terminal` print every signature in full.
        width: Width of `terminal` in characters; by default that of the terminal.

    Raises:
        UsageError: for an unknown format.
    """
    check_format(form, FORMATS)
    if form == "csv":
        return csv_text(contest)
    if form == "json":
        return json_text(contest)
    if form == "terminal":
        return _terminal(contest, signatures, width)
    is_latex = form == "latex"
    write = _latex if is_latex else _markdown
    blocks = [write(*table) for table in _tables(contest)]
    lines = [*notes(contest), "", *_signature_lines(contest)]
    below = [f"% {line}".rstrip() for line in lines] if is_latex else lines
    return "\n\n".join([*blocks, "\n".join(below)])


def heading_of(contest: Contest, model: int) -> str:
    """Return which two models a table compares."""
    labels = contest.labels
    return f"{labels[model]} against the baseline {labels[0]}"


def notes(contest: Contest) -> list[str]:
    """Return how to read the numbers, what is left out, and the footers of marks."""
    tests = sum(duel.p_adjusted is not None for duel in contest.duels)
    lines = [
        "change: of the metric, with its 95 % interval; p: of no difference; Holm: corrected for "
        f"{tests} test{'' if tests == 1 else 's'}; MDE80: smallest change detected with a power "
        "of 80 %"
    ]
    if any(duel.agreement for duel in contest.duels):
        lines.append(AGREEMENT)
    reasons: dict[str, list[str]] = {}
    for duel in contest.duels:
        if duel.why_no_interval:
            reasons.setdefault(duel.why_no_interval, []).append(duel.title)
    lines += [f"{', '.join(dict.fromkeys(t))}: {reason}" for reason, t in reasons.items()]
    lines += [f"left out: {line}" for line in contest.left_out]
    return [visible(line) for line in (*lines, *mark_notes(contest.duels))]


def mark_notes(duels: Iterable[Duel]) -> list[str]:
    """Return the footers of the marks beside the values of duels."""
    results = [cell.result for duel in duels for cell in (duel.baseline, duel.other)]
    unique = {(result.full_name, result.model.name): result for result in results}
    return marked([*unique.values()])


def _tables(contest: Contest) -> list[_Table]:
    tables: list[_Table] = []
    for model in range(1, len(contest.labels)):
        rows = duel_rows(duel for duel in contest.duels if duel.model == model)
        if rows:
            tables.append(_Table(heading_of(contest, model), rows, columns_of(rows), "task"))
    if contest.rankings:
        titles = [visible(ranking.title) for ranking in contest.rankings]
        tables.append(_Table(RANKS, rank_rows(contest), [titles], "model"))
    return tables


def _markdown(heading: str, rows: Sequence[Row], groups: Groups, first: str) -> str:
    return f"{markdown_cell(heading)}:\n\n{markdown_table(rows, groups, first)}"


def markdown_table(rows: Sequence[Row], groups: Groups, first: str) -> str:
    """Return rows as one Markdown table; `first` is the title of the column of labels."""
    columns = [title for group in groups for title in group]
    texts = [
        [row.label, *(row.values.get(column, "") for column in columns)]
        for row in map(with_intervals, rows)
    ]
    head, *cells = [[*map(markdown_cell, line)] for line in ([first, *columns], *texts)]
    align = ("left", *["right"] * len(columns))
    return tabulate(cells, head, "pipe", disable_numparse=True, colalign=align)


def _latex(heading: str, rows: Sequence[Row], groups: Groups, first: str) -> str:
    columns = [title for group in groups for title in group]
    table = latex_table([*map(with_intervals, rows)], columns, first=first)
    return f"\\par {latex(heading)}:\\par\n{table}"


def _terminal(contest: Contest, signatures: bool, width: int | None) -> str:
    """Return the tables for people; full signatures are not wrapped, so that they can be copied."""
    from gpt2eval.report import terminal

    blocks: list[str] = []
    for heading, rows, groups, first in _tables(contest):
        blocks.append(terminal.terminal_notes([f"{heading}:"], width))
        blocks += [terminal.terminal_table(rows, group, width, first=first) for group in groups]
    blocks.append(terminal.terminal_notes(notes(contest), width))
    if signatures:
        blocks.append("\n".join(_signature_lines(contest)))
    else:
        lines = abbreviated(*_cells(contest), _label(contest))
        blocks.append(terminal.terminal_signatures(lines, width))
    return "\n\n".join(blocks)


def _label(contest: Contest) -> Callable[[RowName], str]:
    return dict(zip(contest.models, contest.labels, strict=True)).__getitem__


def _signature_lines(contest: Contest) -> list[str]:
    return signature_lines(*_cells(contest), _label(contest))


def signature_lines(
    cells: Cells, titles: Sequence[str], label: Callable[[RowName], str]
) -> list[str]:
    """Return every signature in full, each after its task, metric, model and value."""
    lines = full_lines(cells, label)
    return [
        visible(f"{title}, {model}: {row[title]}")
        for title in titles
        for model, row in lines.items()
        if title in row
    ]


def _cells(contest: Contest) -> tuple[Cells, list[str]]:
    """Return the metrics that are compared, by model and title."""
    cells: Cells = {name: {} for name in contest.models}
    for duel in contest.duels:
        for model, cell in ((0, duel.baseline), (duel.model, duel.other)):
            cells[contest.models[model]][visible(duel.title)] = cell
    titles = dict.fromkeys(visible(duel.title) for duel in contest.duels)
    return {name: row for name, row in cells.items() if row}, [*titles]
