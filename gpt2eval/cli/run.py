"""The command `gpt2eval run`."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from gpt2eval.cli.arguments import (
    data_files,
    each_revision,
    load_options,
    own_texts,
    settings,
    size,
)
from gpt2eval.cli.options import (
    COMPUTE,
    DATA,
    MODEL,
    PROTOCOL,
    TASKS,
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
    flag,
    option,
)
from gpt2eval.config.catalog import PAPER
from gpt2eval.notices import LOGGER

Models = Annotated[
    Optional[list[str]],
    option(
        MODEL,
        metavar="MODEL",
        text="Hub id, folder, SCHEME:REST, MODULE:FACTORY, or 'demo' (default). Repeatable.",
    ),
]
Revisions = Annotated[
    Optional[str],
    option(MODEL, metavar="REVS", text="Revisions to score, separated by commas."),
]
TrustRemoteCode = Annotated[
    bool, flag(MODEL, "trust-remote-code", "Run code that comes with the model.")
]
OptionalTasks = Annotated[
    Optional[str],
    option(DATA, metavar="TASKS", text=f"{TASKS} Default: {PAPER}; with --text: none."),
]
OwnTexts = Annotated[
    Optional[list[str]],
    option(
        DATA,
        metavar="PLACE",
        text="Your own text: FILE (one stream), DIR (a document per file), FILE.jsonl:KEY, "
        "FILE.parquet:COLUMN or jsonl:KEY:FILE. Repeatable.",
    ),
]
UnitName = Annotated[
    Optional[str],
    option(
        DATA,
        metavar="UNIT",
        text="Denominator for --text: word (default), word+eol, byte or char.",
    ),
]
DetokenizerName = Annotated[
    Optional[str],
    option(
        DATA,
        metavar="NAME",
        text="Detokenizer for --text; 'gpt2eval ls' lists them. Default: none.",
    ),
]
ContextSize = Annotated[
    Optional[int],
    option(
        PROTOCOL, metavar="N", text="Window in tokens; default: the task's, at most the model's."
    ),
]
StrideSize = Annotated[
    Optional[int],
    option(PROTOCOL, metavar="N", text="New tokens scored per window; default: the context."),
]
AllowLossy = Annotated[
    bool,
    flag(
        PROTOCOL,
        "allow-lossy",
        "Report bits per byte even if the tokens do not reproduce the text.",
    ),
]
Shard = Annotated[
    Optional[str],
    option(
        COMPUTE,
        metavar="I/N",
        text="Score the I-th of N shards; all shards share --out.",
    ),
]
DeviceMap = Annotated[
    Optional[str],
    option(COMPUTE, metavar="MAP", text="Spread the layers over several devices: auto."),
]
TensorParallel = Annotated[
    Optional[int],
    option(COMPUTE, metavar="N", text="Split tensors over N processes; run under torchrun."),
]


def run(
    ctx: typer.Context,
    model: Models = None,
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
    signatures: Signatures = False,
) -> None:
    """Score tasks and your own texts on models; print a table.

    Without arguments, the command scores the embedded demo model on the embedded records.
    """
    folders = include or ()
    files = data_files(data, folders)
    texts = own_texts(text, unit, detokenizer, folders, size(max_size))
    from gpt2eval import pipeline
    from gpt2eval.cli.incomplete import report_incomplete
    from gpt2eval.cli.progress import bars
    from gpt2eval.cli.report import print_table
    from gpt2eval.models.server.address import shown_name
    from gpt2eval.scoring import workers
    from gpt2eval.settings import Worker

    launched = workers.worker_of_launcher()
    worker = workers.worker_of_shard(shard) if shard else Worker() if tp else launched
    is_first = launched.rank == 0 or bool(shard and not tp)
    names = each_revision(model or ["demo"], revisions)
    requested = pipeline.listed(tasks, texts)
    results = []
    for name in names:
        LOGGER.info("scoring %s; results go to %s", shown_name(name), out)
        with bars(hidden=not is_first) as show_progress:
            results += pipeline.evaluate(
                name,
                requested,
                texts=texts,
                data=files,
                out=out,
                settings=settings(ctx.params, worker=worker),
                options=load_options(ctx.params),
                include=folders,
                progress=show_progress,
                wait=(lambda: False) if shard or tp else workers.wait_for_workers,
            )
    if not is_first:
        return
    if results:
        print_table(
            results, pipeline.suite_of(tasks, folders), folders, mixed=True, signatures=signatures
        )
    text_tasks = [text_task.task.full_name for text_task in texts]
    report_incomplete(out, names, requested, text_tasks, folders, shard)
