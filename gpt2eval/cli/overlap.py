"""The command `gpt2eval overlap`."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from gpt2eval.cli.arguments import data_files, size
from gpt2eval.cli.options import (
    DATA,
    OUTPUT,
    PROTOCOL,
    Cache,
    Data,
    Include,
    MaxSize,
    Tasks,
    option,
)
from gpt2eval.config.catalog import PAPER

MoreFiles = Annotated[
    Optional[list[Path]],
    typer.Argument(metavar="FILES", help="More training files or folders.", show_default=False),
]
Train = Annotated[
    Optional[list[Path]],
    option(
        DATA,
        metavar="PATH",
        text="Training text: a file, or a folder (hidden files are skipped). .jsonl and .parquet: "
        "the field text; .gz, .bz2, .xz and .zst are decompressed. Repeatable.",
    ),
]
RunFolder = Annotated[
    Path,
    option(
        OUTPUT,
        metavar="DIR",
        text="Results of 'gpt2eval run' to recompute without the overlapping records.",
    ),
]
FalsePositives = Annotated[
    float,
    option(
        PROTOCOL,
        metavar="RATE",
        text="Bound on the Bloom filter's false-positive rate, 1e-9 to 0.1; sets its size.",
    ),
]
Above = Annotated[
    float,
    option(
        PROTOCOL,
        metavar="SHARE",
        text="A record overlaps if more than this share (0 to 1) of its 8-grams match.",
    ),
]
FormatName = Annotated[
    str, option(OUTPUT, "--format", metavar="FORMAT", text="markdown, csv, latex or json.")
]


def overlap(
    more: MoreFiles = None,
    train: Train = None,
    tasks: Tasks = PAPER,
    data: Data = None,
    cache: Cache = None,
    max_size: MaxSize = None,
    include: Include = None,
    false_positives: FalsePositives = 1e-8,
    above: Above = 0.0,
    out: RunFolder = Path("results"),
    form: FormatName = "markdown",
) -> None:
    """Measure how many 8-grams of tasks occur in training text.

    Also recomputes the metrics of earlier runs without the overlapping records. A word is a run of
    ASCII letters and digits of the lower-cased text, [a-z0-9]+.
    """
    from gpt2eval.cli.progress import bars
    from gpt2eval.overlap import report as overlap_report
    from gpt2eval.report.render import check_format, render_rows

    check_format(form)
    with bars(unit="bytes", items="files") as show_progress:
        rows = overlap_report.overlap(
            tasks,
            [*(train or ()), *(more or ())],
            data_files(data, include or ()),
            include=include or (),
            cache=cache,
            max_size=size(max_size),
            out=out,
            bound=false_positives,
            above=above,
            progress=show_progress,
        )
    print(render_rows(rows, form))
