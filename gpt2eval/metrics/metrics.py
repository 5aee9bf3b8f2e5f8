"""Convert scored passages to tallies, and tallies to metrics with 95 % intervals.

A metric is a formula of sums over tallies, so intervals follow from the tallies alone: one per
record, or one per part if the task is a single stream. Does not know models, texts or tasks.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

from gpt2eval.errors import UsageError
from gpt2eval.metrics.clusters import Clusters, block_name, is_stream
from gpt2eval.metrics.estimate import Estimate, Interval
from gpt2eval.metrics.intervals import wilson
from gpt2eval.metrics.resampling import rate_interval
from gpt2eval.types import Scored, Tally

ACCURACIES = {
    "acc": "correct",
    "acc_unfiltered": "unfiltered",
}  # the field of a tally that each sums
FIXED_UNITS = {
    "bpb": "byte",
    "byte_ppl": "byte",
    "bpc": "char",
    "nats_per_token": "token",
    "acc": "record",
    "acc_unfiltered": "record",
}

UNITS: Mapping[str, Callable[[Tally], int]] = {
    "word": lambda tally: tally.units.words,
    "word+eol": lambda tally: tally.units.words + tally.units.lines,
    "piece": lambda tally: tally.units.pieces,
    "blank": lambda tally: tally.units.blanks,
    "byte": lambda tally: tally.units.bytes,
    "char": lambda tally: tally.units.chars,
    "token": lambda tally: tally.tokens,
    "record": lambda tally: tally.records,
}


def tallies(scored: Sequence[Scored], *, per_token: bool = False) -> list[Tally]:
    """Return one tally per record in record order, or one per part if there is a single record.

    A question is represented by its right choice. It is correct if every other choice has a lower
    log-probability, per token if `per_token` is set, so a tie is not correct. Any other passage is
    correct if all its tokens are greedy or, with a stop-word filter, if the best word is the
    answer. `ties` counts questions whose best choice is tied, otherwise tied tokens.
    """
    result: list[Tally] = []
    for _, group in groupby(scored, key=lambda s: s.passage.record):
        passages = list(group)
        right = next(s for s in passages if s.passage.right)
        plain, ties = _decide(passages, right, per_token)
        correct = plain if right.is_best_word is None else right.is_best_word
        for i, part in enumerate(right.passage.parts):
            first = i == 0
            result.append(
                Tally(
                    nats=0.0 + float(right.nats[i]),  # 0.0 for -0.0, of a text without tokens
                    tokens=int(right.tokens[i]),
                    units=part.units,
                    records=int(first),
                    correct=int(first and correct),
                    unscored=right.unscored * first,
                    straddling=right.straddling * first,
                    unfiltered=int(first and plain),
                    ties=ties[i],
                    undecided=int(first and right.is_undecided),
                )
            )
    return result if sum(tally.records for tally in result) == 1 else by_record(result)


def by_record(parts: Sequence[Tally]) -> list[Tally]:
    """Return one tally per record; `parts` are in record order, and a record's first counts it."""
    groups: list[list[Tally]] = []
    for part in parts:
        if part.records:
            groups.append([])
        groups[-1].append(part)
    return [Tally.total(group) if len(group) > 1 else group[0] for group in groups]


class Decision(NamedTuple):
    """Whether a record's plain prediction is right, and the tied decisions in each of its parts."""

    correct: bool
    ties: list[int]


def _decide(passages: Sequence[Scored], right: Scored, per_token: bool) -> Decision:
    """Judge a question by its choices, and any other passage by its tokens."""
    parts = len(right.passage.parts)
    if len(passages) == 1:
        ties = [0] * parts if right.tied_tokens is None else right.tied_tokens.tolist()
        return Decision(_all_greedy(right), ties)
    scores = [s.nats.sum() / (max(s.tokens.sum(), 1) if per_token else 1) for s in passages]
    best = [s for s, score in zip(passages, scores, strict=True) if score == min(scores)]
    is_tied = len(best) > 1
    return Decision(best[0] is right and not is_tied, [int(is_tied), *[0] * (parts - 1)])


def _all_greedy(scored: Scored) -> bool:
    return bool(scored.greedy_tokens.sum() == scored.tokens.sum() and not scored.unscored)


def count(tally: Tally, unit: str) -> int:
    """Return a tally's count of a unit.

    Units: `word`, `word+eol` (words and line ends), `byte`, `char`, `token`, `record`, and the
    word counts of other tools, `piece` and `blank` (see `types.Units`).
    """
    return UNITS[unit](tally)


def measure(
    name: str, parts: Sequence[Tally], unit: str, independent: Clusters | None = None
) -> Estimate:
    """Compute one metric of a task from its tallies.

    With nats = the sum of -ln p(token), and all counts summed over the tallies:

        ppl             exp(nats / units)
        byte_ppl        exp(nats / bytes)
        bpb             nats / (ln 2 * bytes)
        bpc             nats / (ln 2 * characters)
        nats_per_token  nats / tokens
        acc             100 * correct / records, with the task's stop-word filter if it has one
        acc_unfiltered  100 * correct / records, without the filter

    Intervals have a level of 95 %. Accuracies have Wilson's, for any number of records, which are
    taken to be independent. Other metrics have that of `resampling.rate_interval`, or None for
    fewer than 30 independent units. Source of the metrics: Radford et al. 2019, section 3.

    Args:
        name: Name of the metric.
        parts: Tallies of the task's records or parts.
        unit: Denominator of `ppl`; the other metrics have a fixed one.
        independent: What the interval takes to be independent. By default the tallies, or blocks
            of them if only the first one counts a record or if they are clearly dependent.

    Raises:
        UsageError: If the denominator's count is zero.
    """
    unit = FIXED_UNITS.get(name, unit)
    nats = math.fsum(t.nats for t in parts)
    counts = [count(t, unit) for t in parts]
    units = _checked(sum(counts), name, unit)
    by = independent or Clusters("record", serial=is_stream(parts) or None)
    if name in ACCURACIES:
        correct = sum(getattr(t, ACCURACIES[name]) for t in parts)
        low, high = wilson(correct, units)
        interval = (100 * low, 100 * high)
        return Estimate(name, 100 * correct / units, interval, unit, units, by.name, units)
    rate = nats / units
    values = np.array([t.nats for t in parts])
    found = rate_interval(values, np.array(counts, np.float64), by.numbers, serial=by.serial)
    interval = found.interval and around(name, rate, found.interval)
    resampled = block_name(by, parts, found.resampled) if found.in_blocks else by.name
    return Estimate(name, scaled(name, rate), interval, unit, units, resampled, found.resampled)


def value(name: str, tally: Tally, unit: str) -> float:
    """Return what `measure` finds for one tally, without the interval; not for accuracies."""
    unit = FIXED_UNITS.get(name, unit)
    return scaled(name, tally.nats / _checked(count(tally, unit), name, unit))


def _checked(units: int, name: str, unit: str) -> int:
    if not units:
        raise UsageError(f"{name}: the text has no {unit} to divide by; expected at least one")
    return units


def around(name: str, rate: float, interval: Interval) -> Interval:
    """Return the interval on the metric's scale; it contains the metric, and no rate is below 0."""
    low, high = interval
    return scaled(name, min(max(low, 0.0), rate)), scaled(name, max(high, rate))


def scaled(name: str, rate: float) -> float:
    """Convert nats per unit to the scale of the metric."""
    if name in ("ppl", "byte_ppl"):
        return math.exp(rate) if rate < 700 else math.inf
    return rate / math.log(2) if name in ("bpb", "bpc") else rate
