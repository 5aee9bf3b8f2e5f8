"""Two results of one task, paired record by record.

The records of both are the same published text, whatever the tokenizers. Everything that could
make a difference of two numbers meaningless is an error that names it.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Protocol

import numpy as np

from gpt2eval.errors import UsageError, unknown
from gpt2eval.metrics import signature
from gpt2eval.metrics.agreement import TokenAgreement, token_agreement
from gpt2eval.metrics.clusters import Clusters, block_name, counted
from gpt2eval.metrics.metrics import ACCURACIES, by_record, count
from gpt2eval.metrics.paired import (
    FEWEST_PAIRED,
    PairedDifference,
    compare_rates,
    compare_shares,
)
from gpt2eval.metrics.result import MetricValue, Result
from gpt2eval.report.cells import Cell
from gpt2eval.report.comparison.duels import Duel
from gpt2eval.report.measured import Measured
from gpt2eval.types import Tally

PER_TOKEN = "per token, and the tokenizers differ"


class Tallied(Protocol):
    """A result with its tallies and their clusters; `path` is the file that it comes from."""

    @property
    def result(self) -> Result: ...
    @property
    def parts(self) -> Sequence[Tally]: ...
    @property
    def independent(self) -> Clusters: ...
    @property
    def path(self) -> Path: ...


def compared_metrics(result: Result, wanted: Sequence[str] = ()) -> list[str]:
    """Return the metrics of a result to compare: the wanted ones that it has.

    By default its first one of the log-likelihood and its first accuracy. Its other metrics of the
    log-likelihood are the same sum in other units, and would be tested twice.
    """
    if wanted:
        return [name for name in result.metrics if name in wanted]
    accuracies = [name for name in result.metrics if name in ACCURACIES]
    rates = [name for name in result.metrics if name not in ACCURACIES]
    return [*rates[:1], *accuracies[:1]]


def check_metrics(wanted: Sequence[str], measured: Iterable[Iterable[str]]) -> None:
    """Raise UsageError for a wanted metric that no task has; `measured` are those of each task."""
    known = {*chain.from_iterable(measured)}
    for name in wanted:
        if name not in known:
            raise unknown("metric", name, known)


def check_pair(first: Tallied, second: Tallied) -> None:
    """Raise UsageError unless two results have one protocol, one version and the same records.

    Tokenizers may differ, and so may their start tokens.
    """
    name = first.result.full_name
    one, other = (signature.read(side.result.signature) for side in (first, second))
    unit = {"unit"} if _per_token(first.result.primary) else set()
    differing = signature.protocol_differences(one, other, signature.FREE | unit)
    if differing:
        fields = "; ".join(
            f"{key}: {theirs or '(none)'} and {ours or '(none)'}" for key, theirs, ours in differing
        )
        raise UsageError(
            f"{name}: {second.path} has another protocol than {first.path}: {fields}; expected "
            "results of one protocol"
        )
    if one.get("v") != other.get("v"):
        raise UsageError(
            f"{name}: {second.path} is of gpt2eval {other.get('v', '(none)')}, {first.path} of "
            f"{one.get('v', '(none)')}; expected results of one version"
        )
    if first.result.data.sha256 != second.result.data.sha256:
        raise UsageError(
            f"{name}: {second.path} has other data than {first.path}: SHA-256 "
            f"{second.result.data.sha256:.8} and {first.result.data.sha256:.8}; expected the same "
            "text"
        )
    _check_records(first, second)


def _check_records(first: Tallied, second: Tallied) -> None:
    """Raise UsageError unless the tallies of two results are of the same published spans."""
    where = f"{first.result.full_name}: {second.path} and {first.path}"
    entries = [len(side.parts) for side in (first, second)]
    if entries[0] != entries[1]:
        raise UsageError(
            f"{where} do not divide the text alike: {entries[1]} and {entries[0]} parts; expected "
            "as many"
        )
    for number, (part, its) in enumerate(zip(first.parts, second.parts, strict=True)):
        if (part.units, part.records) != (its.units, its.records):
            raise UsageError(
                f"{where} do not divide the text alike: part {number} has {its.units.bytes} and "
                f"{part.units.bytes} bytes, {its.units.words} and {part.units.words} words; "
                "expected the same"
            )
    one, other = (side.independent.numbers for side in (first, second))
    if not np.array_equal([] if one is None else one, [] if other is None else other):
        raise UsageError(f"{where} do not have the same {first.independent.name}s; expected them")


def why_incomparable(first: Tallied, second: Tallied, metric: str) -> str:
    """Return why a metric of two results cannot be compared; "" if it can."""
    if metric not in second.result.metrics:
        return "one result lacks it"
    if _per_token(first.result.metrics[metric]) and not same_tokenizer(first, second):
        return PER_TOKEN
    infinite = [side for side in (first, second) if not np.isfinite(side.result.tally.nats)]
    if infinite and metric not in ACCURACIES:
        return f"a record has a probability of 0 on {infinite[0].result.model.name}"
    return ""


def _per_token(metric: MetricValue) -> bool:
    return metric.unit == "token"


def same_tokenizer(first: Tallied, second: Tallied) -> bool:
    """Return whether two results have the same tokens."""
    return first.result.model.tokenizer == second.result.model.tokenizer


def difference(first: Tallied, second: Tallied, metric: str) -> PairedDifference:
    """Return the difference of a metric, in nats per unit or in shares of records."""
    independent = first.independent
    if metric in ACCURACIES:
        one, other = (_correct(side.parts, metric) for side in (first, second))
        return compare_shares(one, other, independent.numbers)
    unit = first.result.metrics[metric].unit
    nats, others = (np.array([tally.nats for tally in side.parts]) for side in (first, second))
    return compare_rates(
        nats,
        others,
        np.array([count(tally, unit) for tally in first.parts], np.float64),
        independent.numbers,
        serial=independent.serial,
    )


def _correct(parts: Sequence[Tally], metric: str) -> np.ndarray:
    field = ACCURACIES[metric]
    return np.array([getattr(tally, field) > 0 for tally in by_record(parts)])


def duel(
    first: Tallied,
    second: Tallied,
    metric: str,
    found: PairedDifference,
    verdict: str,
    *,
    model: int = 1,
    p_adjusted: float | None = None,
    margin: str = "",
    agreement: TokenAgreement | None = None,
) -> Duel:
    """Return a difference of two results with what it rests on; see `Duel` for the arguments."""
    return Duel(
        baseline=Cell(first.result, first.result.metrics[metric]),
        other=Cell(second.result, second.result.metrics[metric]),
        model=model,
        difference=found,
        p_adjusted=p_adjusted,
        verdict=verdict,
        cluster=cluster(first, found),
        why_no_interval=why_no_interval(first, found) if math.isfinite(found.second) else "",
        margin=margin,
        agreement=agreement,
    )


def cluster(pair: Tallied, found: PairedDifference) -> str:
    """Return the name of what a difference takes to be independent, such as `article`."""
    by = pair.independent
    return block_name(by, pair.parts, found.resampled) if found.in_blocks else by.name


def why_no_interval(pair: Tallied, found: PairedDifference) -> str:
    """Return why a difference has no interval; "" if it has one."""
    if found.interval is not None:
        return ""
    units = counted(found.resampled, cluster(pair, found))
    if found.resampled < FEWEST_PAIRED:
        return f"{units}; no interval can be trusted below {FEWEST_PAIRED}"
    if found.p is None:
        return f"{found.entries} parts; too few to tell how they depend on each other; no interval"
    return f"a few of {units} outweigh all others; no interval"


def agreement(first: Measured, second: Measured) -> TokenAgreement:
    """Return how far two models of one tokenizer agree, over all scored tokens.

    Raises UsageError if a journal has no token table, or the tokens are not the same.
    """
    one, other = first.tokens(), second.tokens()
    if not (np.array_equal(one.id, other.id) and np.array_equal(one.end, other.end)):
        raise UsageError(f"{second.path}: other tokens than {first.path}; expected the same")
    return token_agreement(one.logprob, other.logprob, one.is_greedy, other.is_greedy)
