"""Ask a backend about batches, and name the record that does not fit into memory."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from gpt2eval.config.schema import Filter
from gpt2eval.errors import UsageError
from gpt2eval.identity import FindsTerminatedWords, Launches
from gpt2eval.scoring import plan
from gpt2eval.scoring.plan import PlannedRequest
from gpt2eval.scoring.sheet import check_finite
from gpt2eval.types import (
    Encoded,
    FindsBestWords,
    Model,
    Request,
    ScoresWordStarts,
    TokenScores,
    WordRequest,
)

# Scores batches, and decides whether each answer is the best word.
Search = Callable[[Sequence[Sequence[WordRequest]]], list[TokenScores]]


def scores(
    model: Model,
    batch: Sequence[PlannedRequest],
    task: str,
    encoded: Sequence[Encoded],
    *,
    starts: bool = False,
) -> Callable[[], TokenScores]:
    """Start a batch of `task`, whose requests refer to passages in `encoded`.

    The returned function waits for the scores, and with `starts` for those of word starts. It
    raises UsageError if a record does not fit into memory or a score is not finite.
    """
    requests = [item.request for item in batch]
    if starts and isinstance(model, ScoresWordStarts):
        wait = partial(model.score_starts, requests)
    else:
        wait = _launched(model, requests)

    def checked() -> TokenScores:
        try:
            result = wait()
        except MemoryError as error:
            item = _too_large(batch, error)
            raise UsageError(
                f"{_place(item, task, encoded)} do not fit into memory; "
                "expected a smaller --context"
            ) from None
        check_finite(batch, result, encoded)
        return result

    return checked


def _launched(model: Model, batch: Sequence[Request]) -> Callable[[], TokenScores]:
    """Start a batch if the backend can; otherwise the returned function computes it.

    An exception at the start is raised by the returned function, because the batch before may
    still fail, and its error comes first.
    """
    if not isinstance(model, Launches):
        return lambda: model.score(batch)
    try:
        return model.launch(batch)
    except Exception as error:
        failure = error

    def fail() -> TokenScores:
        raise failure

    return fail


def search(model: Model, words: Filter | None) -> Search | None:
    """Return the model's search for the best word by a rule; None without a rule or a search."""
    if words is None:
        return None
    if words.end is not None and isinstance(model, FindsTerminatedWords):
        return partial(model.score_terminated, end=words.end)
    if words.end is None and isinstance(model, FindsBestWords):
        return partial(model.score_words, banned=words.banned)
    return None


def word_scores(
    search: Search,
    batches: Sequence[Sequence[PlannedRequest]],
    task: str,
    encoded: Sequence[Encoded],
) -> list[TokenScores]:
    """Return the scores of each batch, and whether each answer is the best word.

    The plain greedy prediction does not matter: the best word may begin with a token that is not
    the most likely one. Raises UsageError as `scores` does.
    """
    asked = [[WordRequest(item.request, _answer(item, encoded)) for item in b] for b in batches]
    try:
        results = search(asked)
    except MemoryError as error:
        item = _too_large([item for batch in batches for item in batch], error)
        raise UsageError(
            f"{_place(item, task, encoded)} do not fit into memory with the search for the best "
            "word; expected a smaller --context, or a variant without a stop-word filter"
        ) from None
    for batch, result in zip(batches, results, strict=True):
        check_finite(batch, result, encoded)
    return results


def _answer(item: PlannedRequest, encoded: Sequence[Encoded]) -> str:
    passage = encoded[item.targets[0].passage].passage
    return passage.text[passage.parts[0].start : passage.parts[-1].end].strip()


def _too_large(batch: Sequence[PlannedRequest], error: MemoryError) -> PlannedRequest:
    """Return the request that does not fit. A backend raises MemoryError(request)."""
    request = error.args[0] if error.args else None
    if isinstance(request, Request):
        for item in batch:
            if np.array_equal(item.request.prefix, request.prefix):
                return item
    return batch[0]


def _place(item: PlannedRequest, task: str, encoded: Sequence[Encoded]) -> str:
    record = encoded[item.targets[0].passage].passage.record
    return f"task {task}, record {record}: its {plan.tokens_fed(item.request)} tokens"
