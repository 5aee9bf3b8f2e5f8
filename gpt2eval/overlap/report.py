"""Report the overlap of tasks with training text, and metrics without the overlapping records.

Source: Radford et al. 2019, section 4 and table 6 (8-grams in a Bloom filter).
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from gpt2eval.config import loader
from gpt2eval.config.schema import Task
from gpt2eval.data import corpus, documents
from gpt2eval.data.local import Data, local_files
from gpt2eval.errors import UsageError
from gpt2eval.files import write_atomic
from gpt2eval.notices import notify
from gpt2eval.overlap import bloom
from gpt2eval.overlap.counts import OverlapCounts, OverlapItem, count_overlap
from gpt2eval.overlap.index import build_index
from gpt2eval.overlap.remeasure import MetricWithoutOverlap, metrics_without_overlap
from gpt2eval.report import store
from gpt2eval.report.tidy import Row, to_csv
from gpt2eval.settings import Settings
from gpt2eval.types import Progress

METRIC_COLUMNS = ("model", "metric", "value", "value_without", "left", "measured")


def overlap(
    names: str | Sequence[str],
    train: Sequence[Path],
    files: Data = None,
    *,
    include: Sequence[Path] = (),
    cache: Path | None = None,
    max_size: int | None = None,
    out: Path = Path("results"),
    bound: float = 1e-8,
    above: float = 0.0,
    progress: Callable[[Progress], None] = lambda report: None,
) -> list[dict[str, object]]:
    """Return a row per task and per metric of each finished run below `out`.

    Writes the counts of each record to `overlap/<task>.csv` below `out`.

    Args:
        names: Tasks, variants and suites.
        train: Training files and folders.
        files: Local files of tasks, by task name.
        include: Folders with further tasks.
        cache: The folder of published files.
        max_size: The most bytes that each local file may have or unpack to.
        out: The folder of results.
        bound: The false-positive bound of the filter.
        above: A record overlaps if more than this share of its 8-grams occurs in the training text.
        progress: Called with the progress of reading the training text.

    Raises:
        UsageError: Input cannot be read, or the filter does not fit into memory.
    """
    if not 0 <= above < 1:
        raise UsageError(f"--above {above:g}: expected a share of 0 or more, and less than 1")
    if not bloom.LOWEST_BOUND <= bound <= bloom.HIGHEST_BOUND:
        raise UsageError(
            f"--false-positives {bound:g}: "
            f"expected {bloom.LOWEST_BOUND:g} to {bloom.HIGHEST_BOUND:g}"
        )
    tasks = loader.select_tasks(names, include)
    local = local_files(files, include)
    settings = Settings(cache=cache, max_size=max_size)
    corpora = [corpus.load(task, local, settings) for task in tasks]
    store.check_writable(out)
    index = build_index(documents.training_files(train), bound, progress, max_size)
    if index.false_positives > bound:
        notify(
            f"the filter's false-positive bound is {index.false_positives:.3g}, not {bound:g}: "
            "the files have more 8-grams than estimated"
        )
    rows: list[dict[str, object]] = []
    for task, text in zip(tasks, corpora, strict=True):
        counts = count_overlap(task, text.records, index.filter)
        write_atomic(out / "overlap" / f"{task.full_name}.csv", _items_csv(counts.items))
        row = _task_columns(task, counts, index.false_positives, above)
        measured = metrics_without_overlap(task, text, counts, index.filter, out, above)
        metric_rows = [row | _metric_columns(metric) for metric in measured]
        rows += metric_rows or [row | dict.fromkeys(METRIC_COLUMNS)]
    return rows


def _task_columns(
    task: Task, counts: OverlapCounts, false_positives: float, above: float
) -> dict[str, object]:
    return {
        "task": task.full_name,
        "ngrams": counts.ngrams,
        "found": counts.matches,
        "share_%": 100 * counts.matches / max(counts.ngrams, 1),
        "distinct": counts.distinct,
        "distinct_found": counts.distinct_matches,
        "distinct_share_%": 100 * counts.distinct_matches / max(counts.distinct, 1),
        "false_positives": false_positives,
        "records": len(counts.items),
        "overlapping": sum(item.share > above for item in counts.items),
    }


def _metric_columns(measured: MetricWithoutOverlap) -> dict[str, object]:
    values = (
        measured.model,
        measured.metric.name,
        measured.metric.value,
        measured.value_without,
        measured.retained,
        measured.measured,
    )
    return dict(zip(METRIC_COLUMNS, values, strict=True))


def _items_csv(items: Sequence[OverlapItem]) -> bytes:
    columns: tuple[str, ...] = ("record", "part", "ngrams", "found", "share")
    rows: list[Row] = [dict(zip(columns, (*item, item.share), strict=True)) for item in items]
    return to_csv(rows, columns)
