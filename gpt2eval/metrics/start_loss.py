"""State what a model loses where a protocol leaves out its start token."""

from gpt2eval.config.schema import Task
from gpt2eval.metrics.protocol import token_name
from gpt2eval.notices import notify
from gpt2eval.scoring.execute import TaskWork
from gpt2eval.scoring.journal import Journal
from gpt2eval.scoring.start_check import LIMIT, StartCheck
from gpt2eval.scoring.windows import Window
from gpt2eval.types import Model


def start_loss(
    check: StartCheck,
    task: Task,
    model: Model,
    window: Window,
    work: TaskWork,
    journal: Journal | None,
) -> float | None:
    """Return the nats per token that a model loses without its start token, and notify of it.

    Returns None if the task's work leaves it out nowhere, or if the loss is at most `LIMIT`. The
    loss is journaled, so that a repeated run scores nothing.
    """
    if not check.is_left_out(window, work.chunks):
        return None
    known = journal.files.read_start_loss() if journal else None
    if known is not None:
        check.remember(known)
    loss = check.loss()
    if journal and known is None:
        journal.files.write_start_loss(loss)
    if loss <= LIMIT:
        return None
    notify(
        f"task {task.full_name}: the protocol leaves out {token_name(model, check.start)}, the "
        f"model's start token, before some inputs or all; on a short text the model loses "
        f"{loss:.2f} nats per token without it. Compare these numbers only within this protocol; "
        "a protocol with 'start: own' or 'start: eot' and regular windows keeps the token"
    )
    return loss
