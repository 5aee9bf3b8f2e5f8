"""The text of `gpt2eval run --dry-run`: a table of tasks, and notes on memory, disk and time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gpt2eval.cli.amounts import amount, duration
from gpt2eval.cli.output import print_styled

if TYPE_CHECKING:
    from gpt2eval.analysis.dry_run import PlannedTask, RunPlan

TOTAL = "total"


def print_plans(plans: "Sequence[RunPlan]", form: str | None) -> None:
    """Print plans in a format of `gpt2eval table`."""
    from gpt2eval.report.table import default_format

    form = form or default_format()
    text = plan_text(plans, form)
    if form == "terminal":
        print_styled(text)
    else:
        print(text)


def plan_text(plans: "Sequence[RunPlan]", form: str) -> str:
    """Return plans in a format of `gpt2eval table`; json and csv hold plain numbers.

    Raises:
        UsageError: The format is unknown.
    """
    from gpt2eval.report.render import check_format, render_rows
    from gpt2eval.report.table import FORMATS

    check_format(form, FORMATS)
    if form in ("csv", "json"):
        return render_rows([row for plan in plans for row in _plain_rows(plan)], form)
    return "\n\n".join(_plan_text(plan, form) for plan in plans)


def _plan_text(plan: "RunPlan", form: str) -> str:
    """Return one plan for people, with unseen characters of its names as escapes."""
    from gpt2eval.report.escape import visible_in
    from gpt2eval.report.render import render_rows
    from gpt2eval.report.rows import Row
    from gpt2eval.report.terminal import terminal_notes, terminal_table

    plan = visible_in(plan)
    rows = [_texts(row) for row in _plain_rows(plan)]
    if form != "terminal":
        return "\n\n".join([_title(plan), render_rows(rows, form), *_notes(plan)])
    columns = [title for title in rows[0] if title != "task"]
    *tasks, summed = rows
    cells = [Row(row["task"], "ours", row, {}, {}, {}) for row in tasks]
    cells.append(Row(TOTAL, "total", summed, {}, {}, {}))
    table = terminal_table(cells, columns, first="task")
    notes = terminal_notes(_notes(plan))
    return "\n\n".join([_title(plan), table, notes])


def _title(plan: "RunPlan") -> str:
    facts = [fact for fact in (plan.model.dtype, plan.model.shape) if fact not in ("", "none")]
    return f"{plan.model.name}: {', '.join([*facts, plan.model.device])}"


def _plain_rows(plan: "RunPlan") -> list[dict[str, Any]]:
    """Return a row per task and one for the total, all numbers plain."""
    rows = [_plain_row(plan.model.name, task) for task in plan.tasks]
    summed: dict[str, Any] = {"model": plan.model.name, "task": TOTAL}
    for key in [key for key in rows[0] if key not in summed]:
        values = [row[key] for row in rows]
        is_known = None not in values
        combine = max if key.startswith("memory_") else sum
        summed[key] = combine(values) if is_known else None
    return [*rows, summed]


def _plain_row(model: str, task: "PlannedTask") -> dict[str, Any]:
    row: dict[str, Any] = {
        "model": model,
        "task": task.task,
        "records": task.records,
        "tokens": task.tokens,
        "scored": task.scored,
        "chunks": task.chunks,
        "done": task.done,
        "missing": task.missing,
        "seconds": task.seconds,
        "journal_bytes": task.journal,
    }
    memory = task.memory
    for name in ("weights", "states", "logits"):
        row[f"memory_{name}_bytes"] = getattr(memory, name) if memory else None
    return row | {"flop": task.flop}


def _texts(row: dict[str, Any]) -> dict[str, str]:
    """Return the cells of a table for people."""
    texts = {
        "task": row["task"],
        "records": f"{row['records']:,}",
        "tokens fed": f"{row['tokens']:,}",
        "tokens scored": f"{row['scored']:,}",
        "chunks done": f"{row['done']:,}/{row['chunks']:,}",
        "chunks missing": f"{row['missing']:,}",
        "time": "?" if row["seconds"] is None else duration(row["seconds"]),
        "journal": amount(row["journal_bytes"], "B"),
    }
    if row["flop"] is not None:
        texts["FLOP"] = amount(row["flop"], "FLOP")
    return texts


def _notes(plan: "RunPlan") -> list[str]:
    if all(task.done == task.chunks for task in plan.tasks):
        return ["All chunks are done: the run only reads the journal."]
    if not any(task.missing for task in plan.tasks):
        return ["All chunks of this shard are done; other shards score the rest."]
    notes = []
    if plan.problem:
        notes.append(f"Time: not known; {plan.problem}.")
    else:
        notes.append(
            f"Time: of scoring alone, from a trial of {duration(plan.trial)}. Loading the model "
            "and reading the texts are not in it."
        )
    largest = [task.memory for task in plan.tasks if task.memory]
    if largest:
        states = max(memory.states for memory in largest)
        logits = max(memory.logits for memory in largest)
        notes.append(
            f"Memory: about {amount(largest[0].weights, 'B')} of weights, {amount(states, 'B')} of "
            f"states in a batch, {amount(logits, 'B')} of logits, and the libraries."
        )
    return notes
