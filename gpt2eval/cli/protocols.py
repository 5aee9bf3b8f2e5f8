"""The commands for protocols: `rerun`, `explain` and `diff`."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from gpt2eval.cli.arguments import counts, data_files, load_options, settings
from gpt2eval.cli.options import (
    COMPUTE,
    DATA,
    MODEL,
    PROTOCOL,
    AllowKept,
    Attn,
    BatchSize,
    Cache,
    Data,
    Device,
    Dtype,
    Include,
    MaxSize,
    Out,
    Revision,
    Signatures,
    TokenizerOption,
    option,
)
from gpt2eval.config.catalog import PAPER

NOT_COMPARABLE = 1  # exit status of diff

SignatureLine = Annotated[
    str, typer.Argument(metavar="SIGNATURE", help="A signature in quotes; the model is optional.")
]
OtherModel = Annotated[
    Optional[str],
    option(MODEL, metavar="MODEL", text="As for run; default: the signature's model."),
]
OtherDtype = Annotated[
    Optional[str],
    option(COMPUTE, metavar="TYPE", text="As for run; default: the signature's."),
]


def rerun(
    ctx: typer.Context,
    signature: SignatureLine,
    model: OtherModel = None,
    revision: Revision = None,
    tokenizer: TokenizerOption = None,
    data: Data = None,
    cache: Cache = None,
    max_size: MaxSize = None,
    include: Include = None,
    device: Device = "auto",
    dtype: OtherDtype = None,
    attn: Attn = None,
    batch_size: BatchSize = None,
    out: Out = Path("results"),
    signatures: Signatures = False,
) -> None:
    """Score a task with exactly the protocol of a signature.

    If that is not possible, the error names the fields that differ.
    """
    from gpt2eval.analysis import reproduce
    from gpt2eval.cli.progress import bars
    from gpt2eval.cli.report import print_table
    from gpt2eval.metrics.signature import read

    folders = include or ()
    used_dtype = dtype or read(signature).get("dtype", "float32")
    with bars() as show_progress:
        results = reproduce.rerun(
            signature,
            model,
            data=data_files(data, folders),
            out=out,
            settings=settings(ctx.params),
            options=load_options(ctx.params, dtype=used_dtype),
            include=folders,
            progress=show_progress,
        )
    print_table(results, PAPER, mixed=True, signatures=signatures)


ExplainedModel = Annotated[str, option(MODEL, metavar="MODEL", text="As for run.")]
ExplainedTask = Annotated[str, option(DATA, metavar="TASK", text="A task with a perplexity.")]
Variants = Annotated[
    Optional[str],
    option(PROTOCOL, metavar="NAMES", text="Only these variants, separated by commas."),
]
Workers = Annotated[
    Optional[str],
    option(
        PROTOCOL,
        metavar="NUMBERS",
        text="Measure variants whose loader drops tokens with each number of workers, separated "
        "by commas, and with all tokens.",
    ),
]
LineLimit = Annotated[
    Optional[int], option(PROTOCOL, metavar="N", text="Only the first N lines of the text.")
]


def explain(
    ctx: typer.Context,
    model: ExplainedModel = "demo",
    revision: Revision = None,
    tokenizer: TokenizerOption = None,
    task: ExplainedTask = "wikitext103",
    data: Data = None,
    cache: Cache = None,
    max_size: MaxSize = None,
    include: Include = None,
    protocols: Variants = None,
    workers: Workers = None,
    limit: LineLimit = None,
    allow_kept: AllowKept = False,
    device: Device = "auto",
    dtype: Dtype = "float32",
    out: Out = Path("results"),
) -> None:
    """Compare the protocols of one task; attribute each difference.

    Scores one model on one text under every known protocol; reports the effect of each setting.
    """
    from gpt2eval.analysis import explain as explaining
    from gpt2eval.cli.progress import bars

    with bars() as show_progress:
        explanation = explaining.explain(
            model,
            task,
            data=data_files(data, include or ()),
            protocols=protocols.split(",") if protocols else (),
            workers=counts("workers", workers),
            out=out,
            settings=settings(ctx.params),
            options=load_options(ctx.params),
            include=include or (),
            progress=show_progress,
        )
    print(explanation)


FirstPlace = Annotated[
    str,
    typer.Argument(metavar="FIRST", help="A signature in quotes, a result.json, or its folder."),
]
SecondPlace = Annotated[
    str, typer.Argument(metavar="SECOND", help="The signature or result to compare with.")
]


def diff(first: FirstPlace, second: SecondPlace) -> None:
    """Name the fields in which two results or signatures differ.

    The exit status is 0 if their numbers may be compared, and 1 if not.
    """
    from gpt2eval.analysis import reproduce

    comparison = reproduce.compare(first, second)
    print(comparison)
    if not comparison.is_comparable:
        raise typer.Exit(NOT_COMPARABLE)
    if comparison.caveat:
        print(f"not comparable with published figures: {comparison.caveat}")
