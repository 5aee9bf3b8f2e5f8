"""The command `gpt2eval run`."""

from pathlib import Path
from typing import Any

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
from gpt2eval.cli.report import FormatName, print_table
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
    device: Device = "auto",
    dtype: Dtype = "float32",
    attn: Attn = None,
    batch_size: BatchSize = None,
    shard: Shard = None,
    device_map: DeviceMap = None,
    tp: TensorParallel = None,
    out: Out = Path("results"),
    word_starts: WordStarts = False,
    form: FormatName = None,
    signatures: Signatures = False,
    dry_run: DryRun = False,
    flops: CountFlops = False,
) -> None:
    """Score tasks and your own texts on models; print a table.

    Without arguments, the command scores the embedded demo model on the embedded records.
    """
    folders = include or ()
    files = data_files(data, folders)
    texts = own_texts(text, unit, detokenizer, folders, size(max_size))
    if flops and not dry_run:
        raise UsageError("--flops: counts the operations of a plan; expected --dry-run with it")
    from gpt2eval import pipeline
    from gpt2eval.cli.incomplete import report_incomplete
    from gpt2eval.cli.progress import bars
    from gpt2eval.models.memory.recall import check_names
    from gpt2eval.models.server.address import shown_name
    from gpt2eval.planning import jobs
    from gpt2eval.scoring import workers
    from gpt2eval.settings import Worker

    launched = workers.worker_of_launcher()
    worker = workers.worker_of_shard(shard) if shard else Worker() if tp else launched
    is_first = launched.rank == 0 or bool(shard and not tp)
    models = each_model(model or ["demo"], name, revisions)
    for each, called in models:
        check_names(each, called)  # of the last model, too, before the first one is scored
    requested = jobs.listed(tasks, texts)
    arguments: dict[str, Any] = {
        "texts": texts,
        "data": files,
        "out": out,
        "settings": settings(ctx.params, worker=worker),
        "options": load_options(ctx.params),
        "include": folders,
    }
    if dry_run:
        from gpt2eval.analysis.dry_run import plan_run
        from gpt2eval.cli.dry_run import print_plans

        plans = [
            plan_run(each, requested, name=called, count_flops=flops, **arguments)
            for each, called in models
        ]
        print_plans(plans, form)
        return
    results = []
    for each, called in models:
        LOGGER.info("scoring %s; results go to %s", shown_name(each), out)
        with bars(hidden=not is_first) as show_progress:
            results += pipeline.evaluate(
                each,
                requested,
                name=called,
                progress=show_progress,
                wait=(lambda: False) if shard or tp else workers.wait_for_workers,
                **arguments,
            )
    if not is_first:
        return
    if results:
        print_table(
            results,
            pipeline.suite_of(tasks, folders),
            folders,
            form=form,
            mixed=True,
            signatures=signatures,
        )
    text_tasks = [text_task.task.full_name for text_task in texts]
    names = [called or shown_name(each).removeprefix("hf:") for each, called in models]
    report_incomplete(out, names, requested, text_tasks, folders, shard)
