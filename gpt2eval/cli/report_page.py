"""The command `gpt2eval report`: one HTML page about results."""

from pathlib import Path
from typing import Annotated

from gpt2eval.cli.arguments import data_files, size
from gpt2eval.cli.options import OUTPUT, Cache, Data, Include, MaxSize, MeasuredText, Sizes, option
from gpt2eval.cli.report import Places, SuiteName
from gpt2eval.config.catalog import PAPER
from gpt2eval.notices import notify

Html = Annotated[
    Path,
    option(OUTPUT, "--html", metavar="FILE", text="The page to write.", default=False),
]
Title = Annotated[str, option(OUTPUT, metavar="TEXT", text="Title of the page.")]


def report(
    results: Places,
    html: Html,
    title: Title = "gpt2eval report",
    sizes: Sizes = None,
    suite: SuiteName = PAPER,
    data: Data = None,
    text: MeasuredText = None,
    cache: Cache = None,
    max_size: MaxSize = None,
    include: Include = None,
) -> None:
    """Write one HTML page: tables, charts, and text by surprisal.

    The page needs no network. The text comes from --data, --text or the cache, as in 'run';
    nothing is downloaded, and no model runs.
    """
    from gpt2eval.analysis.published_texts import published_texts
    from gpt2eval.config.loader import load_suite
    from gpt2eval.files import write_atomic
    from gpt2eval.report.measured import Measured
    from gpt2eval.report.model_sizes import parse_sizes
    from gpt2eval.report.page.builder import page
    from gpt2eval.report.page.pieces import Texts
    from gpt2eval.report.page.sources import read_sources
    from gpt2eval.scoring.journal import incomplete

    for line in incomplete(results):
        notify(line)
    folders = include or ()
    files = data_files(data, folders)
    largest = size(max_size)

    def find_texts(measured: Measured) -> Texts:
        return published_texts(
            measured, files, folders, texts=text or (), cache=cache, max_size=largest
        )

    made = page(
        read_sources(*results),
        load_suite(suite, folders),
        find_texts,
        sizes=parse_sizes(sizes or ()),
        title=title,
    )
    write_atomic(html, made.encode())
    print(html)
