"""The metrics of each group of a text's documents, and their macro average.

Takes tallies and the number of each one's group. A group's metrics are those of a task that
consists of its documents alone. Does not know models, texts or tasks.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt2eval.errors import unknown
from gpt2eval.metrics.clusters import Clusters
from gpt2eval.metrics.dependence import FEWEST, Values
from gpt2eval.metrics.estimate import Estimate
from gpt2eval.metrics.independent import Independent, negligible
from gpt2eval.metrics.intervals import student
from gpt2eval.metrics.metrics import ACCURACIES, FIXED_UNITS, around, count, measure, scaled
from gpt2eval.metrics.resampling import bootstrap_interval
from gpt2eval.types import Tally

PERPLEXITIES = ("ppl", "byte_ppl")


@dataclass(frozen=True, slots=True)
class Group:
    """A group of documents: its sums, and its metrics by name.

    A metric is missing where the group has no unit to divide by.
    """

    name: str
    tally: Tally
    metrics: Mapping[str, Estimate]

    @property
    def bits(self) -> float:
        """Total bits: nats / ln 2."""
        return self.tally.nats / math.log(2)


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups of a text's documents.

    Attributes:
        by: What groups the documents: `folder`, or `column NAME`.
        rows: The groups, sorted by name. Their sums add up to those of the text.
        micro: The metrics of all documents together: the numbers of the result, and bits per byte.
        macro: The unweighted mean, over the groups, of each metric; `units` counts the groups.
    """

    by: str
    rows: tuple[Group, ...]
    micro: Mapping[str, Estimate]
    macro: Mapping[str, Estimate]

    def group(self, name: str) -> Group:
        """Return the group of a name. Raises UsageError for a name that no group has."""
        by_name = {group.name: group for group in self.rows}
        if name not in by_name:
            raise unknown("group", name, by_name)
        return by_name[name]


def measure_groups(
    by: str,
    names: Sequence[str],
    numbers: NDArray[np.int64],
    parts: Sequence[Tally],
    independent: Clusters,
    metrics: Iterable[str],
    unit: str,
) -> Groups:
    """Return the metrics of each group, and their micro and macro averages.

    Args:
        by: What groups the documents.
        names: The names of the groups, sorted.
        numbers: The number of each tally's group.
        parts: The text's tallies: one per document, or one per part of a single document.
        independent: What the intervals take to be independent.
        metrics: Names of the metrics.
        unit: Denominator of `ppl`.
    """
    metrics = tuple(metrics)
    members: list[list[Tally]] = [[] for _ in names]
    for number, part in zip(numbers.tolist(), parts, strict=True):
        members[number].append(part)
    rows = tuple(
        Group(name, Tally.total(tallies), _estimates(tallies, metrics, unit, independent))
        for name, tallies in zip(names, members, strict=True)
    )
    averages = (macro_average(name, unit, members, independent) for name in metrics)
    return Groups(
        by,
        rows,
        _estimates(parts, metrics, unit, independent),
        {average.name: average for average in averages if average},
    )


def _estimates(
    parts: Sequence[Tally], metrics: Iterable[str], unit: str, independent: Clusters
) -> dict[str, Estimate]:
    """Return the metrics whose denominator is not zero."""
    total = Tally.total(parts)
    return {
        name: measure(name, parts, unit, independent)
        for name in metrics
        if count(total, FIXED_UNITS.get(name, unit))
    }


def macro_average(
    name: str, unit: str, groups: Sequence[Sequence[Tally]], independent: Clusters
) -> Estimate | None:
    """Return the unweighted mean of a metric over groups; None if no group has a unit.

    With r[g] = nats / units of group g, and f(r) the metric of a rate (`ppl` is exp(r), `bpb` is
    r / ln 2),

        macro = mean over g of f(r[g])

    So the macro average of `ppl` is the arithmetic mean of perplexities, and those of `bpb` and
    `nats_per_token` are means of rates. A group without units is left out.

    The interval takes the groups as given, and their documents as independent. To first order,
    document i of group g moves the logarithm of a mean perplexity, and any other mean rate, by

        share[g] / units[g] * (nats[i] - r[g] * units[i])

    where share is the group's part of the sum of perplexities, or else 1 / groups. These deviations
    have the studentized bootstrap of `resampling`, each times sqrt(n[g] / (n[g] - 1)), because r[g]
    was fitted to them. The mean of exp(r) over noisy rates is too large: its logarithm exceeds the
    truth by about sum of share[g] * variance(r[g]) / 2, and the interval of a perplexity is shifted
    by that amount. There is no interval if a group has a single document, or if the variance of
    the deviations has fewer degrees of freedom than that of 30 documents of one group has, which
    are 29. A single group has its own interval, and accuracies have none.

    Sources: Magnusson et al. 2024 (Paloma, arXiv 2312.10523) for the mean of perplexities;
    Satterthwaite 1946, Biometrics Bulletin 2, 110-114, for the degrees of freedom.

    Args:
        name: Name of the metric.
        unit: Denominator of `ppl`.
        groups: The tallies of each group.
        independent: What intervals take to be independent.
    """
    label = FIXED_UNITS.get(name, unit)
    used = [tallies for tallies in groups if sum(count(tally, label) for tally in tallies)]
    if not used:
        return None
    if len(used) == 1:
        return replace(measure(name, used[0], unit, independent), unit="group", units=1)
    entries = [_Entries.of(tallies, name, label) for tallies in used]
    values = [entry.value for entry in entries]
    mean = Estimate(name, math.fsum(values) / len(values), None, "group", len(values))
    if name in ACCURACIES or not math.isfinite(mean.value):
        return mean
    shares = np.full(len(values), 1 / len(values))
    rate = math.fsum(entry.rate for entry in entries) / len(entries)
    if name in PERPLEXITIES:
        shares = np.array(values) / math.fsum(values)
        rate = math.log(mean.value)
    return _with_interval(mean, rate, entries, shares, independent.name)


class _Entries(NamedTuple):
    """The documents of a group, their rate, and the metric of it."""

    nats: Values
    units: Values
    rate: float
    value: float

    @classmethod
    def of(cls, tallies: Sequence[Tally], name: str, unit: str) -> "_Entries":
        """Return the entries of a group's tallies."""
        units = [count(tally, unit) for tally in tallies]
        field = ACCURACIES.get(name, "nats")
        sums = [getattr(tally, field) for tally in tallies]
        rate = math.fsum(sums) / sum(units)
        value = 100 * rate if name in ACCURACIES else scaled(name, rate)
        return cls(np.array(sums, np.float64), np.array(units, np.float64), rate, value)


def _with_interval(
    mean: Estimate, rate: float, entries: Sequence[_Entries], shares: Values, record: str
) -> Estimate:
    """Return a macro average with its interval, or with the reason why it has none."""
    sizes = np.array([len(entry.nats) for entry in entries])
    total = int(sizes.sum())
    if sizes.min() == 1:
        return replace(mean, resampled=f"{record} in a group", resampled_units=1)
    deviations: list[Values] = []
    weights: list[Values] = []
    for entry, share, size in zip(entries, shares.tolist(), sizes.tolist(), strict=True):
        weight = share / entry.units.sum()
        fitted = math.sqrt(size / (size - 1) * (total - 1) / total)
        deviations.append(weight * fitted * (entry.nats - entry.rate * entry.units))
        weights.append(weight * entry.units)
    moved, units = np.concatenate(deviations), np.concatenate(weights)
    taken = Independent(moved + rate * units, units, rate, None, in_blocks=False, entries=total)
    variances = np.array([math.fsum(deviation**2) for deviation in deviations])
    freedom = total - 1.0
    if not negligible(moved, taken.nats):
        freedom = math.fsum(variances) ** 2 / math.fsum(variances**2 / (sizes - 1))
    if freedom + 1 < FEWEST:
        return replace(mean, resampled=f"{record} in effect", resampled_units=int(freedom + 1))
    mean = replace(mean, resampled=record, resampled_units=total)
    found = bootstrap_interval(taken, FEWEST, student(freedom))
    if found.interval is None:
        return mean
    bias = float((variances / shares).sum()) / 2 if mean.name in PERPLEXITIES else 0.0
    low, high = (bound - bias for bound in found.interval)
    low, high = around(mean.name, rate, (low, high))
    return replace(mean, interval=(min(low, mean.value), max(high, mean.value)))
