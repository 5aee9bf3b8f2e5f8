"""The command `gpt2eval run`."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from gpt2eval.cli.arguments import (
    data_files,
    each_model,
    load_options,
    own_texts,
    settings,
    size,
)
from gpt2eval.cli.options import (
    AllowKept,
    ApiKeyFile,
    ApiMaxAnswer,
    ApiTimeout,
    Attn,
    BatchSize,
    Cache,
    Data,
    Device,
    Dtype,
    Include,
    Limit,
    MaxSize,
    Out,
    Peft,
    Quantization,
    Revision,
    Signatures,
    StrictData,
    TokenizerOption,
)
from gpt2eval.cli.report import FormatName, check_table_format, print_table
from gpt2eval.cli.run_options import (
    AllowLossy,
    ContextSize,
    CountFlops,
    DetokenizerName,
    DeviceMap,
    DryRun,
    Models,
    Names,
    OptionalTasks,
    OwnTexts,
    Revisions,
    Shard,
    StrideSize,
    TensorParallel,
    TrustRemoteCode,
    UnitName,
    WordStarts,
)
from gpt2eval.errors import UsageError
from gpt2eval.notices import LOGGER

if TYPE_CHECKING:
    from gpt2eval.metrics.result import Result
    from gpt2eval.settings import Worker


def run(
    ctx: typer.Context,
    model: Models = None,
    name: Names = None,
    revision: Revision = None,
    revisions: Revisions = None,
    tokenizer: TokenizerOption = None,
    peft: Peft = None,
    quantization: Quantization = None,
    api_key_file: ApiKeyFile = None,
    api_timeout: ApiTimeout = None,
    api_max_answer: ApiMaxAnswer = None,
    trust_remote_code: TrustRemoteCode = False,
    tasks: OptionalTasks = None,
    data: Data = None,
    text: OwnTexts = None,
    unit: UnitName = None,
    detokenizer: DetokenizerName = None,
    cache: Cache = None,
    max_size: MaxSize = None,
    include: Include = None,
    strict_data: StrictData = False,
    limit: Limit = None,
    context: ContextSize = None,
    stride: StrideSize = None,
    allow_lossy: AllowLossy = False,
    allow_kept: AllowKept = False,
    word_starts: WordStarts = False,
    device: Device = "auto",
    dtype: Dtype = "float32",
    attn: Attn = None,
    batch_size: BatchSize = None,
    shard: Shard = None,
    device_map: DeviceMap = None,
    tp: TensorParallel = None,
    out: Out = Path("results"),
    form: FormatName = None,
    signatures: Signatures = False,
    dry_run: DryRun = False,
    flops: CountFlops = False,
) -> None:
    """Score tasks and your own texts on models; print a table.

    Without arguments, the command scores the embedded demo model on the embedded records.
    """
    if flops and not dry_run:
        raise UsageError("--flops: counts the operations of a plan; expected --dry-run with it")
    if form is not None:
        check_table_format(form)
    from gpt2eval.planning.jobs import listed

    folders = include or ()
    texts = own_texts(text, unit, detokenizer, folders, size(max_size))
    share = _share(shard, tp)
    work = _Work(
        each_model(model or ["demo"], name, revisions),
        listed(tasks, texts),
        {
            "texts": texts,
            "data": data_files(data, folders),
            "out": out,
            "settings": settings(ctx.params, worker=share.worker),
            "options": load_options(ctx.params),
            "include": folders,
        },
    )
    _check_names(work)
    if dry_run:
        _print_plans(work, form, count_flops=flops)
        return
    results = _scored(work, share)
    if share.prints:
        if results:
            _print_results(results, tasks, folders, form, signatures=signatures)
        _report_incomplete(work, shard)


class _Share(NamedTuple):
    """What this process does of the work, and whether it prints the results.

    `wait` waits for the other processes, and returns whether to look for their chunks again.
    """

    worker: "Worker"
    prints: bool
    wait: Callable[[], bool]


def _share(shard: str | None, tp: int | None) -> _Share:
    from gpt2eval.scoring import workers
    from gpt2eval.settings import Worker

    launched = workers.worker_of_launcher()
    prints = launched.rank == 0 or bool(shard and not tp)
    if not shard and not tp:
        return _Share(launched, prints, workers.wait_for_workers)
    # The processes of --tp compute each batch together, and a shard does not wait for others.
    worker = workers.worker_of_shard(shard) if shard else Worker()
    return _Share(worker, prints, lambda: False)


class _Work(NamedTuple):
    """The models with their chosen names, the tasks, and the arguments that all models share."""

    models: Sequence[tuple[str, str | None]]
    tasks: str | Sequence[str]
    arguments: Mapping[str, Any]


def _check_names(work: _Work) -> None:
    """Raise UsageError for a wrong name, of the last model too, before the first one is scored."""
    from gpt2eval.models.memory.recall import check_names

    for model, name in work.models:
        check_names(model, name)


def _print_plans(work: _Work, form: str | None, *, count_flops: bool) -> None:
    from gpt2eval.analysis.dry_run import plan_run
    from gpt2eval.cli.dry_run import print_plans

    plans = [
        plan_run(model, work.tasks, name=name, count_flops=count_flops, **work.arguments)
        for model, name in work.models
    ]
    print_plans(plans, form)


def _scored(work: _Work, share: _Share) -> "list[Result]":
    """Score the tasks on one model after the other."""
    from gpt2eval import pipeline
    from gpt2eval.cli.progress import bars
    from gpt2eval.models.server.address import shown_name

    results: list[Result] = []
    for model, name in work.models:
        LOGGER.info("scoring %s; results go to %s", shown_name(model), work.arguments["out"])
        with bars(hidden=not share.prints) as show_progress:
            results += pipeline.evaluate(
                model,
                work.tasks,
                name=name,
                progress=show_progress,
                wait=share.wait,
                **work.arguments,
            )
    return results


def _print_results(
    results: "Sequence[Result]",
    tasks: str | None,
    include: Sequence[Path],
    form: str | None,
    *,
    signatures: bool,
) -> None:
    from gpt2eval import pipeline

    suite = pipeline.suite_of(tasks, include)
    print_table(results, suite, include, form=form, mixed=True, signatures=signatures)


def _report_incomplete(work: _Work, shard: str | None) -> None:
    from gpt2eval.cli.incomplete import report_incomplete
    from gpt2eval.models.server.address import shown_name

    arguments = work.arguments
    texts = [text.task.full_name for text in arguments["texts"]]
    names = [name or shown_name(model).removeprefix("hf:") for model, name in work.models]
    report_incomplete(arguments["out"], names, work.tasks, texts, arguments["include"], shard)
