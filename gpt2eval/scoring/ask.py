"""Ask a backend about one batch, and name the record that does not fit into memory."""

from collections.abc import Callable, Sequence

import numpy as np

from gpt2eval.errors import UsageError
from gpt2eval.identity import Launches
from gpt2eval.scoring import plan
from gpt2eval.scoring.plan import PlannedRequest
from gpt2eval.scoring.sheet import check_finite
from gpt2eval.types import Encoded, Filter, FindsBestWords, Ids, Model, Request, TokenScores


def scores(
    model: Model, batch: Sequence[PlannedRequest], task: str, encoded: Sequence[Encoded]
) -> Callable[[], TokenScores]:
    """Start a batch of `task`, whose requests refer to passages in `encoded`.

    The returned function waits for the scores. It raises UsageError if a record does not fit into
    memory or a score is not finite.
    """
    wait = _launched(model, [item.request for item in batch])

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
    """Start a batch, or leave all of it to the returned function; so is any exception.

    The batch before may still fail, and its error comes first.
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


def is_best_word(
    model: Model,
    batch: Sequence[PlannedRequest],
    task: str,
    encoded: Sequence[Encoded],
    words: Filter,
) -> np.ndarray:
    """Return for each request whether its answer is the best word outside the stop-word list.

    The plain greedy prediction does not matter: the best word may begin with a token that is not
    the most likely one. An answer of more tokens than the filter's depth deepens its own search, so
    that it can be found.

    Raises UsageError if the search does not fit into memory.
    """
    passages = [encoded[item.targets[0].passage].passage for item in batch]
    answers = [p.text[p.parts[0].start : p.parts[-1].end].strip() for p in passages]
    is_right = np.zeros(len(batch), np.bool_)
    # The search never returns a word in the list, so such an answer needs no search.
    open_ = [i for i, answer in enumerate(answers) if answer.lower() not in words.banned]
    depths = {i: max(words.depth, len(batch[i].request.branches[0])) for i in open_}
    for depth in sorted({*depths.values()}):
        alike = [i for i in open_ if depths[i] == depth]
        best = _best_words(model, [batch[i] for i in alike], task, encoded, words, depth)
        is_right[alike] = [word == answers[i] for i, word in zip(alike, best, strict=True)]
    return is_right


def _best_words(
    model: Model,
    batch: Sequence[PlannedRequest],
    task: str,
    encoded: Sequence[Encoded],
    words: Filter,
    depth: int,
) -> list[str]:
    """Return the best word after each request's prefix; "" from a backend that finds none."""
    if not isinstance(model, FindsBestWords):
        return [""] * len(batch)
    prefixes = [item.request.prefix for item in batch]
    try:
        return model.best_words(prefixes, words.banned, words.width, depth)
    except MemoryError as error:
        item = _too_large(batch, error)
        raise UsageError(
            f"{_place(item, task, encoded)} do not fit into memory in the search for the best "
            "word; expected a smaller --context, or a variant without a stop-word filter"
        ) from None


def _too_large(batch: Sequence[PlannedRequest], error: MemoryError) -> PlannedRequest:
    """Return the request that does not fit.

    A backend raises MemoryError(request). The word search may have cut its prefix on the left.
    """
    request = error.args[0] if error.args else None
    if isinstance(request, Request):
        for item in batch:
            if _ends_with(item.request.prefix, request.prefix):
                return item
    return batch[0]


def _ends_with(prefix: Ids, end: Ids) -> bool:
    return len(end) <= len(prefix) and np.array_equal(prefix[len(prefix) - len(end) :], end)


def _place(item: PlannedRequest, task: str, encoded: Sequence[Encoded]) -> str:
    record = encoded[item.targets[0].passage].passage.record
    return f"task {task}, record {record}: its {plan.tokens_fed(item.request)} tokens"
