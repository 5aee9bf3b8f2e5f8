"""Compute the metrics of finished runs again without the records that overlap with training text.

Uses the tallies in a run's journal and evaluates no model. Does not know how text is hashed.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from gpt2eval.config.schema import Task
from gpt2eval.data.records import Corpus
from gpt2eval.metrics import metrics
from gpt2eval.metrics.result import Estimate, Result
from gpt2eval.notices import notify
from gpt2eval.overlap.bloom import Bloom
from gpt2eval.overlap.counts import OverlapCounts, count_overlap, is_in_blocks
from gpt2eval.report import store
from gpt2eval.report.measured import tallies
from gpt2eval.text import passages
from gpt2eval.types import Tally


class MetricWithoutOverlap(NamedTuple):
    """A model's metric on all items, and its value without those that overlap.

    `value_without` is None if no item is retained. `retained` of `measured` items do not overlap.
    """

    model: str
    metric: Estimate
    value_without: float | None
    retained: int
    measured: int


def metrics_without_overlap(
    task: Task, corpus: Corpus, counts: OverlapCounts, training: Bloom, out: Path, above: float
) -> Iterator[MetricWithoutOverlap]:
    """Yield the metrics of each finished run below `out`, with and without overlapping items.

    Skips, with a notice, a run on different data or without tallies in its journal.
    """
    for path in store.paths_below(out):
        result = store.read_or_notify(path)
        if result is None or result.full_name != task.full_name:
            continue
        digest = result.data.sha256
        if digest != corpus.sha256:
            notify(f"{path}: skipped: data checksum {digest[:8]}, expected {corpus.sha256[:8]}")
            continue
        run_counts = counts
        if limit := result.protocol.limit:
            records = passages.head(corpus.records, limit, stream=task.format == "stream")
            run_counts = count_overlap(task, records, training)
        groups = read_groups(path, result, blocks=is_in_blocks(task))
        if groups is None or len(groups) != len(run_counts.items):
            notify(
                f"{path}: skipped: no tallies in its journal; "
                "repeat its 'gpt2eval run' to write them"
            )
            continue
        retained = [
            group
            for group, item in zip(groups, run_counts.items, strict=True)
            if item.share <= above
        ]
        for name in result.metrics:
            yield metric_without(name, groups, retained, task.unit, result.model.name)


def read_groups(path: Path, result: Result, *, blocks: bool) -> list[list[Tally]] | None:
    """Return a result's tallies by record or by block, or None if its journal lacks them."""
    found = tallies(path, result)
    if found is None:
        return None
    return [[tally] for tally in (found if blocks else metrics.by_record(found))]


def metric_without(
    name: str,
    groups: Sequence[Sequence[Tally]],
    retained: Sequence[Sequence[Tally]],
    unit: str,
    model: str,
) -> MetricWithoutOverlap:
    """Compute a metric from all tallies, and from the retained ones."""
    everything = [tally for group in groups for tally in group]
    retained_tallies = [tally for group in retained for tally in group]
    metric = metrics.measure(name, everything, unit)
    denominator = "record" if name in metrics.ACCURACIES else metric.unit
    value = None
    if retained_tallies and metrics.count(Tally.total(retained_tallies), denominator):
        value = metrics.measure(name, retained_tallies, unit).value
    return MetricWithoutOverlap(model, metric, value, len(retained), len(groups))
