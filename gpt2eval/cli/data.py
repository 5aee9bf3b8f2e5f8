"""The commands about data: `gpt2eval data ...` (what is needed, fetched, checked, carried elsewhere), and overlap."""

from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

from gpt2eval.cli.options import PAPER, Cache, Data, Include, Tasks, files_of
from gpt2eval.notices import notify

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Published data: what is needed, what is there, and whether it is right.",
)

Names = Annotated[
    Optional[list[str]], typer.Argument(metavar="[TASKS]", help="Tasks, variants and suites.")
]
Strict = Annotated[
    bool, typer.Option("--strict-data", help="Refuse a file whose hash is not the published one.")
]
Pack = Annotated[Path, typer.Argument(metavar="FILE", help="The pack, a .tar.gz.")]


@app.command("ls", epilog="Example: gpt2eval data ls gpt2-paper")
def ls(names: Names = None, cache: Cache = None, include: Include = None) -> None:
    """List the files that tasks need (of all tasks by default): sizes, hashes, licences, and which are there."""
    from gpt2eval.data import manage

    print(manage.listing(names or (), cache, include or ()))


@app.command(epilog="Example: gpt2eval data fetch wikitext2,ptb")
def fetch(
    names: Names = None,
    cache: Cache = None,
    mirror: Annotated[
        Optional[str],
        typer.Option(help="Ask here for archives, and first: MIRROR/NAME, or MIRROR/HOST/PATH."),
    ] = None,
    strict_data: Strict = False,
    again: Annotated[
        bool, typer.Option("--again", help="Ask for what is there already, too.")
    ] = False,
    include: Include = None,
) -> None:
    """Download the files that tasks need (the paper's by default) into the cache; what was begun is gone on with."""
    from gpt2eval.data import manage

    for line in manage.fetch(
        names or [PAPER],
        cache,
        mirror=mirror,
        strict=strict_data,
        again=again,
        include=include or (),
    ):
        print(line, flush=True)


@app.command(epilog="Example: gpt2eval data verify")
def verify(names: Names = None, cache: Cache = None, include: Include = None) -> None:
    """Check what is in the cache: hashes, counts, and the detokenizers over every line and back."""
    from gpt2eval.data import manage

    there = False
    for line in manage.verify(names or (), cache, include or ()):
        there = True
        print(line, flush=True)
    if not there:
        notify("nothing of these tasks is in the cache; 'gpt2eval data fetch' fills it")


@app.command(epilog="Example: gpt2eval data pack paper.tar.gz --tasks gpt2-paper")
def pack(
    file: Pack,
    tasks: Annotated[
        Optional[str], typer.Option(help="Only their files, all of which must be there.")
    ] = None,
    cache: Cache = None,
    include: Include = None,
) -> None:
    """Put the cache's files into one archive with a manifest, for a machine without network."""
    from gpt2eval.data import manage

    entries, licences = manage.pack(file, [tasks] if tasks else (), cache, include or ())
    for entry in entries:
        print(
            f"{entry.provenance.name}, {entry.provenance.bytes:,} bytes, sha256 {entry.provenance.sha256}"
        )
    for licence in licences:
        notify(f"licence of {licence}")


@app.command(epilog="Example: gpt2eval data unpack paper.tar.gz")
def unpack(file: Pack, cache: Cache = None, include: Include = None) -> None:
    """Check a pack, and put its files into the cache; all of them, or none where anything is wrong."""
    from gpt2eval.data import manage

    for line in manage.unpack(file, cache, include or ()):
        print(line)


@app.command(epilog="Example: gpt2eval data where")
def where(cache: Cache = None) -> None:
    """Print the folder of the cache."""
    from gpt2eval.data.cache import Cache as Kept

    print(Kept.at(cache).folder)


@app.command(epilog="Example: gpt2eval data passport novel.txt")
def passport(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A new task's file, as its publisher gives it.")
    ],
    form: Annotated[
        Literal["stream", "lines", "pages", "documents", "lambada", "cbt"],
        typer.Option("--format", help="How its records lie in it."),
    ] = "stream",
    encoding: Annotated[
        Literal["utf-8", "bytes"], typer.Option(help="What it is read as.")
    ] = "utf-8",
) -> None:
    """Print a new task's passport: hashes, counts and where they come from, to be pasted into its file."""
    from gpt2eval.data.passport import file_passport

    print(file_passport(file, form, encoding), end="")


def overlap(
    more: Annotated[
        Optional[list[Path]],
        typer.Argument(metavar="[FILES]", help="More training files or folders."),
    ] = None,
    train: Annotated[
        Optional[list[Path]],
        typer.Option(
            help="Training text: a file, or a folder's that are not hidden; of .jsonl and .parquet what is in text; any "
            "but .parquet as .gz, .bz2, .xz or .zst. May be repeated."
        ),
    ] = None,
    tasks: Tasks = PAPER,
    data: Data = None,
    out: Annotated[
        Path,
        typer.Option(
            help="Where 'gpt2eval run' wrote: its numbers are given without the records that overlap."
        ),
    ] = Path("results"),
    false_positives: Annotated[
        float,
        typer.Option(
            help="Bound on false positives, 1e-9 to 0.1; the filter's size follows from it."
        ),
    ] = 1e-8,
    above: Annotated[
        float,
        typer.Option(
            help="A record overlaps if more than this share (0 to 1) of its 8-grams is found."
        ),
    ] = 0.0,
    form: Annotated[
        str, typer.Option("--format", help="markdown, csv, latex or json.")
    ] = "markdown",
    cache: Cache = None,
    include: Include = None,
) -> None:
    """Say what share of each task's 8-grams is in training text, and measure again without the records that overlap.

    Words are runs of ASCII letters and digits of the lower-cased text, [a-z0-9]+, whatever stands between them.
    """
    from gpt2eval.cli.progress import bars
    from gpt2eval.overlap import report as overlapping
    from gpt2eval.report.render import check_format, render_rows

    check_format(form)
    with bars(unit="bytes", items="files") as watch:
        rows = overlapping.overlap(
            tasks,
            [*(train or ()), *(more or ())],
            files_of(data, include or ()),
            include=include or (),
            cache=cache,
            out=out,
            bound=false_positives,
            above=above,
            watch=watch,
        )
    print(render_rows(rows, form))
