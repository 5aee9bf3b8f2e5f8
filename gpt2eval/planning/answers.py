"""Which rule decides whether an answer is right: a task's own, as far as the model can apply it."""

from collections.abc import Sequence
from pathlib import Path

from gpt2eval.config import loader
from gpt2eval.config.schema import Filter, Task
from gpt2eval.errors import UsageError
from gpt2eval.types import FindsBestWords, FindsTerminatedWords, Model


def rule(task: Task, model: Model, name: str, include: Sequence[Path]) -> Filter | None:
    """Return the rule for answers of a task; None if the plain greedy prediction counts.

    A model that cannot search for words is judged by its plain prediction, without a stop-word
    filter, and the signature says so.

    Raises:
        UsageError: The best word must end the text, and the model called `name` cannot search for
            such words.
    """
    words = loader.load_filter(task, include)
    if words is None or not words.is_terminated:
        return words if isinstance(model, FindsBestWords) else None
    if not isinstance(model, FindsTerminatedWords):
        raise UsageError(
            f"task {task.full_name}: model {name} does not search for words that end the text; "
            "expected a checkpoint whose tokenizer states the bytes of its tokens"
        )
    if model.end is None:
        raise UsageError(
            f"task {task.full_name}: the tokenizer of model {name} has no end-of-text token; "
            "expected one that defines its EOS token"
        )
    return words._replace(sha256=f"{words.sha256} {model.end}")
