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
from gpt2eval.cli.report import FormatName, check_table_format
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
)
from gpt2eval.cli.run_steps import (
    Work,
    check_all_names,
    print_all_plans,
    print_results,
    report_missing,
    score_all,
    share_of,
)
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
    share = share_of(shard, tp)
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
    check_all_names(work)
    if dry_run:
        print_all_plans(work, form, count_flops=flops)
        return
    results = score_all(work, share)
    if share.prints:
        if results:
            print_results(results, tasks, folders, form, signatures=signatures)
        report_missing(work, shard)
