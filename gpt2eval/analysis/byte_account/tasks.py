"""Certify the bytes of tasks and of your own texts on a model."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from gpt2eval.analysis.byte_account.account import ByteAccount
from gpt2eval.analysis.byte_account.certify import Certifier
from gpt2eval.analysis.byte_account.spellings import spellings
from gpt2eval.config.loader import select_tasks
from gpt2eval.data.custom import Text
from gpt2eval.data.local import Data, local_files
from gpt2eval.models import identified
from gpt2eval.models.memory.recall import check_names, load_backend
from gpt2eval.models.options import LoadOptions
from gpt2eval.pipeline import undisturbed
from gpt2eval.planning.batch import BatchChoice
from gpt2eval.planning.jobs import load_jobs
from gpt2eval.planning.task_plan import TaskPlan, plan_task
from gpt2eval.report import store
from gpt2eval.report.writer import ResultWriter
from gpt2eval.scoring.token_rows import token_table
from gpt2eval.settings import Settings
from gpt2eval.types import Model, Progress

Show = Callable[[Progress], None]


class Place(NamedTuple):
    """Where the chunks of a task are kept: a journal's folder, and those of other models."""

    journal: Path
    elsewhere: Sequence[Path]


@undisturbed()
def check_bytes(
    model: str | Model,
    tasks: str | Sequence[str] = (),
    *,
    texts: str | Path | Sequence[str | Path | Text] = (),
    data: Data = None,
    out: Path | str | None = None,
    settings: Settings = Settings(),
    options: LoadOptions = LoadOptions(),
    include: Sequence[Path] = (),
    progress: Show = lambda progress: None,
) -> list[ByteAccount]:
    """Score tasks and texts on a model, and account for every byte of every scored token.

    Args:
        model: A name or a backend, as for `evaluate`.
        tasks: Names of tasks, variants or suites.
        texts: Your own texts, as for `evaluate`.
        data: Local file of each task, as for `evaluate`.
        out: A folder of results. What a run has scored there is not scored again, and its token
            table is the one that is checked. What is missing is scored into it.
        settings: Changes to the protocols.
        options: How to load the model.
        include: Folders with your own tasks and detokenizers.
        progress: Called with a `Progress` after every batch.

    Returns:
        One account for each task and text, in order; `is_certified` tells whether it is proven.

    Raises:
        UsageError: As `evaluate`. Tokens that do not reproduce the text are no error: the account
            names the first of them.

    Examples:
        >>> from gpt2eval import demo
        >>> account = check_bytes("toy:uniform-bytes", "text8", data=demo.data())[0]
        >>> account.verdict, round(account.bits_per(account.scored_bytes), 9)
        ('certified', 8.0)
    """
    settings.check()
    chosen = select_tasks(tasks, include) if tasks else []
    files = local_files(data, include, model)
    check_names(model, None)
    if out is not None:
        store.check_writable(Path(out))
    jobs = load_jobs(chosen, files, texts, settings, include)
    backend = load_backend(model, options)
    writer = ResultWriter(Path(out), identified.identity_of(backend)) if out is not None else None
    places = [
        Place(writer.journal(job.task), writer.other_journals(job.task)) if writer else None
        for job in jobs
    ]
    batch = BatchChoice(backend, settings, [place.journal for place in places if place])
    accounts = []
    for job, place in zip(jobs, places, strict=True):
        chosen_batch = batch.settings(place.journal if place else None)
        plan = plan_task(backend, *job, chosen_batch, include)
        accounts.append(account_of(backend, plan, place, progress))
    return accounts


def account_of(
    model: Model,
    plan: TaskPlan,
    place: Place | None = None,
    progress: Show = lambda progress: None,
    facts: Sequence[tuple[str, str]] = (),
) -> ByteAccount:
    """Score planned work, and account for its bytes.

    `place` keeps the chunks. If it also keeps the token table of a finished run, that table is
    checked; otherwise the one that a run would keep.
    """
    known, problem = spellings(model, [encoded.ids for encoded in plan.work.encoded])
    opened = plan.journal(*place) if place else None
    if opened:
        opened.open(plan.identity.name, plan.decides())
    resumed = plan.tokens_done(opened) if opened else 0
    outcome = plan.work.score(
        model,
        opened,
        on_progress=lambda report: progress(report._replace(resumed=resumed)),
        words=plan.words,
    )
    assert outcome, "a single worker scores every chunk"
    table = opened.files.read_tokens() if opened else None
    if table is None:
        table = token_table(plan.work.encoded, plan.work.ranges, outcome.sheet)
    return Certifier(plan, outcome, table, known, problem).account(facts)
