"""Measure one task on one model: plan it, score it, sum the scores, state the result."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from gpt2eval.config import loader
from gpt2eval.config.catalog import PAPER
from gpt2eval.config.schema import Task
from gpt2eval.data.grouping import Grouping, write_grouping
from gpt2eval.data.records import Corpus
from gpt2eval.metrics import metrics
from gpt2eval.metrics.clusters import Clusters, clusters
from gpt2eval.metrics.groups import Groups, measure_groups
from gpt2eval.metrics.result import DataIdentity, Estimate, Figures, Result, RoundTripCounts
from gpt2eval.metrics.signature import signature
from gpt2eval.metrics.start_loss import start_loss
from gpt2eval.planning.task_plan import TaskPlan, plan_task
from gpt2eval.scoring.execute import Outcome, TaskWork
from gpt2eval.scoring.run_files import RunFiles
from gpt2eval.scoring.start_check import StartCheck
from gpt2eval.scoring.token_rows import TokenRows
from gpt2eval.scoring.token_table import word_start_rows
from gpt2eval.settings import Settings
from gpt2eval.types import Model, Progress, Tally
from gpt2eval.version import __version__

RECORDS = {
    "pages": "article",
    "documents": "document",
    "rows": "row",
}  # what a record is, by format


class Measurement(NamedTuple):
    """A result and the tallies that it sums: one per record, or one per part of a single record.

    `grouping` is the group of each scored record, if the text has groups.
    """

    result: Result
    parts: list[Tally]
    grouping: Grouping | None = None


def measure(
    model: Model,
    task: Task,
    corpus: Corpus,
    settings: Settings = Settings(),
    include: Sequence[Path] = (),
    *,
    journal: Path | None = None,
    elsewhere: Sequence[Path] = (),
    progress: Callable[[Progress], None] = lambda progress: None,
    check: StartCheck | None = None,
) -> Measurement | None:
    """Measure one task on one model; return None if other workers still have chunks to score.

    `journal` is a folder that keeps finished chunks, so that an interrupted run resumes;
    `elsewhere` are folders that may hold chunks of the same work. `check` measures what the model
    loses where the protocol leaves out its start token.
    """
    plan = plan_task(model, task, corpus, settings, include)
    work = plan.work
    opened = plan.journal(journal, elsewhere) if journal else None
    if opened:
        opened.open(plan.identity.name, plan.decides())
    resumed = plan.tokens_done(opened) if opened else 0
    outcome = work.score(
        model,
        opened,
        settings.worker,
        lambda report: progress(report._replace(resumed=resumed)),
        plan.words,
    )
    if outcome is None:
        return None
    parts = metrics.tallies(outcome.passages, per_token=task.normalize == "tokens")
    record = RECORDS.get(task.format, "record")
    independent = clusters(outcome.passages, parts, record, joined=task.joins_tokens)
    grouping = corpus.grouping and corpus.grouping.first(plan.records)
    if opened:
        _keep(opened.files, parts, independent, work, outcome)
        write_grouping(opened.files, grouping)
    estimates = [metrics.measure(name, parts, task.unit, independent) for name in task.metrics]
    result = _result(plan, parts, estimates, outcome.nll_sha256)
    if grouping:
        result = replace(result, groups=_groups(plan, grouping, parts, independent))
    if check:
        loss = start_loss(check, task, model, plan.window, work, opened)
        result = replace(result, start_loss=loss)
    return Measurement(result, parts, grouping)


def _keep(
    files: RunFiles,
    parts: Sequence[Tally],
    independent: Clusters,
    work: TaskWork,
    outcome: Outcome,
) -> None:
    """Write what later commands read of a finished run.

    A repeated run writes the rows of tokens only if they are absent, corrupt or incomplete.
    """
    files.write_tallies(parts)
    files.write_clusters(independent.arrays())
    if not files.has_tokens():
        files.write_token_rows(TokenRows(work.encoded, work.ranges, outcome.sheet))
    if work.starts and files.read_word_starts() is None:
        rows = word_start_rows(work.ranges, outcome.sheet, closed=work.closed)
        files.write_word_starts(rows)


def _groups(
    plan: TaskPlan, grouping: Grouping, parts: Sequence[Tally], independent: Clusters
) -> Groups:
    """Return the groups of a text: the task's metrics, and bits per byte if the tokens tile it."""
    task = plan.task
    tiles = "bpb" in task.metrics or not plan.protocol.tokens
    names: list[str] = [*task.metrics]
    if tiles and "bpb" not in names:
        names.append("bpb")
    return measure_groups(
        grouping.by,
        grouping.groups(),
        grouping.of_tallies(len(parts)),
        parts,
        independent,
        names,
        task.unit,
    )


def _result(
    plan: TaskPlan, parts: Sequence[Tally], estimates: Sequence[Estimate], nll_sha256: str
) -> Result:
    task, corpus, protocol, identity = plan.task, plan.corpus, plan.protocol, plan.identity
    report = plan.round_trip
    signed = {}
    for estimate in estimates:
        unit = f"{estimate.unit}@{estimate.units}"
        line = signature(task.full_name, protocol.stated(), unit, identity, __version__)
        signed[estimate.name] = estimate.signed(line)
    return Result(
        task=task.name,
        variant=task.variant,
        title=task.title,
        metrics=signed,
        tally=Tally.total(parts),
        nll_sha256=nll_sha256,
        model=identity,
        data=DataIdentity(corpus.sha256, corpus.published, corpus.origin),
        detokenizer=RoundTripCounts(
            report.lines, report.changed, report.edits, report.dropped, report.kept
        ),
        protocol=protocol,
        published=tuple(Figures(p.source, p.metric, p.rows) for p in task.published),
        row=_published_row(identity.shape),
        version=__version__,
        kept=plan.kept,
    )


def _published_row(shape: str) -> str:
    """Return the row of the published table whose model has a shape, or ""."""
    rows = loader.load_suite(PAPER).models
    return next((row for row, published in rows.items() if published == shape), "")
