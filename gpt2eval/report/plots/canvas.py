"""What all plots share: panels, colours, axes, legends, and pictures as bytes.

Colours are those of Okabe and Ito (2008), which colour-blind readers can tell apart. Series also
differ in their markers, so a plot can be read without colour. Does not know results.
"""

import math
from collections.abc import Callable, Sequence
from io import BytesIO
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gpt2eval.errors import UsageError, unknown
from gpt2eval.report.escape import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#8C6D31")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
GREY = "#6B6B6B"  # of published figures
COLUMNS = 3
WIDTH, HEIGHT = 4.2, 3.0  # of a panel, in inches
ALONE = (6.4, 4.2)  # the size of a panel without others
LEGEND_ROW = 0.19  # height of a row of the legend, in inches
CHARACTER = 0.075  # width of a character of the legend, in inches
HANDLE = 0.55  # width of a line in the legend with its gaps, in inches
FONT = 8
INTERVAL = "95 % interval"  # in a legend
MOST_ZEROS, MOST_PLAIN = 1e-4, 1e6  # a tick below or from here on has a power of ten
DOTS_PER_INCH = 200
# What matplotlib writes into a file besides the picture: no dates, so equal data give equal bytes.
METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None, "Creator": "gpt2eval", "Producer": None},
}


class Look(NamedTuple):
    """How a series is drawn."""

    colour: str
    marker: str


def look(number: int) -> Look:
    """Return the look of a series by its number; the first 88 looks differ."""
    return Look(COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)])


def panels(count: int, *, legend: Sequence[str] = ()) -> "tuple[Figure, list[Axes]]":
    """Return a figure with a number of panels, and room for a legend below them."""
    from matplotlib.figure import Figure

    across = max(1, min(COLUMNS, count))
    down = max(1, math.ceil(count / across))
    width, height = ALONE if count == 1 else (WIDTH * across, HEIGHT * down)
    height += legend_height(legend, width)
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = [figure.add_subplot(down, across, number) for number in range(1, count + 1)]
    for axis in axes:
        axis.grid(alpha=0.3, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def add_legend(figure: "Figure", handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Put a legend below all panels, in rows from left to right."""
    if not labels:
        return
    columns = _legend_columns(labels, figure.get_figwidth())
    # matplotlib fills columns from top to bottom
    rows = [range(first, len(labels))[:columns] for first in range(0, len(labels), columns)]
    order = [n for column in zip_longest(*rows) for n in column if n is not None]
    figure.legend(
        [handles[n] for n in order],
        [legend_text(labels[n], figure.get_figwidth()) for n in order],
        loc="outside lower center",
        ncols=columns,
        frameon=False,
    )


def legend_height(labels: Sequence[str], width: float) -> float:
    """Return the height of a legend below a figure of a width, in inches."""
    return LEGEND_ROW * math.ceil(len(labels) / _legend_columns(labels, width))


def _legend_columns(labels: Sequence[str], width: float) -> int:
    """Return how many labels fit side by side."""
    if not labels:
        return 1
    longest = max(len(legend_text(label, width)) for label in labels)
    fitting = int((width - 0.2) / (longest * CHARACTER + HANDLE))
    return max(1, min(fitting, len(labels)))


def legend_text(label: str, width: float) -> str:
    """Return a label that fits the width of a figure; a longer one loses its middle.

    >>> legend_text("gpt2", 6.4)
    'gpt2'
    """
    longest = int((width - 0.2 - HANDLE) / CHARACTER)
    label = visible(label)
    # matplotlib leaves a label that begins with an underscore out of the legend
    label = f"./{label}" if label.startswith("_") else label
    if len(label) <= longest:
        return label
    head = longest // 2
    return f"{label[:head]}…{label[head + 1 - longest :]}"


def handle(look: Look, **changes: Any) -> Any:
    """Return the line of a legend for a look."""
    from matplotlib.lines import Line2D

    settings = {"color": look.colour, "marker": look.marker, "markersize": 4, "linewidth": 1.4}
    return Line2D([], [], **settings | changes)


def interval_handle(marker: str) -> Any:
    """Return the mark of INTERVAL in a legend: `|`, `_`, or `s` for a band."""
    band = {"markersize": 7, "alpha": 0.25} if marker == "s" else {"markersize": 9}
    return handle(Look(GREY, marker), linestyle="none", markeredgewidth=1.2, **band)


def log_axis(axes: "Axes", name: str) -> None:
    """Make the x or y axis logarithmic, with plain numbers as labels."""
    from matplotlib.ticker import LogFormatter

    class Plain(LogFormatter):
        """Labels the ticks that matplotlib would label, but with plain numbers."""

        def __call__(self, x: float, pos: int | None = None) -> str:
            return tick_text(x) if super().__call__(x, pos) else ""

    if name == "x":
        axes.set_xscale("log")
    else:
        axes.set_yscale("log")
    axis = axes.xaxis if name == "x" else axes.yaxis
    axis.set_major_formatter(Plain())
    # label between powers of ten if the axis spans less than two decades
    axis.set_minor_formatter(Plain(minor_thresholds=(2, 0.5)))


def tick_text(value: float) -> str:
    """Return the label of a tick of a logarithmic axis.

    >>> tick_text(0.5), tick_text(20000), tick_text(3e8)
    ('0.5', '20,000', '3e8')
    """
    if not MOST_ZEROS <= value < MOST_PLAIN:
        digit, _, exponent = f"{value:.0e}".partition("e")
        return f"{digit}e{int(exponent)}"
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"


def picture_format(out: Path) -> str:
    """Return the format that a file's suffix names: png, svg or pdf.

    Raises:
        UsageError: For another suffix.
    """
    form = out.suffix.removeprefix(".").lower()
    if form not in METADATA:
        if not form:
            raise UsageError(f"{out}: no suffix; expected .png, .svg or .pdf")
        raise unknown(f"suffix of {out.name}", f".{form}", [f".{known}" for known in METADATA])
    return form


def picture(draw: "Callable[[], Figure]", form: str = "svg") -> bytes:
    """Return a figure as a picture; equal figures give equal bytes.

    Args:
        draw: Makes the figure; it runs with our settings instead of the user's.
        form: png, svg or pdf.
    """
    import matplotlib

    content = BytesIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # ignore the user's settings
        matplotlib.rcParams.update(
            {
                "svg.hashsalt": "gpt2eval",
                "svg.fonttype": "none",
                "pdf.fonttype": 42,  # text that can be searched and edited
                "font.size": FONT,
                "text.parse_math": False,  # a name may hold dollar signs
            }
        )
        draw().savefig(content, format=form, metadata=METADATA[form], dpi=DOTS_PER_INCH)
    return content.getvalue()
