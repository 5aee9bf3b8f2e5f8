"""The command `gpt2eval plot`."""

from pathlib import Path
from typing import Annotated

from gpt2eval.cli.options import OUTPUT, Include, Sizes, option
from gpt2eval.cli.report import Columns, Mixed, Places, SuiteName
from gpt2eval.config.catalog import PAPER

Kind = Annotated[
    str,
    option(
        OUTPUT,
        "--kind",
        metavar="KIND",
        text="size (score against weights), position (loss by context), frequency (loss by token "
        "frequency), curve (score against training step) or compare (differences to the first "
        "model).",
    ),
]
Picture = Annotated[
    Path,
    option(OUTPUT, "--out", metavar="FILE", text="Picture: .png, .svg or .pdf.", default=False),
]


def plot(
    results: Places,
    out: Picture,
    kind: Kind = "size",
    suite: SuiteName = PAPER,
    include: Include = None,
    columns: Columns = None,
    mixed: Mixed = False,
    size: Sizes = None,
) -> None:
    """Draw results as a picture (PNG, SVG or PDF).

    Intervals are the 95 % intervals of the results. The kinds position, frequency and compare need
    the journals that 'gpt2eval run' keeps beside its results.
    """
    from gpt2eval.files import write_atomic
    from gpt2eval.report.plots import canvas, kinds

    form = canvas.picture_format(out)
    draw = kinds.drawing(
        kind,
        results,
        suite=suite,
        include=include or (),
        columns=columns.split(",") if columns else (),
        mixed=mixed,
        stated=size or (),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, canvas.picture(draw, form))
    print(out)
