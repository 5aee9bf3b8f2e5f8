"""The commands that load models: run, watch, rerun, explain. `cli.py` names them."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from gpt2eval.cli.options import (
    PAPER,
    TASKS,
    ApiKeyFile,
    Attn,
    BatchSize,
    Cache,
    Data,
    Device,
    Dtype,
    Include,
    Limit,
    Out,
    Peft,
    Quantization,
    Revision,
    Tasks,
    TokenizerOption,
    files_of,
    named,
    texts_of,
)
from gpt2eval.notices import notify


def run(
    model: Annotated[
        Optional[list[str]],
        typer.Option(
            help="Hub id, folder, scheme:rest (see README), module:Factory, or 'demo' (default). May be repeated."
        ),
    ] = None,
    tasks: Annotated[
        Optional[str],
        typer.Option(help=f"{TASKS} Default: {PAPER}, or with --text none.", show_default=False),
    ] = None,
    data: Data = None,
    text: Annotated[
        Optional[list[str]],
        typer.Option(
            help="A text of your own: FILE (one stream), DIR (each file a document), FILE.jsonl:KEY, FILE.parquet:COLUMN, or "
            "jsonl:KEY:FILE. May be repeated."
        ),
    ] = None,
    unit: Annotated[
        Optional[str],
        typer.Option(help="What --text is divided by: word (default), word+eol, byte, char."),
    ] = None,
    detokenizer: Annotated[
        Optional[str],
        typer.Option(
            help="What --text is detokenized by ('gpt2eval ls' lists them); nothing by default."
        ),
    ] = None,
    cache: Cache = None,
    limit: Limit = None,
    out: Out = Path("results"),
    batch_size: BatchSize = None,
    context: Annotated[
        Optional[int],
        typer.Option(help="Window in tokens; the task's (at most the model's) by default."),
    ] = None,
    stride: Annotated[
        Optional[int], typer.Option(help="Tokens newly scored per window; the context by default.")
    ] = None,
    dtype: Dtype = "float32",
    device: Device = "auto",
    revision: Revision = None,
    revisions: Annotated[
        Optional[str],
        typer.Option(help="Several of them, separated by commas; M@step1000 in results."),
    ] = None,
    attn: Attn = None,
    tokenizer: TokenizerOption = None,
    peft: Peft = None,
    quantization: Quantization = None,
    api_key_file: ApiKeyFile = None,
    trust_remote_code: Annotated[
        bool, typer.Option(help="Run code that comes with the model.")
    ] = False,
    strict_data: Annotated[
        bool, typer.Option(help="Refuse data whose hash is not the published one.")
    ] = False,
    allow_lossy: Annotated[
        bool, typer.Option(help="Report bits per byte even if the tokens do not tile the text.")
    ] = False,
    shard: Annotated[
        Optional[str],
        typer.Option(help="I/N: do the I-th of N parts of the work; all share --out."),
    ] = None,
    device_map: Annotated[
        Optional[str], typer.Option(help="Spread a large model's layers over devices: auto.")
    ] = None,
    tp: Annotated[
        Optional[int], typer.Option(help="Split its tensors over N processes, under torchrun.")
    ] = None,
    include: Include = None,
) -> None:
    """Measure tasks and texts on one or more models; print the table. Without arguments: the demo model on its records."""
    files, texts = files_of(data, include or ()), texts_of(text, unit, detokenizer, include or ())
    from gpt2eval import pipeline
    from gpt2eval.cli.progress import bars
    from gpt2eval.config import loader
    from gpt2eval.config.catalog import files as files_of_kind
    from gpt2eval.config.loader import load_suite
    from gpt2eval.models.options import LoadOptions
    from gpt2eval.report.table import render
    from gpt2eval.scoring import journal, workers
    from gpt2eval.types import Worker

    launched = workers.worker_of_launcher()
    worker = workers.worker_of_shard(shard) if shard else Worker() if tp else launched
    settings = pipeline.Settings(
        limit, context, stride, batch_size, strict_data, allow_lossy, worker, cache=cache
    )
    options = LoadOptions(
        dtype,
        device,
        revision,
        attn,
        trust_remote_code,
        device_map,
        tp,
        tokenizer,
        peft,
        quantization,
        api_key_file,
    )
    first = launched.rank == 0 or bool(shard and not tp)
    names, listed, made = named(model or ["demo"], revisions), pipeline.listed(tasks, texts), []
    for one in names:
        with bars(hidden=not first) as watch:
            made += pipeline.evaluate(
                one,
                listed,
                texts=texts,
                data=files,
                out=out,
                settings=settings,
                options=options,
                include=include or (),
                progress=watch,
                wait=(lambda: False) if shard or tp else workers.wait_for_workers,
            )
    if not first:
        return
    if made:
        suite = tasks if tasks in files_of_kind("tasks/suites", include or ()) and tasks else PAPER
        print(render(made, load_suite(suite, include or ()), mixed=True))
    asked = {
        task.full_name
        for task in [*loader.select_tasks(listed, include or ()), *(own.task for own in texts)]
    }
    own = {name.removeprefix("hf:") for name in names}
    for line in journal.incomplete(
        [out], lambda decides: decides.get("task") in asked and decides.get("name") in own
    ):
        notify(f"{line}; the same command does them")


def watch(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="A training run's: checkpoint-STEP folders, ckpt*.pt, model_*.bin."
        ),
    ],
    tasks: Tasks = PAPER,
    data: Data = None,
    cache: Cache = None,
    limit: Limit = None,
    out: Out = Path("results"),
    batch_size: BatchSize = None,
    dtype: Dtype = "float32",
    device: Device = "auto",
    tokenizer: TokenizerOption = None,
    every: Annotated[
        float, typer.Option(help="Seconds between two looks; what did not change in them is taken.")
    ] = 10.0,
    once: Annotated[
        bool, typer.Option("--once", help="End when those that are there are scored.")
    ] = False,
    include: Include = None,
) -> None:
    """Score each checkpoint of a training run as it appears, in order of steps; print its numbers, draw the curves."""
    from gpt2eval.cli.progress import bars
    from gpt2eval.models.options import LoadOptions
    from gpt2eval.pipeline import Settings
    from gpt2eval.training import watch as watching

    files = files_of(data, include or ())
    settings, options = (
        Settings(limit, batch_size=batch_size, cache=cache),
        LoadOptions(dtype, device, tokenizer=tokenizer),
    )
    scored = watching.watch(
        folder,
        tasks,
        data=files,
        out=out,
        settings=settings,
        options=options,
        include=include or (),
        every=every,
        once=once,
        bars=bars,
    )
    for model, step, results in scored:
        for measured in (metric for result in results for metric in result.metrics.values()):
            print(
                "" if step is None else step,
                model,
                measured.name,
                f"{measured.value:.4f}",
                measured.signature,
                sep="\t",
                flush=True,
            )


def rerun(
    signature: Annotated[
        str, typer.Argument(help="A signature, whole or up to model:, in quotes.")
    ],
    model: Annotated[
        Optional[str], typer.Option(help="As for run; the signature's by default.")
    ] = None,
    data: Data = None,
    cache: Cache = None,
    out: Out = Path("results"),
    batch_size: BatchSize = None,
    dtype: Annotated[
        Optional[str], typer.Option(help="As for run; the signature's by default.")
    ] = None,
    device: Device = "auto",
    revision: Revision = None,
    attn: Attn = None,
    tokenizer: TokenizerOption = None,
    include: Include = None,
) -> None:
    """Measure by exactly the protocol of a signature; an error that names the fields where that is not possible."""
    from gpt2eval.analysis import reproduce as again
    from gpt2eval.cli.progress import bars
    from gpt2eval.config.loader import load_suite
    from gpt2eval.metrics.signature import read
    from gpt2eval.models.options import LoadOptions
    from gpt2eval.pipeline import Settings
    from gpt2eval.report.table import render

    options = LoadOptions(
        dtype or read(signature).get("dtype", "float32"),
        device,
        revision,
        attn,
        tokenizer=tokenizer,
    )
    settings, files = Settings(batch_size=batch_size, cache=cache), files_of(data, include or ())
    with bars() as watch:
        made = again.rerun(
            signature,
            model,
            data=files,
            out=out,
            settings=settings,
            options=options,
            include=include or (),
            watch=watch,
        )
    print(render(made, load_suite(PAPER), mixed=True))


def explain(
    model: Annotated[str, typer.Option(help="As for run.")] = "demo",
    task: Annotated[str, typer.Option(help="A task with a perplexity.")] = "wikitext103",
    protocols: Annotated[
        Optional[str], typer.Option(help="Only these variants, separated by commas.")
    ] = None,
    data: Data = None,
    cache: Cache = None,
    limit: Annotated[
        Optional[int], typer.Option(help="Only the first N lines of the text.")
    ] = None,
    out: Out = Path("results"),
    dtype: Dtype = "float32",
    device: Device = "auto",
    revision: Revision = None,
    tokenizer: TokenizerOption = None,
    include: Include = None,
) -> None:
    """Set every known protocol's perplexity of one model on one text side by side, and what each difference is worth."""
    from gpt2eval.analysis import explain as explaining
    from gpt2eval.cli.progress import bars
    from gpt2eval.models.options import LoadOptions
    from gpt2eval.pipeline import Settings

    with bars() as show_progress:
        explanation = explaining.explain(
            model,
            task,
            data=files_of(data, include or ()),
            protocols=protocols.split(",") if protocols else (),
            out=out,
            settings=Settings(limit=limit, cache=cache),
            options=LoadOptions(dtype, device, revision, tokenizer=tokenizer),
            include=include or (),
            progress=show_progress,
        )
    print(explanation)
