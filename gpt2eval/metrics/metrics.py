"""Scored passages to tallies, and tallies to PPL, ACC, BPB and BPC with their intervals.

Every metric is one formula on a sum, so its interval comes from resampling what is summed:
records where a task
has many, the parts of its one record where that is a stream. It does not know models, texts or
tasks.
"""

import math
from collections.abc import Sequence
from itertools import groupby

import numpy as np

from gpt2eval.errors import UsageError
from gpt2eval.metrics.intervals import resampled_rates, wilson
from gpt2eval.metrics.result import Estimate
from gpt2eval.types import Scored, Tally

ACCURACIES = {"acc": "correct", "acc_unfiltered": "unfiltered"}


def tallies(scored: Sequence[Scored], *, per_token: bool = False) -> list[Tally]:
    """One tally per record, or per part of the only one; in record order.

    A question's tally is that of its right choice, correct when no other choice scores as high
    (`per_token`
    divides each choice's score by its number of tokens). A passage is correct when all its
    tokens are greedy, or, with
    a list of words, when it was found.
    """
    made: list[Tally] = []
    for _, group in groupby(scored, key=lambda s: s.passage.record):
        passages = list(group)
        right = next(s for s in passages if s.passage.right)
        plain = _chosen(passages, per_token) if len(passages) > 1 else _all_hit(right)
        correct = plain if right.is_best_word is None else right.is_best_word
        for i, part in enumerate(right.passage.parts):
            first = i == 0
            made.append(
                Tally(
                    nats=float(right.nats[i]),
                    tokens=int(right.tokens[i]),
                    units=part.units,
                    records=int(first),
                    correct=int(first and correct),
                    unscored=right.unscored * first,
                    straddling=right.straddling * first,
                    unfiltered=int(first and plain),
                )
            )
    return made if sum(tally.records for tally in made) == 1 else by_record(made)


def by_record(parts: Sequence[Tally]) -> list[Tally]:
    """One tally per record, of tallies in record order: each begins with the one that counts it."""
    of_record: list[list[Tally]] = []
    for part in parts:
        if part.records:
            of_record.append([])
        of_record[-1].append(part)
    return [Tally.total(group) for group in of_record]


def _chosen(passages: Sequence[Scored], per_token: bool) -> bool:
    scores = [s.nats.sum() / (max(s.tokens.sum(), 1) if per_token else 1) for s in passages]
    right = next(i for i, s in enumerate(passages) if s.passage.right)
    return all(scores[right] < score for i, score in enumerate(scores) if i != right)


def _all_hit(scored: Scored) -> bool:
    return bool(scored.greedy_tokens.sum() == scored.tokens.sum() and not scored.unscored)


def count(tally: Tally, unit: str) -> int:
    """How many of a unit a tally has: `word`, `word+eol` (words and line ends), `byte`, `char`,
    `token`, `record`,
    or another tool's words: `piece`, `blank` (see `types.Units`).
    """
    units = tally.units
    return {
        "word": units.words,
        "word+eol": units.words + units.lines,
        "piece": units.pieces,
        "blank": units.blanks,
        "byte": units.bytes,
        "char": units.chars,
        "token": tally.tokens,
        "record": tally.records,
    }[unit]


def measure(name: str, parts: Sequence[Tally], unit: str) -> Estimate:
    """One metric of a task from its tallies.

    - `ppl`: exp(nats / units), natural logarithm; `byte_ppl`: exp(nats / bytes)
    - `bpb`, `bpc`: nats / ln 2 / bytes, and / characters
    - `nats_per_token`: nats / tokens
    - `acc`: 100 correct / records, by the task's list of words if it has one; `acc_unfiltered`:
    without

    The intervals are 95 %: Wilson's for accuracies, else the percentiles of 2,000 bootstrap
    resamples of the tallies
    (seed 2019; None when there is only one). Source: Radford et al. 2019, section 3.
    """
    units_of = {
        "bpb": "byte",
        "byte_ppl": "byte",
        "bpc": "char",
        "nats_per_token": "token",
    } | dict.fromkeys(ACCURACIES, "record")
    unit = units_of.get(name, unit)
    nats, units = math.fsum(t.nats for t in parts), sum(count(t, unit) for t in parts)
    if not units:
        raise UsageError(f"{name}: the text has no {unit} to divide by; expected at least one")
    if name in ACCURACIES:
        correct = sum(getattr(t, ACCURACIES[name]) for t in parts)
        low, high = wilson(correct, units)
        return Estimate(name, 100 * correct / units, (100 * low, 100 * high), unit, units)
    rates = resampled_rates(
        np.array([t.nats for t in parts]), np.array([count(t, unit) for t in parts])
    )
    value = nats / units
    if rates is None:
        return Estimate(name, _scaled(name, value), None, unit, units)
    low, high = (float(rate) for rate in np.percentile(rates, [2.5, 97.5]))
    interval = (_scaled(name, min(low, value)), _scaled(name, max(high, value)))
    return Estimate(name, _scaled(name, value), interval, unit, units)


def _scaled(name: str, rate: float) -> float:
    """Nats per unit as the metric gives them."""
    if name in ("ppl", "byte_ppl"):
        return math.exp(rate) if rate < 700 else math.inf
    return rate / math.log(2) if name in ("bpb", "bpc") else rate
