"""The forward passes that a task plans, with a tokenizer and no model."""

from collections.abc import Sequence
from functools import cache

from gpt2eval.config.loader import load_task
from gpt2eval.data.records import parse_corpus
from gpt2eval.models.tokenization.loaded import LoadedTokenizer
from gpt2eval.planning.task_plan import TaskPlan, plan_task
from gpt2eval.types import Encoding, Model, ModelIdentity, Request, TokenScores

END = 50256
Ids = list[int]
Window = tuple[Ids, int]  # its tokens, and how many of them, at its end, are scored


class TokensOnly:
    """A tokenizer with GPT-2's end-of-text token, without a model."""

    start: int | None = END

    def __init__(self, tokenizer: LoadedTokenizer, context: int) -> None:
        self.context = context
        self._encode = cache(tokenizer.tokens.encode)

    def encode(self, text: str) -> Encoding:
        return self._encode(text)

    def score(self, batch: Sequence[Request]) -> TokenScores:
        raise AssertionError("nothing is scored")

    def identity(self) -> ModelIdentity:
        return ModelIdentity("tokens", "1", "gpt2", "float32", "none", "cpu")


def planned(name: str, content: bytes, model: Model) -> list[Window]:
    """Return the forward passes of a task on a file, in the order of the text."""
    task = load_task(name)
    plan: TaskPlan = plan_task(model, task, parse_corpus(task, content, "file"))
    items = [item for chunk in plan.work.chunks for batch in chunk for item in batch]
    assert {item.weight for item in items} == {1.0}
    found = []
    for request, _, _ in sorted(items, key=lambda item: item.targets[0]):
        (branch,) = request.branches
        found.append(([*request.prefix.tolist(), *branch.tolist()], len(branch)))
    return found


def scored(windows: Sequence[Window]) -> int:
    return sum(count for _, count in windows)
