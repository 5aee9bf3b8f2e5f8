"""The command `gpt2eval export`: results, records, tokens and words for other programs."""

from pathlib import Path
from typing import Annotated, Optional

from gpt2eval.cli.arguments import data_files, size
from gpt2eval.cli.export_formats import (
    EveryEvalEver,
    Formats,
    HubCard,
    HubResults,
    ModelId,
    Organization,
    Relationship,
    write_formats,
)
from gpt2eval.cli.options import OUTPUT, Cache, Data, Include, MaxSize, MeasuredText, option
from gpt2eval.cli.report import Places
from gpt2eval.errors import UsageError

Records = Annotated[
    Optional[Path],
    option(
        OUTPUT,
        "--records",
        metavar="FILE",
        text="Write a row per record, or part of a single text: .csv, .jsonl or .parquet.",
    ),
]
Tokens = Annotated[
    Optional[Path],
    option(
        OUTPUT,
        "--tokens",
        metavar="FILE",
        text="Write a row per scored token, with its published bytes: .csv, .jsonl or .parquet.",
    ),
]
Words = Annotated[
    Optional[Path],
    option(
        OUTPUT,
        "--words",
        metavar="FILE",
        text="Write the surprisal of every word of the published text: .csv, .jsonl or .parquet.",
    ),
]


def export(
    results: Places,
    records: Records = None,
    tokens: Tokens = None,
    words: Words = None,
    hub_card: HubCard = None,
    hub_results: HubResults = None,
    every_eval_ever: EveryEvalEver = None,
    model_id: ModelId = None,
    organization: Organization = "unknown",
    relationship: Relationship = "other",
    data: Data = None,
    text: MeasuredText = None,
    cache: Cache = None,
    max_size: MaxSize = None,
    include: Include = None,
) -> None:
    """Write results, records, tokens or words to files.

    No model runs, and nothing is downloaded. Records, tokens and words come from what the runs keep
    of their tokens. The text of a task is found as for run: demo data, --data, --text, or the
    cache.
    """
    from gpt2eval.analysis.export_rows import RowFiles, export_rows
    from gpt2eval.cli.progress import bars
    from gpt2eval.report.measured import read_measured

    files = RowFiles(records, tokens, words)
    formats = Formats(hub_card, hub_results, every_eval_ever, model_id, organization, relationship)
    if not any(files) and not formats.requested:
        raise UsageError(
            "export: nothing to write; expected --records, --tokens, --words, --hub-card, "
            "--hub-results or --every-eval-ever"
        )
    if formats.requested:
        write_formats(results, formats, include or ())
    if not any(files):
        return
    with bars(unit="rows", items="tables") as show_progress:
        export_rows(
            read_measured(*results),
            files,
            data_files(data, include or ()),
            include or (),
            texts=text or (),
            cache=cache,
            max_size=size(max_size),
            progress=show_progress,
        )
