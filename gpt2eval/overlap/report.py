"""How much of a task's text is in training text: 8-grams in a Bloom filter, and the metric without the records that overlap.

The metric comes from the sums that a run left in its journal; no model is asked. It does not know how text is hashed.
Source: Radford et al. 2019, section 4 and table 6.
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gpt2eval.config import loader
from gpt2eval.config.schema import Task
from gpt2eval.data import corpus, documents
from gpt2eval.data.records import Corpus
from gpt2eval.errors import UsageError
from gpt2eval.files import write_atomic
from gpt2eval.metrics import metrics
from gpt2eval.metrics.result import Estimate, Result
from gpt2eval.notices import notify
from gpt2eval.overlap import bloom, index, ngrams
from gpt2eval.overlap.bloom import Bloom
from gpt2eval.report import store
from gpt2eval.scoring import journal
from gpt2eval.text import passages
from gpt2eval.types import Progress, Record, Tally


class OverlapItem(NamedTuple):
    """A record, or a block of a stream: its 8-grams, and how many of them are in the training text."""

    record: int
    part: int
    ngrams: int
    found: int

    @property
    def share(self) -> float:
        """Found by 8-grams; 0 where there are none."""
        return self.found / max(self.ngrams, 1)


class Counted(NamedTuple):
    """A text's 8-grams and how many were found: every occurrence, each distinct one once, and by record."""

    ngrams: int
    found: int
    distinct: int
    distinct_found: int
    items: tuple[OverlapItem, ...]


class Without(NamedTuple):
    """A model's metric on all records, and without those that overlap (None where none is left); how many are left, of how
    many that were measured."""

    model: str
    metric: Estimate
    without: float | None
    left: int
    measured: int


def overlap(
    names: str | Sequence[str],
    train: Sequence[Path],
    files: Mapping[str, Path] | None = None,
    *,
    include: Sequence[Path] = (),
    cache: Path | None = None,
    out: Path = Path("results"),
    bound: float = 1e-8,
    above: float = 0.0,
    watch: Callable[[Progress], None] = lambda progress: None,
) -> list[dict[str, object]]:
    """A row per task, and per metric of each finished measurement of it below `out`; writes `<out>/overlap/<task>.csv`.

    A record overlaps if more than the share `above` of its 8-grams is in the training text. Raises UsageError for
    input that cannot be read, and for a bound whose filter does not fit into memory.
    """
    if not 0 <= above < 1:
        raise UsageError(f"--above {above:g}: expected a share of 0 or more, and less than 1")
    if not bloom.LEAST <= bound <= bloom.MOST:
        raise UsageError(f"--false-positives {bound:g}: expected {bloom.LEAST:g} to {bloom.MOST:g}")
    chosen = loader.select_tasks(names, include)
    texts = [corpus.load_corpus(task, corpus.file_of(task, files), cache=cache) for task in chosen]
    store.check_writable(out)
    known = index.build_index(documents.files(train), bound, watch)
    if known.odds > bound:
        notify(
            f"the filter's false-positive bound is {known.odds:.3g}, not {bound:g}: more 8-grams than files let expect"
        )
    rows: list[dict[str, object]] = []
    for task, read in zip(chosen, texts, strict=True):
        counted = count(task, read.records, known.filter)
        write_atomic(out / "overlap" / f"{task.full_name}.csv", _csv(counted.items))
        row = _row(task, counted, known.odds, above)
        found = [
            row | _columns(w) for w in measurements(task, read, counted, known.filter, out, above)
        ]
        rows += found or [
            row | dict.fromkeys(("model", "metric", "value", "value_without", "left", "measured"))
        ]
    return rows


def count(task: Task, records: Sequence[Record], known: Bloom) -> Counted:
    """The 8-grams of a task's records, and those in a filter; one is of the block in which its first word begins."""
    pieces = [_pieces(task, record) for record in records]
    places = [
        (record.index, part)
        for record, texts in zip(records, pieces, strict=True)
        for part in range(len(texts))
    ]
    made = list(ngrams.grams(pieces))
    hashes = np.concatenate([np.zeros(0, np.uint64), *(grams.hashes for grams in made)])
    of = np.concatenate([np.zeros(0, np.int64), *(grams.pieces for grams in made)])
    distinct, inverse = np.unique(hashes, return_inverse=True)
    known_distinct = known.found(distinct)
    found = known_distinct[inverse]
    totals, hits = (
        np.bincount(of, minlength=len(places)),
        np.bincount(of[found], minlength=len(places)),
    )
    items = tuple(
        OverlapItem(record, part, n, hit)
        for (record, part), n, hit in zip(places, totals.tolist(), hits.tolist(), strict=True)
    )
    return Counted(len(hashes), int(found.sum()), len(distinct), int(known_distinct.sum()), items)


def _pieces(task: Task, record: Record) -> list[str]:
    """A stream's blocks; the one text of any other record, with its answer in the blank."""
    if not _in_blocks(task):
        return [
            record.text.replace(passages.BLANK, record.answer) if record.options else record.text
        ]
    return [record.text[part.start : part.end] for part in passages.everything(record)[0].parts]


def _in_blocks(task: Task) -> bool:
    return task.format == "stream" and task.ask == "everything"


def measurements(
    task: Task, read: Corpus, counted: Counted, known: Bloom, out: Path, above: float
) -> Iterator[Without]:
    """The metrics of each finished measurement of a task below `out`, on all records and without those that overlap.

    One of other data, or without sums that are its own, is left out, and stderr says why.
    """
    for path in store.paths_below(out):
        result = store.read_or_notify(path)
        if result is None or result.full_name != task.full_name:
            continue
        if result.data.sha256 != read.sha256:
            notify(f"{path}: left out: its data is {result.data.sha256[:8]}, not {read.sha256[:8]}")
            continue
        of = counted
        if limit := result.protocol.limit:
            of = count(
                task, passages.head(read.records, limit, stream=task.format == "stream"), known
            )
        groups = tallies(path.parent, result, blocks=_in_blocks(task))
        if groups is None or len(groups) != len(of.items):
            notify(
                f"{path}: left out: its sums are not in its journal; the same 'gpt2eval run' writes them"
            )
            continue
        kept = [group for group, item in zip(groups, of.items, strict=True) if item.share <= above]
        for name in result.metrics:
            yield without(name, groups, kept, task.unit, result.model.name)


def tallies(folder: Path, result: Result, *, blocks: bool) -> list[list[Tally]] | None:
    """A result's tallies from the journal beside it, by record, or by block; None where they are not there, or not its own."""
    kept = journal.of_folder(folder / "journal")
    made = kept and kept.read_tallies()
    if not made or Tally.total(made) != result.tally:
        return None
    return [[tally] for tally in (made if blocks else metrics.by_record(made))]


def without(
    name: str,
    groups: Sequence[Sequence[Tally]],
    kept: Sequence[Sequence[Tally]],
    unit: str,
    model: str,
) -> Without:
    """A metric of all tallies and of those that are kept."""
    metric = metrics.measure(name, [tally for group in groups for tally in group], unit)
    left = [tally for group in kept for tally in group]
    counted = left and metrics.count(
        Tally.total(left), "record" if name in metrics.ACCURACIES else metric.unit
    )
    return Without(
        model,
        metric,
        metrics.measure(name, left, unit).value if counted else None,
        len(kept),
        len(groups),
    )


def _row(task: Task, counted: Counted, odds: float, above: float) -> dict[str, object]:
    return {
        "task": task.full_name,
        "ngrams": counted.ngrams,
        "found": counted.found,
        "share_%": 100 * counted.found / max(counted.ngrams, 1),
        "distinct": counted.distinct,
        "distinct_found": counted.distinct_found,
        "distinct_share_%": 100 * counted.distinct_found / max(counted.distinct, 1),
        "false_positives": odds,
        "records": len(counted.items),
        "overlapping": sum(item.share > above for item in counted.items),
    }


def _columns(made: Without) -> dict[str, object]:
    return {
        "model": made.model,
        "metric": made.metric.name,
        "value": made.metric.value,
        "value_without": made.without,
        "left": made.left,
        "measured": made.measured,
    }


def _csv(items: Sequence[OverlapItem]) -> bytes:
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerows(
        [[*OverlapItem._fields, "share"], *([*item, f"{item.share:.6g}"] for item in items)]
    )
    return content.getvalue().encode()
