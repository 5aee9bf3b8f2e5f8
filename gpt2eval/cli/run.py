"""The command `gpt2eval run`."""

from pathlib import Path

import typer

from gpt2eval.cli.arguments import (
    data_files,
    each_model,
    load_options,
    own_texts,
    settings,
    size,
)
from gpt2eval.cli.groups import print_groups
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
    Track,
)
from gpt2eval.cli.report import (
    Decimals,
    FormatName,
    ScoreOnly,
    Short,
    check_decimals,
    check_one_number,
    check_table_format,
    print_table,
)
from gpt2eval.cli.run_options import (
    AllowLossy,
    ContextSize,
    CountFlops,
    DetokenizerName,
    DeviceMap,
    DryRun,
    GroupColumn,
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
from gpt2eval.cli.run_work import Share, Work
from gpt2eval.errors import UsageError


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
    group: GroupColumn = None,
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
    short: Short = False,
    score_only: ScoreOnly = False,
    width: Decimals = None,
    track: Track = None,
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
    check_decimals(width)
    from gpt2eval import pipeline
    from gpt2eval.planning.jobs import listed

    folders = include or ()
    texts = own_texts(text, unit, detokenizer, folders, size(max_size), group)
    share = Share.of(shard, tp)
    work = Work(
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
    work.check_names()
    if score_only:
        check_one_number(work.models, work.tasks, texts, folders)
    if dry_run:
        work.print_plans(form, count_flops=flops)
        return
    results = work.score(share, track or ())
    if not share.prints:
        return
    if results:
        print_table(
            results,
            pipeline.suite_of(tasks, folders),
            folders,
            form=form,
            mixed=True,
            signatures=signatures,
            short=short,
            score_only=score_only,
            places=width,
        )
        if not score_only:
            print_groups(results, form, places=width)
    work.report_incomplete(shard)
