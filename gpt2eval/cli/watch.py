"""The command `gpt2eval watch`."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpt2eval.cli.arguments import data_files, load_options, settings
from gpt2eval.cli.options import (
    COMPUTE,
    AllowKept,
    BatchSize,
    Cache,
    Data,
    Device,
    Dtype,
    Include,
    Limit,
    MaxSize,
    Out,
    Tasks,
    TokenizerOption,
    Track,
    option,
)
from gpt2eval.config.catalog import PAPER

if TYPE_CHECKING:
    from gpt2eval.metrics.result import Result

RunFolder = Annotated[
    Path,
    typer.Argument(
        metavar="DIR",
        help="Training run: a folder of checkpoint-STEP folders, ckpt*.pt or model_*.bin.",
    ),
]
Every = Annotated[
    float,
    option(
        COMPUTE,
        metavar="SECONDS",
        text="Polling interval; a checkpoint is scored once it is unchanged between two polls.",
    ),
]
Once = Annotated[bool, option(COMPUTE, "--once", text="Score the existing checkpoints, then exit.")]


def watch(
    ctx: typer.Context,
    folder: RunFolder,
    tokenizer: TokenizerOption = None,
    tasks: Tasks = PAPER,
    data: Data = None,
    cache: Cache = None,
    max_size: MaxSize = None,
    include: Include = None,
    limit: Limit = None,
    allow_kept: AllowKept = False,
    device: Device = "auto",
    dtype: Dtype = "float32",
    batch_size: BatchSize = None,
    every: Every = 10.0,
    once: Once = False,
    out: Out = Path("results"),
    track: Track = None,
) -> None:
    """Score each checkpoint of a training run as it appears.

    Plots each metric against the step (curves.svg). Prints a tab-separated line per metric:
    step, checkpoint, task, metric, value, low, high, signature; low and high bound the 95 %
    interval. Ctrl-C stops the command; the same command resumes.
    """
    from gpt2eval.cli.progress import bars
    from gpt2eval.report.trackers import Trackers
    from gpt2eval.training import watch as watching

    scored = watching.watch(
        folder,
        tasks,
        data=data_files(data, include or ()),
        out=out,
        settings=settings(ctx.params),
        options=load_options(ctx.params),
        include=include or (),
        every=every,
        once=once,
        bars=lambda _: bars(),  # the tasks in its reports are named after the checkpoint
    )
    with Trackers(track or ()) as trackers:
        for model, step, results in scored:
            print_lines("" if step is None else str(step), model, results)
            trackers.log(results, step)


def print_lines(step: str, checkpoint: str, results: "Iterable[Result]") -> None:
    """Print a line per metric of a checkpoint."""
    from gpt2eval.report.escape import visible

    for result in results:
        for metric in result.metrics.values():
            low, high = metric.interval or (None, None)
            numbers = [_number(number) for number in (metric.value, low, high)]
            cells = [step, checkpoint, result.full_name, metric.name, *numbers, metric.signature]
            print(*map(visible, cells), sep="\t", flush=True)


def _number(number: float | None) -> str:
    """Return a number in full precision; "" without one."""
    return "" if number is None else repr(float(number))
