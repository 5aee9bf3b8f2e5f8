"""The commands that take long: run, watch, rerun, explain, overlap. `cli.py` names them."""

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from gpt2eval.options import (
    PAPER,
    ApiKeyFile,
    Attn,
    BatchSize,
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
    Tokenizer,
    files_of,
    named,
)


def run(
    model: Annotated[
        Optional[list[str]],
        typer.Option(help="Hub id, folder, scheme:rest (see README), module:Factory, or 'demo' (default). May be repeated."),
    ] = None,
    tasks: Tasks = PAPER,
    data: Data = None,
    limit: Limit = None,
    out: Out = Path("results"),
    batch_size: BatchSize = None,
    context: Annotated[
        Optional[int], typer.Option(help="Window in tokens; the task's (at most the model's) by default.")
    ] = None,
    stride: Annotated[Optional[int], typer.Option(help="Tokens newly scored per window; the context by default.")] = None,
    dtype: Dtype = "float32",
    device: Device = "auto",
    revision: Revision = None,
    revisions: Annotated[
        Optional[str], typer.Option(help="Several of them, separated by commas; M@step1000 in results.")
    ] = None,
    attn: Attn = None,
    tokenizer: Tokenizer = None,
    peft: Peft = None,
    quantization: Quantization = None,
    api_key_file: ApiKeyFile = None,
    trust_remote_code: Annotated[bool, typer.Option(help="Run code that comes with the model.")] = False,
    strict_data: Annotated[bool, typer.Option(help="Refuse data whose hash is not the published one.")] = False,
    allow_lossy: Annotated[bool, typer.Option(help="Report bits per byte even if the tokens do not tile the text.")] = False,
    shard: Annotated[Optional[str], typer.Option(help="I/N: do the I-th of N parts of the work; all share --out.")] = None,
    device_map: Annotated[Optional[str], typer.Option(help="Spread a large model's layers over devices: auto.")] = None,
    tp: Annotated[Optional[int], typer.Option(help="Split its tensors over N processes, under torchrun.")] = None,
    include: Include = None,
) -> None:
    """Measure tasks on one or more models; print the table. Without arguments: the demo model on its embedded records."""
    files = files_of(data, include or ())
    from gpt2eval import journal, pipeline
    from gpt2eval.catalog import files as files_of_kind
    from gpt2eval.models import Options, ranks
    from gpt2eval.progress import bars
    from gpt2eval.table import render
    from gpt2eval.tasks import load_suite
    from gpt2eval.types import Worker

    launched = ranks.of_launcher()
    worker = ranks.of_shard(shard) if shard else Worker() if tp else launched
    settings = pipeline.Settings(limit, context, stride, batch_size, strict_data, allow_lossy, worker)
    options = Options(
        dtype, device, revision, attn, trust_remote_code, device_map, tp, tokenizer, peft, quantization, api_key_file
    )
    first = launched.rank == 0 or bool(shard and not tp)
    names, made = named(model or ["demo"], revisions), []
    for one in names:
        with bars(hidden=not first) as watch:
            made += pipeline.evaluate(
                one,
                tasks,
                data=files,
                out=out,
                settings=settings,
                options=options,
                include=include or (),
                watch=watch,
                meet=(lambda: False) if shard or tp else ranks.meet,
            )
    if not first:
        return
    if made:
        suite = tasks if tasks in files_of_kind("tasks/suites", include or ()) else PAPER
        print(render(made, load_suite(suite, include or ()), mixed=True))
    asked = {task.full_name for task in pipeline.select(tasks, include or ())}
    own = {name.removeprefix("hf:") for name in names}
    for line in journal.incomplete([out], lambda decides: decides.get("task") in asked and decides.get("name") in own):
        print(f"gpt2eval: {line}; the same command does them", file=sys.stderr)


def watch(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A training run's: checkpoint-STEP folders, ckpt*.pt, model_*.bin.")
    ],
    tasks: Tasks = PAPER,
    data: Data = None,
    limit: Limit = None,
    out: Out = Path("results"),
    batch_size: BatchSize = None,
    dtype: Dtype = "float32",
    device: Device = "auto",
    tokenizer: Tokenizer = None,
    every: Annotated[float, typer.Option(help="Seconds between two looks; what did not change in them is taken.")] = 10.0,
    once: Annotated[bool, typer.Option("--once", help="End when those that are there are scored.")] = False,
    include: Include = None,
) -> None:
    """Score each checkpoint of a training run as it appears, in order of steps; print its numbers, draw the curves."""
    from gpt2eval import watch as watching
    from gpt2eval.models import Options
    from gpt2eval.pipeline import Settings
    from gpt2eval.progress import bars

    files = files_of(data, include or ())
    settings, options = Settings(limit, batch_size=batch_size), Options(dtype, device, tokenizer=tokenizer)
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
        for measured in (measured for result in results for measured in result.metrics):
            name, value = measured.metric[:2]
            print("" if step is None else step, model, name, f"{value:.4f}", measured.signature, sep="\t", flush=True)


def rerun(
    signature: Annotated[str, typer.Argument(help="A signature, whole or up to model:, in quotes.")],
    model: Annotated[Optional[str], typer.Option(help="As for run; the signature's by default.")] = None,
    data: Data = None,
    out: Out = Path("results"),
    batch_size: BatchSize = None,
    dtype: Annotated[Optional[str], typer.Option(help="As for run; the signature's by default.")] = None,
    device: Device = "auto",
    revision: Revision = None,
    attn: Attn = None,
    tokenizer: Tokenizer = None,
    include: Include = None,
) -> None:
    """Measure by exactly the protocol of a signature; an error that names the fields where that is not possible."""
    from gpt2eval import rerun as again
    from gpt2eval.models import Options
    from gpt2eval.pipeline import Settings
    from gpt2eval.progress import bars
    from gpt2eval.signature import read
    from gpt2eval.table import render
    from gpt2eval.tasks import load_suite

    options = Options(dtype or read(signature).get("dtype", "float32"), device, revision, attn, tokenizer=tokenizer)
    settings, files = Settings(batch_size=batch_size), files_of(data, include or ())
    with bars() as watch:
        made = again.rerun(
            signature, model, data=files, out=out, settings=settings, options=options, include=include or (), watch=watch
        )
    print(render(made, load_suite(PAPER), mixed=True))


def explain(
    model: Annotated[str, typer.Option(help="As for run.")] = "demo",
    task: Annotated[str, typer.Option(help="A task with a perplexity.")] = "wikitext103",
    protocols: Annotated[Optional[str], typer.Option(help="Only these variants, separated by commas.")] = None,
    data: Data = None,
    limit: Annotated[Optional[int], typer.Option(help="Only the first N lines of the text.")] = None,
    out: Out = Path("results"),
    dtype: Dtype = "float32",
    device: Device = "auto",
    revision: Revision = None,
    tokenizer: Tokenizer = None,
    include: Include = None,
) -> None:
    """Set every known protocol's perplexity of one model on one text side by side, and what each difference is worth."""
    from gpt2eval import demo, models, results
    from gpt2eval import explain as why
    from gpt2eval.pipeline import Settings
    from gpt2eval.progress import bars

    files = files_of(data, include or ()) or (demo.data() if model == "demo" else None)
    results.check_writable(out)
    backend = models.load(model, models.Options(dtype, device, revision, tokenizer=tokenizer))
    with bars() as watch:
        rows = why.explain(
            backend,
            task,
            files,
            protocols=protocols.split(",") if protocols else (),
            include=include or (),
            settings=Settings(limit=limit),
            folder=results.folder(out, backend.identity()["name"], task) / "explained",
            watch=watch,
        )
    print(why.rendered(rows))


def overlap(
    more: Annotated[Optional[list[Path]], typer.Argument(metavar="[FILES]", help="More training files or folders.")] = None,
    train: Annotated[
        Optional[list[Path]],
        typer.Option(
            help="Training text: a file, or a folder with files; .jsonl (its text) and .parquet too; may be repeated."
        ),
    ] = None,
    tasks: Tasks = PAPER,
    data: Data = None,
    out: Annotated[Path, typer.Option(help="Folder of 'gpt2eval run'; measurements below it are summed up again.")] = Path(
        "results"
    ),
    false_positives: Annotated[
        float, typer.Option(help="Bound on false positives, from which the filter's size follows.")
    ] = 1e-8,
    above: Annotated[float, typer.Option(help="A record overlaps if more than this share of its 8-grams is found.")] = 0.0,
    form: Annotated[str, typer.Option("--format", help="markdown, csv, latex or json.")] = "markdown",
    include: Include = None,
) -> None:
    """Say what share of each task's 8-grams is in training text, and measure again without the records that overlap.

    Words are runs of ASCII letters and digits of the lower-cased text, [a-z0-9]+, whatever stands between them.
    """
    from gpt2eval import overlap as overlapping
    from gpt2eval.progress import bars
    from gpt2eval.table import check_format, laid_out

    check_format(form)
    with bars(unit="bytes", items="files") as watch:
        rows = overlapping.overlap(
            tasks,
            [*(train or ()), *(more or ())],
            files_of(data, include or ()),
            include=include or (),
            out=out,
            bound=false_positives,
            above=above,
            watch=watch,
        )
    print(laid_out(rows, form))
