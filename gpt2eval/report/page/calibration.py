"""How probable the answers are, and how often the model's guess is right.

LAMBADA: the journal keeps the probability of the published answer and whether the guess is right,
but not the probability of a wrong guess. So the page shows how often an answer of a given
probability is the model's guess. That is not a reliability diagram. CBT: all ten choices have a
probability, so the page shows a reliability diagram.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gpt2eval.metrics.intervals import wilson
from gpt2eval.report.page.sources import Group, Labelled
from gpt2eval.scoring.token_table import TokenTable

ANSWERS = ("last_word", "last_token", "after_last_blank")  # values of `ask` that score an answer
QUESTIONS = ("choices", "candidate")
# Finer where answers compete: above one half, no other word can be the guess.
ANSWER_EDGES = (0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 1)
QUESTION_EDGES = tuple(number / 10 for number in range(11))


class Outcomes(NamedTuple):
    """A probability and whether the guess was right, for each record."""

    probabilities: np.ndarray
    right: np.ndarray


def calibration_section(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Return the bins of every task that asks for an answer or a choice."""
    tasks: list[dict[str, Any]] = []
    for group in groups:
        if not group.sources:
            continue
        ask = group.sources[0].source.result.protocol.ask
        if ask not in (*ANSWERS, *QUESTIONS):
            continue
        is_question = ask in QUESTIONS
        edges = QUESTION_EDGES if is_question else ANSWER_EDGES
        models: list[dict[str, Any]] = []
        omitted: list[str] = []
        for one in group.sources:
            outcomes = question_outcomes(one) if is_question else answer_outcomes(one)
            if outcomes is None:
                omitted.append(one.label)
            else:
                models.append({"label": one.label, **_summary(outcomes, edges)})
        tasks.append(
            {
                "name": group.name,
                "title": group.title,
                "kind": "choice" if is_question else "answer",
                "filter": group.sources[0].source.result.protocol.filter or "none",
                "edges": edges,
                "models": models,
                "omitted": omitted,
            }
        )
    return tasks


def answer_outcomes(one: Labelled) -> Outcomes | None:
    """Return each answer's probability, the product over its tokens, and whether it is the guess.

    None if the records of the journal are not those of the token table.
    """
    tokens, measured = one.source.tokens, one.source.measured
    if tokens is None or measured is None:
        return None
    records = np.unique(tokens.record)
    if len(records) != len(measured.parts) or records[-1] != len(records) - 1:
        return None
    nats = np.bincount(tokens.record, weights=-tokens.logprob.astype(np.float64))
    right = np.array([part.correct > 0 for part in measured.parts])
    return Outcomes(np.exp(-nats), right)


def question_outcomes(one: Labelled) -> Outcomes | None:
    """Return each guess's probability among the choices, and whether it is right.

    A choice's probability is that of its text, divided by the sum over all choices. None if the
    protocol decides by another number, or if the decisions are not those of the result.
    """
    tokens, measured = one.source.tokens, one.source.measured
    if tokens is None or measured is None or one.source.result.protocol.norm is not None:
        return None
    outcomes = _best_choices(tokens)
    decided = sum(part.correct for part in measured.parts)
    return outcomes if int(outcomes.right.sum()) == decided else None


def _best_choices(tokens: TokenTable) -> Outcomes:
    records = int(tokens.record.max()) + 1
    choices = int(tokens.choice.max()) + 1
    cells = tokens.record.astype(np.int64) * choices + tokens.choice
    logprobs = np.full(records * choices, -np.inf)
    sums = np.bincount(cells, weights=tokens.logprob.astype(np.float64))
    present = np.unique(cells)
    logprobs[present] = sums[present]
    right = np.zeros(records * choices, np.bool_)
    right[cells[tokens.is_right]] = True
    table = logprobs.reshape(records, choices)
    best = table.max(axis=1, keepdims=True)
    shares = np.exp(table - best)
    # A tie for the best choice counts as wrong, as in the accuracy.
    is_single = (table == best).sum(axis=1) == 1
    guesses = table.argmax(axis=1)
    is_right = right.reshape(records, choices)[np.arange(records), guesses]
    return Outcomes(1 / shares.sum(axis=1), is_right & is_single)


def _summary(outcomes: Outcomes, edges: Sequence[float]) -> dict[str, Any]:
    probabilities, right = outcomes
    number = np.clip(np.searchsorted(edges, probabilities, "right") - 1, 0, len(edges) - 2)
    bins: list[dict[str, Any]] = []
    for index in range(len(edges) - 1):
        inside = number == index
        records = int(inside.sum())
        if records:
            correct = int(right[inside].sum())
            low, high = wilson(correct, records)
            bins.append(
                {
                    "bin": index,
                    "records": records,
                    "right": correct,
                    "mean": float(probabilities[inside].mean()),
                    "low": low,
                    "high": high,
                }
            )
    return {
        "bins": bins,
        "records": len(right),
        "right": int(right.sum()),
        "mean": float(probabilities.mean()),
    }
