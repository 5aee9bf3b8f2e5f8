"""The commands about published data: `gpt2eval data ...`."""

import shutil
import sys
from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

from gpt2eval.cli.arguments import size
from gpt2eval.cli.command import HELP, Command, Group
from gpt2eval.cli.options import DATA, Cache, Include, MaxSize, StrictData, option
from gpt2eval.config.catalog import PAPER
from gpt2eval.notices import notify

app = typer.Typer(
    cls=Group,
    context_settings=HELP,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="List, download, verify and pack the published data.",
)

Names = Annotated[
    Optional[list[str]],
    typer.Argument(metavar="TASKS", help="Tasks, variants and suites.", show_default=False),
]
Pack = Annotated[Path, typer.Argument(metavar="FILE", help="The pack, a .tar.gz file.")]


@app.command("ls", cls=Command, epilog="Example: gpt2eval data ls gpt2-paper")
def ls(names: Names = None, cache: Cache = None, include: Include = None) -> None:
    """List the files that tasks need, and whether each is cached.

    Prints sizes, checksums and licences. Default: all tasks.
    """
    from gpt2eval.data.listing import listing

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(listing(names or (), cache, include or (), width=width))


@app.command(cls=Command, epilog="Example: gpt2eval data fetch wikitext2,ptb")
def fetch(
    names: Names = None,
    cache: Cache = None,
    mirror: Annotated[
        Optional[str],
        option(
            DATA,
            metavar="URL",
            text="Try this mirror first: URL/NAME, or URL/HOST/PATH.",
        ),
    ] = None,
    strict_data: StrictData = False,
    again: Annotated[
        bool, option(DATA, "--again", text="Download files again even if they are cached.")
    ] = False,
    include: Include = None,
) -> None:
    """Download the files that tasks need into the cache.

    Default: the tasks of the paper. Resumes partial downloads.
    """
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


@app.command(cls=Command, epilog="Example: gpt2eval data verify")
def verify(names: Names = None, cache: Cache = None, include: Include = None) -> None:
    """Verify cached files: checksums, counts, round trips.

    Checks the round trip of each detokenizer on every line.
    """
    from gpt2eval.data import manage

    is_empty = True
    for line in manage.verify(names or (), cache, include or ()):
        is_empty = False
        print(line, flush=True)
    if is_empty:
        notify("no data of these tasks is cached; run 'gpt2eval data fetch'")


@app.command(cls=Command, epilog="Example: gpt2eval data pack paper.tar.gz --tasks gpt2-paper")
def pack(
    file: Pack,
    tasks: Annotated[
        Optional[str],
        option(DATA, metavar="TASKS", text="Only the files of these tasks; all must be cached."),
    ] = None,
    cache: Cache = None,
    include: Include = None,
) -> None:
    """Pack cached files into one archive with a manifest.

    Copy the archive to a machine without a network and run 'gpt2eval data unpack'.
    """
    from gpt2eval.data import manage

    entries, licences = manage.pack(file, [tasks] if tasks else (), cache, include or ())
    for entry in entries:
        facts = entry.provenance
        print(f"{facts.name}, {facts.bytes:,} bytes, sha256 {facts.sha256}")
    for licence in licences:
        notify(f"licence of {licence}")


@app.command(cls=Command, epilog="Example: gpt2eval data unpack paper.tar.gz")
def unpack(
    file: Pack, cache: Cache = None, include: Include = None, max_size: MaxSize = None
) -> None:
    """Verify a pack and copy its files into the cache.

    Copies nothing if any file fails verification.
    """
    from gpt2eval.data import manage

    for line in manage.unpack(file, cache, include or (), size(max_size)):
        print(line)


@app.command(cls=Command, epilog="Example: gpt2eval data where")
def where(cache: Cache = None) -> None:
    """Print the path of the cache folder."""
    from gpt2eval.data.cache import Cache as DataCache

    print(DataCache.at(cache).folder)


@app.command(cls=Command, epilog="Example: gpt2eval data passport novel.txt")
def passport(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The data file, as its publisher provides it.")
    ],
    form: Annotated[
        Literal["stream", "lines", "pages", "documents", "lambada", "cbt"],
        option(
            DATA,
            "--format",
            metavar="FORMAT",
            text="stream, lines, pages, documents, lambada or cbt.",
        ),
    ] = "stream",
    encoding: Annotated[
        Literal["utf-8", "bytes"], option(DATA, metavar="NAME", text="utf-8 or bytes.")
    ] = "utf-8",
) -> None:
    """Print checksums and counts to paste into a new task's file."""
    from gpt2eval.data.passport import file_passport

    print(file_passport(file, form, encoding), end="")
