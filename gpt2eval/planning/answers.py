"""Which rule decides whether an answer is right: a task's own, as far as the model can apply it."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from gpt2eval.config import loader
from gpt2eval.config.schema import Filter, Task
from gpt2eval.errors import UsageError
from gpt2eval.identity import FindsTerminatedWords
from gpt2eval.planning.task_tokens import end_token
from gpt2eval.types import FindsBestWords, Model


def rule(task: Task, model: Model, name: str, include: Sequence[Path]) -> Filter | None:
    """Return the rule for answers of a task; None if the plain greedy prediction counts.

    A model that cannot search for words is judged by its plain prediction, without a stop-word
    filter, and the signature says so.

    Raises:
        UsageError: The best word must end the text, and the model called `name` cannot search for
            such words, or has no end-of-text token.
    """
    if task.filter != "terminated":
        return loader.load_filter(task, include) if isinstance(model, FindsBestWords) else None
    if not isinstance(model, FindsTerminatedWords):
        raise UsageError(
            f"task {task.full_name}: model {name} does not search for words that end the text; "
            "expected a checkpoint whose tokenizer states the bytes of its tokens"
        )
    end = end_token(model, f"task {task.full_name}: filter: terminated")
    # The second number stands for the rule: raise it when the rule changes.
    digest = sha256(f"terminated 1 {end}".encode()).hexdigest()
    return Filter(task.filter, frozenset(), digest, end)
