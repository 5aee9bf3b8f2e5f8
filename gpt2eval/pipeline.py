"""The main job, top to bottom: published text, detokenizer, model, log-likelihood per unit, result."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gpt2eval import demo
from gpt2eval.config import catalog, loader
from gpt2eval.config.loader import PAPER, select_tasks
from gpt2eval.config.schema import Task
from gpt2eval.data import corpus
from gpt2eval.data.corpus import file_of
from gpt2eval.data.custom import Text, load_texts
from gpt2eval.data.records import Corpus
from gpt2eval.errors import UsageError, unknown
from gpt2eval.files import write_atomic
from gpt2eval.metrics import metrics
from gpt2eval.metrics import protocol as protocols
from gpt2eval.metrics.protocol import ProtocolFields
from gpt2eval.metrics.result import DataIdentity, Figures, Result, RoundTripCounts
from gpt2eval.metrics.signature import signature
from gpt2eval.models import registry
from gpt2eval.models.options import LoadOptions
from gpt2eval.report import results, tidy
from gpt2eval.scoring.execute import TaskWork
from gpt2eval.scoring.journal import Journal
from gpt2eval.text.detokenizer import Detokenizer, OneWaySteps, RoundTrip
from gpt2eval.text.loader import load_detokenizer
from gpt2eval.text.passages import ASK, head
from gpt2eval.text.prepare import detokenize_passage
from gpt2eval.types import (
    Encoded,
    EncodesSpecials,
    FindsBestWords,
    Model,
    ModelIdentity,
    Passage,
    Progress,
    Record,
    Tally,
    Worker,
)
from gpt2eval.version import __version__

BUDGETS = {"cpu": 1024, "cuda": 32768, "api": 16384}


class Settings(NamedTuple):
    """What a run may change of a task's protocol, and how it is computed; None leaves it as the task says.

    `batch_size` is in windows: a forward pass takes up to `batch_size` x context tokens (1,024 tokens by default,
    32,768 on a GPU); `tokens` says it outright. `expected` is what the signature must say of the protocol, `cache` the
    folder of published data.
    """

    limit: int | None = None
    context: int | None = None
    stride: int | None = None
    batch_size: int | None = None
    strict_data: bool = False
    allow_lossy: bool = False
    worker: Worker = Worker()
    tokens: int | None = None
    expected: Mapping[str, str] | None = None
    cache: Path | None = None

    def budget(self, context: int, model: Model) -> int:
        """Tokens in a forward pass."""
        if self.tokens or self.batch_size:
            return self.tokens or (self.batch_size or 1) * context
        return max(context, BUDGETS.get(registry.identity_of(model).device.partition(":")[0], 1024))

    def check(self) -> None:
        """Raise UsageError for a number below 1."""
        for name in ("limit", "context", "stride", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(
                    f"--{name.replace('_', '-')} {value}: expected a whole number of 1 or more"
                )


class Measurement(NamedTuple):
    """A result, and the tallies that it is the sum of: one per record, or per part of the only one, in order."""

    result: Result
    parts: list[Tally]


def evaluate(
    model: str | Model = "demo",
    tasks: str | Sequence[str] | None = None,
    *,
    texts: str | Path | Sequence[str | Path | Text] = (),
    data: Mapping[str, Path | str] | None = None,
    out: Path | str | None = None,
    settings: Settings = Settings(),
    options: LoadOptions = LoadOptions(),
    include: Sequence[Path] = (),
    watch: Callable[[Progress], None] = lambda progress: None,
    meet: Callable[[], bool] = lambda: False,
) -> list[Result]:
    """Measure tasks on a model, and return a result for each; with `out`, write each as soon as it is made, and resume.

    `model` is a name (`gpt2`, a folder, `toy:uniform-bytes`, `module:Factory`) or a backend; `tasks` are names of
    tasks, variants (`wikitext103/s32`) or suites, and `texts` are of one's own, as `run --text` takes them or as
    `load_text` gives them; where neither is given, the paper's columns are measured. `data` maps tasks to local files;
    without it the published data is loaded, but for the demo model, which has its own records. Where `settings.worker`
    is one of several, they share `out`; a task of which units are missing has no result, and `meet` waits for the others
    and says whether to look again.

    >>> from gpt2eval import evaluate
    >>> result = evaluate("toy:uniform-bytes", ["text8"], data={"text8": demo.data()["text8"]})[0]
    >>> round(result.primary.value, 9)
    8.0

    Raises UsageError for whatever the user can mend. Source: issue 2.
    """
    settings.check()
    if settings.worker.world > 1 and out is None:
        raise UsageError("several workers: expected an out folder that all of them share")
    chosen = select_tasks(listed(tasks, texts), include)
    if data is None and model == "demo":
        data = demo.data()
    files = {name: Path(path) for name, path in (data or {}).items()}
    known = catalog.files("tasks", include)
    if unnamed := [name for name in files if name.partition("/")[0] not in known]:
        raise unknown("task in --data", unnamed[0], known)
    if out is not None:
        results.check_writable(Path(out))
    strict = settings.strict_data
    asked = [
        (t, corpus.load_corpus(t, file_of(t, files), strict=strict, cache=settings.cache))
        for t in chosen
    ]
    asked += ((own.task, own.read(strict=strict)) for own in load_texts(texts, include))
    names = [task.full_name for task, _ in asked]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(
            f"task {twice[0]}: asked for twice; expected names that differ, or a run for each"
        )
    backend = registry.load_model(model, options) if isinstance(model, str) else model
    identity = registry.identity_of(backend)

    def run(task: Task, published_text: Corpus) -> Result | None:
        folder = (
            results.result_folder(Path(out), identity.name, task.full_name)
            if out is not None
            else None
        )
        made = measure(
            backend,
            task,
            published_text,
            settings,
            include,
            journal=folder and folder / "journal",
            watch=watch,
        )
        if made and folder and out is not None:
            results.write_result(folder, made.result)
            if task.format == "documents":
                rows = tidy.documents(
                    made.parts, bits="bpb" in task.metrics or not made.result.protocol.tokens
                )
                write_atomic(folder / "documents.csv", rows.to_csv(index=False).encode())
            write_atomic(
                Path(out) / "results.csv",
                tidy.tidy(results.read_results([Path(out)])).to_csv(index=False).encode(),
            )
        return made and made.result

    made = [run(task, published_text) for task, published_text in asked]
    if meet() and None in made:
        made = [
            done or run(task, published_text)
            for done, (task, published_text) in zip(made, asked, strict=True)
        ]
    return [result for result in made if result]


def listed(
    tasks: str | Sequence[str] | None, texts: str | Path | Sequence[str | Path | Text] = ()
) -> str | Sequence[str]:
    """The names of tasks that are asked for: where none are, and no texts of one's own, the paper's."""
    if tasks is None:
        return () if texts else PAPER
    return tasks


def measure(
    model: Model,
    task: Task,
    published_text: Corpus,
    settings: Settings = Settings(),
    include: Sequence[Path] = (),
    *,
    journal: Path | None = None,
    watch: Callable[[Progress], None] = lambda progress: None,
) -> Measurement | None:
    """One task on one model; None where other workers' units of it are still missing.

    With `journal`, a folder, finished units are kept there and found again.
    """
    window = protocols.window(task, model, settings.context, settings.stride)
    detokenizer = load_detokenizer(task.detokenizer, include) if task.detokenizer else None
    report = RoundTrip()
    passages = prepare(
        task,
        head(published_text.records, settings.limit, stream=task.format == "stream"),
        detokenizer,
        report,
    )
    encoded, lossy = _encode(model, task, passages)
    theirs = task.specials == "tokens"  # a protocol of another tool, which looks at no bytes
    if lossy and not (settings.allow_lossy or theirs) and {"bpb", "bpc"} & set(task.metrics):
        raise UsageError(
            f"task {task.full_name}: the model's tokens do not tile the text's bytes, so bits per byte would not be "
            "those of this text; --allow-lossy reports them all the same"
        )
    budget = settings.budget(window.context, model)
    words = loader.load_filter(task, include) if isinstance(model, FindsBestWords) else None
    protocol = protocols.fields(
        task, published_text, settings.limit, window, detokenizer, words, lossy=lossy
    )
    if settings.expected is not None:
        protocols.check(task, protocol, settings.expected)
    identity = replace(registry.identity_of(model), batch=str(budget))
    work = TaskWork.for_task(task, encoded, window, budget)
    decides = {
        "task": task.full_name,
        "plan": work.digest(),
        "words": words and words.sha256,
        "version": __version__,
    }
    kept = journal and Journal.open(
        journal, decides | asdict(protocol) | identity.stated(), len(work.chunks)
    )
    outcome = work.score(model, kept, settings.worker, watch, words)
    if outcome is None:
        return None
    parts = metrics.tallies(outcome.passages, per_token=task.normalize == "tokens")
    if kept:
        kept.write_tallies(parts)
    return Measurement(
        _result(task, published_text, protocol, identity, parts, report, outcome.nll_sha256), parts
    )


def prepare(
    task: Task,
    records: Sequence[Record],
    detokenizer: Detokenizer | OneWaySteps | None,
    report: RoundTrip,
) -> list[Passage]:
    """The passages that a task makes of records, in fair text; the report counts each record's text once."""
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
        for passage in ASK[task.ask](record)
    ]


def _encode(model: Model, task: Task, passages: Sequence[Passage]) -> tuple[list[Encoded], bool]:
    """The passages' tokens; `eot+own` puts the token that the tokenizer adds by itself before each, to be scored like any."""
    encode = model.encode
    if task.specials == "tokens" and isinstance(model, EncodesSpecials):
        encode = model.encode_specials
    encodings = [encode(passage.text) for passage in passages]
    own = protocols.added(model) if task.start == "eot+own" else None
    added = np.array([] if own is None else [own], np.int32)
    encoded = [
        Encoded(p, np.concatenate([added, e.ids]), np.concatenate([0 * added, e.ends]))
        for p, e in zip(passages, encodings, strict=True)
    ]
    return encoded, any(e.lossy for e in encodings)


def _result(
    task: Task,
    published_text: Corpus,
    protocol: ProtocolFields,
    identity: ModelIdentity,
    parts: Sequence[Tally],
    report: RoundTrip,
    nll_sha256: str,
) -> Result:
    estimates = [metrics.measure(name, parts, task.unit) for name in task.metrics]
    return Result(
        task=task.name,
        variant=task.variant,
        title=task.title,
        metrics={
            e.name: e.signed(
                signature(
                    task.full_name,
                    protocol.stated(),
                    f"{e.unit}@{e.units}",
                    identity,
                    __version__,
                )
            )
            for e in estimates
        },
        tally=Tally.total(parts),
        nll_sha256=nll_sha256,
        model=identity,
        data=DataIdentity(published_text.sha256, published_text.published, published_text.origin),
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
