"""The command line: ls, show, run, table, check. stdout is data, stderr is progress; exit 0 done, 2 user error, 1 defect."""

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from gpt2eval.errors import UsageError
from gpt2eval.options import Attn, BatchSize, Data, Device, Dtype, Include, Limit, Out, Revision, Tokenizer, files_of

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="Example: gpt2eval run --model gpt2 --tasks wikitext2,lambada",
)

PAPER = "gpt2-paper"
INTERRUPTED = 130  # what typer makes of Ctrl-C


@app.callback(invoke_without_command=True)
def top(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False
) -> None:
    """Zero-shot language-model benchmarks in numbers that others can compare."""
    if version:
        from gpt2eval import __version__

        print(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command(epilog="Example: gpt2eval ls")
def ls(include: Include = None) -> None:
    """List tasks with their variants, suites and detokenizers."""
    from gpt2eval import catalog, tasks

    for name in catalog.files("tasks", include or ()):
        task = tasks.load_task(name, include or ())
        print(f"{name:12} {', '.join(task.metrics):24} {task.title}")
        if task.variants:
            print(f"{'':12} variants: {', '.join(task.variants)}")
    print(f"suites: {', '.join(catalog.files('tasks/suites', include or ()))}")
    print(f"detokenizers: {', '.join(catalog.files('detokenizers', include or ()))}")


@app.command(epilog="Example: gpt2eval show lambada --data demo")
def show(
    task: Annotated[str, typer.Argument(help="A task or task/variant.")], data: Data = None, include: Include = None
) -> None:
    """Show a task's resolved file, and its first record before and after detokenizing, the scored span marked."""
    from gpt2eval import look

    print(look.show(task, files_of(data, include or ()), include or ()))


@app.command(epilog="Example: gpt2eval check ptb --data ptb=ptb.test.txt")
def check(
    task: Annotated[str, typer.Argument(help="A task or task/variant.")],
    data: Data = None,
    include: Include = None,
    sample: Annotated[int, typer.Option(help="Also print this many fair lines, spread over the file.")] = 0,
) -> None:
    """Run a task's detokenizer over its whole file and back, and report."""
    from gpt2eval import look

    print(look.check(task, files_of(data, include or ()), include or (), sample))


@app.command(epilog="Example: gpt2eval run --model gpt2 --tasks ptb --data ptb=ptb.test.txt")
def run(
    model: Annotated[str, typer.Option(help="Hub id, folder, scheme:rest (hf:, toy:), module:Factory, or 'demo'.")] = "demo",
    tasks: Annotated[str, typer.Option(help="Tasks, variants (task/variant) and suites, separated by commas.")] = PAPER,
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
    attn: Attn = None,
    tokenizer: Tokenizer = None,
    trust_remote_code: Annotated[bool, typer.Option(help="Run code that comes with the model.")] = False,
    strict_data: Annotated[bool, typer.Option(help="Refuse data whose hash is not the published one.")] = False,
    allow_lossy: Annotated[bool, typer.Option(help="Report bits per byte even if the tokens do not tile the text.")] = False,
    shard: Annotated[Optional[str], typer.Option(help="I/N: do the I-th of N parts of the work; all share --out.")] = None,
    device_map: Annotated[Optional[str], typer.Option(help="Spread a large model's layers over devices: auto.")] = None,
    tp: Annotated[Optional[int], typer.Option(help="Split its tensors over N processes, under torchrun.")] = None,
    include: Include = None,
) -> None:
    """Measure tasks on a model; print the table. Without arguments: the demo model on its embedded records."""
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
    options = Options(dtype, device, revision, attn, trust_remote_code, device_map, tp, tokenizer)
    first = launched.rank == 0 or bool(shard and not tp)
    with bars(hidden=not first) as watch:
        made = pipeline.evaluate(
            model,
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
    for line in journal.incomplete([out]):
        print(f"gpt2eval: {line}; the same command does them", file=sys.stderr)


@app.command(epilog="Example: gpt2eval table results --format latex")
def table(
    results: Annotated[list[Path], typer.Argument(help="result.json files, or folders with them.")],
    form: Annotated[str, typer.Option("--format", help="markdown, csv, latex or json.")] = "markdown",
    mixed: Annotated[bool, typer.Option(help="Allow numbers of different protocols in one column.")] = False,
    suite: Annotated[str, typer.Option(help="The suite whose columns and published rows to use.")] = PAPER,
    include: Include = None,
) -> None:
    """Set results beside the published figures, signatures below."""
    from gpt2eval.journal import incomplete
    from gpt2eval.results import read
    from gpt2eval.table import render
    from gpt2eval.tasks import load_suite

    for line in incomplete(results):
        print(f"gpt2eval: {line}", file=sys.stderr)
    print(render(read(results), load_suite(suite, include or ()), form, mixed=mixed))


@app.command(epilog="Example: gpt2eval rerun 'task:ptb|data:dd65dff3|...' --model gpt2-large")
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


@app.command(epilog="Example: gpt2eval diff results/gpt2/ptb results/gpt2-large/ptb")
def diff(
    first: Annotated[str, typer.Argument(help="A signature in quotes, a result.json, or a folder with one.")],
    second: Annotated[str, typer.Argument(help="The other.")],
) -> None:
    """Name the fields in which two signatures or results differ, and say whether their numbers may be compared."""
    from gpt2eval import rerun as again

    print(again.diff(first, second))


@app.command(epilog="Example: gpt2eval explain --model gpt2 --task wikitext103")
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


def main() -> None:
    """Run the command; what the user can mend is one line on stderr and exit status 2, an interruption is 130."""
    sys.path.append("")  # module:Factory may lie where the command is given
    try:
        status = app(standalone_mode=False)
        problem = "interrupted; the same command goes on from the last finished unit" if status == INTERRUPTED else None
    except typer.TyperException as error:
        status, problem = 2, error.format_message()
    except UsageError as error:
        status, problem = 2, str(error)
    if problem:
        print(f"gpt2eval: {' '.join(problem.split())}", file=sys.stderr)
    sys.exit(status)
