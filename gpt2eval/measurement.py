"""One task on one model, step by step: passages, tokens, requests, scores, tallies, result."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gpt2eval.config import loader
from gpt2eval.config.catalog import PAPER
from gpt2eval.config.schema import Filter, Task
from gpt2eval.data.records import Corpus
from gpt2eval.errors import UsageError
from gpt2eval.metrics import metrics
from gpt2eval.metrics import protocol as protocols
from gpt2eval.metrics.clusters import clusters
from gpt2eval.metrics.protocol import ProtocolFields
from gpt2eval.metrics.result import DataIdentity, Estimate, Figures, Result, RoundTripCounts
from gpt2eval.metrics.signature import signature
from gpt2eval.metrics.start_loss import start_loss
from gpt2eval.models import registry
from gpt2eval.scoring.encode import encode_texts
from gpt2eval.scoring.execute import TaskWork
from gpt2eval.scoring.journal import Journal
from gpt2eval.scoring.start_check import StartCheck
from gpt2eval.settings import Settings
from gpt2eval.text import fit
from gpt2eval.text.detokenizer import Detokenizer, OneWaySteps, RoundTrip
from gpt2eval.text.loader import load_detokenizer
from gpt2eval.text.passages import ask, head
from gpt2eval.text.prepare import detokenize_passage
from gpt2eval.types import (
    Encoded,
    FindsBestWords,
    Model,
    ModelIdentity,
    Passage,
    Progress,
    Record,
    Tally,
)
from gpt2eval.version import __version__

RECORDS = {"pages": "article", "documents": "document"}  # what a record is, by format


class Measurement(NamedTuple):
    """A result and the tallies that it sums: one per record, or one per part of a single record."""

    result: Result
    parts: list[Tally]


def measure(
    model: Model,
    task: Task,
    corpus: Corpus,
    settings: Settings = Settings(),
    include: Sequence[Path] = (),
    *,
    journal: Path | None = None,
    progress: Callable[[Progress], None] = lambda progress: None,
    check: StartCheck | None = None,
) -> Measurement | None:
    """Measure one task on one model; return None if other workers still have chunks to score.

    `journal` is a folder that keeps finished chunks, so that an interrupted run resumes. `check`
    measures what the model loses where the protocol leaves out its start token.
    """
    window = protocols.window(task, model, settings.context, settings.stride)
    detokenizer = load_detokenizer(task.detokenizer, include) if task.detokenizer else None
    report = RoundTrip()
    records = head(corpus.records, settings.limit, stream=task.format == "stream")
    passages = prepare(task, records, detokenizer, report)
    place = f"task {task.full_name}: {corpus.origin}"
    kept = fit.kept(place, detokenizer, report, allowed=settings.allow_kept)
    encoded, lossy = _encode(model, task, passages)
    if lossy and not settings.allow_lossy:
        _refuse_lossy(task)
    identity = registry.identity_of(model)
    budget = settings.budget(window.context, identity.device)
    words = loader.load_filter(task, include) if isinstance(model, FindsBestWords) else None
    protocol = protocols.fields(
        task,
        model,
        corpus,
        settings.limit,
        window,
        detokenizer,
        words,
        lossy=lossy,
        kept=kept,
    )
    if settings.expected is not None:
        protocols.check(task, protocol, settings.expected, identity.tokenizer)
    identity = replace(identity, batch=str(budget))
    work = TaskWork.for_task(task, encoded, window, budget, identity.device)
    opened = _open_journal(journal, task, work, words, protocol, identity) if journal else None
    outcome = work.score(model, opened, settings.worker, progress, words)
    if outcome is None:
        return None
    parts = metrics.tallies(outcome.passages, per_token=task.normalize == "tokens")
    if opened:
        opened.write_tallies(parts)
    record = RECORDS.get(task.format, "record")
    independent = clusters(outcome.passages, parts, record)
    estimates = [metrics.measure(name, parts, task.unit, independent) for name in task.metrics]
    result = _result(task, corpus, protocol, identity, parts, estimates, report, outcome.nll_sha256)
    if check:
        result = replace(result, start_loss=start_loss(check, task, model, window, work, opened))
    return Measurement(result, parts)


def _open_journal(
    folder: Path,
    task: Task,
    work: TaskWork,
    words: Filter | None,
    protocol: ProtocolFields,
    identity: ModelIdentity,
) -> Journal:
    """Open the journal whose key covers everything that the numbers depend on."""
    decides = {
        "task": task.full_name,
        "plan": work.digest(),
        "words": words and words.sha256,
        "version": __version__,
    }
    decides |= asdict(protocol) | identity.stated()
    return Journal.open(folder, decides, len(work.chunks))


def _refuse_lossy(task: Task) -> None:
    """Raise UsageError for bits per byte of tokens that do not tile the bytes.

    The rule does not apply to protocols that read special tokens in the text.
    """
    if task.specials != "tokens" and {"bpb", "bpc"} & set(task.metrics):
        raise UsageError(
            f"task {task.full_name}: the model's tokens do not tile the text's bytes, so bits per "
            "byte would not describe this text; --allow-lossy reports them anyway"
        )


def prepare(
    task: Task,
    records: Sequence[Record],
    detokenizer: Detokenizer | OneWaySteps | None,
    report: RoundTrip,
) -> list[Passage]:
    """Return the passages of a task as detokenized text.

    The report counts the text of each record once, whatever the number of its choices.
    """
    join = {"newline": "\n", "space": " "}[task.join]
    return [
        detokenize_passage(
            passage,
            detokenizer,
            join=join,
            lead=task.lead,
            report=report if passage.right else None,
        )
        for record in records
        for passage in ask(task.ask, record, alone=len(records) == 1)
    ]


def _encode(model: Model, task: Task, passages: Sequence[Passage]) -> tuple[list[Encoded], bool]:
    """Return the passages' tokens, and whether any do not tile their text.

    With `start: eot+own`, the token that the tokenizer puts before every text is one more
    scored token.
    """
    texts = [passage.text for passage in passages]
    encodings = encode_texts(model, texts, specials=task.specials == "tokens")
    own = protocols.added(model) if task.start == "eot+own" else None
    prefix = np.array([] if own is None else [own], np.int32)
    encoded = [
        Encoded(p, np.concatenate([prefix, e.ids]), np.concatenate([0 * prefix, e.ends]))
        for p, e in zip(passages, encodings, strict=True)
    ]
    return encoded, any(e.lossy for e in encodings)


def _result(
    task: Task,
    corpus: Corpus,
    protocol: ProtocolFields,
    identity: ModelIdentity,
    parts: Sequence[Tally],
    estimates: Sequence[Estimate],
    report: RoundTrip,
    nll_sha256: str,
) -> Result:
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
    )


def _published_row(shape: str) -> str:
    """Return the row of the published table whose model has a shape, or ""."""
    rows = loader.load_suite(PAPER).models
    return next((row for row, published in rows.items() if published == shape), "")
