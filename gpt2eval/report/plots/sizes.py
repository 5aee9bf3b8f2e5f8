"""Plot scores against the number of weights: a panel per column of a table.

The published models are joined by a dashed line, the best earlier figure is a dotted one.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gpt2eval.report.escape import visible
from gpt2eval.report.numbers import value_label
from gpt2eval.report.plots import canvas
from gpt2eval.report.score_by_size import Column, Spot
from gpt2eval.report.steps import natural

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER = "1542M"  # a row that only the GPT-2 paper has
STEPS = (1.0, 3.0)  # ticks of a wide axis, times powers of ten
FEW_TICKS = 4  # spaces between the ticks of a narrow axis
HOLLOW = "hollow: limited or unpublished data"


def draw(shown: Sequence[Column]) -> "Figure":
    """Return panels as a figure; intervals are vertical lines."""
    labels = sorted({name for column in shown for name in column.spots}, key=natural)
    looks = {label: canvas.look(number) for number, label in enumerate(labels)}
    handles = [canvas.handle(looks[label]) for label in labels]
    legend = list(labels)
    if any(not dot.complete for column in shown for dots in column.spots.values() for dot in dots):
        hollow = canvas.Look(canvas.GREY, "o")
        handles.append(canvas.handle(hollow, linestyle="none", markerfacecolor="white"))
        legend.append(HOLLOW)
    if any(spot.interval for column in shown for dots in column.spots.values() for spot in dots):
        handles.append(canvas.interval_handle("|"))
        legend.append(canvas.INTERVAL)
    if any(column.published for column in shown):
        handles.append(canvas.handle(canvas.Look(canvas.GREY, "*"), linestyle="--", markersize=6))
        is_paper = any(PAPER in column.published for column in shown)
        legend.append("published, GPT-2 paper" if is_paper else "published")
    if any(column.best is not None for column in shown):
        handles.append(canvas.handle(canvas.Look(canvas.GREY, ""), linestyle=":"))
        legend.append("best earlier model, as published")
    figure, axes = canvas.panels(len(shown), legend=legend)
    for one, column in zip(axes, shown, strict=True):
        _draw(one, column, looks)
    canvas.add_legend(figure, handles, legend)
    return figure


def _draw(axes: "Axes", column: Column, looks: Mapping[str, canvas.Look]) -> None:
    _draw_published(axes, column)
    for name, spots in column.spots.items():
        look = looks[name]
        axes.plot(
            [spot.weights for spot in spots],
            [spot.value for spot in spots],
            color=look.colour,
            linewidth=1.2,
        )
        for spot in spots:
            _draw_spot(axes, spot, look)
    axes.set_xscale("log")
    if "ppl" in column.metric:
        canvas.log_axis(axes, "y")
    axes.margins(0.12)
    _count_ticks(axes)
    axes.set_title(visible(column.title))
    axes.set_xlabel("weights of the model")
    axes.set_ylabel(visible(value_label(column.metric, column.unit)))


def _draw_spot(axes: "Axes", spot: Spot, look: canvas.Look) -> None:
    error = None
    if spot.interval and all(map(math.isfinite, spot.interval)):
        low, high = spot.interval
        error = [[max(spot.value - low, 0)], [max(high - spot.value, 0)]]
    axes.errorbar(
        [spot.weights],
        [spot.value],
        yerr=error,
        fmt=look.marker,
        color=look.colour,
        markerfacecolor=look.colour if spot.complete else "white",
        markersize=5,
        capsize=2.5,
        elinewidth=1.1,
        zorder=3,
    )


def _draw_published(axes: "Axes", column: Column) -> None:
    if column.best is not None:
        axes.axhline(column.best, color=canvas.GREY, linestyle=":", linewidth=1.2)
    if not column.published:
        return
    counts, values = zip(*column.published.values(), strict=True)
    axes.plot(counts, values, color=canvas.GREY, linestyle="--", marker="*", markersize=6)
    for name, (count, _) in column.published.items():
        axes.text(  # at the bottom, where no number lies
            count,
            0.015,
            visible(name),
            transform=axes.get_xaxis_transform(),
            ha="center",
            fontsize=canvas.FONT - 2,
            color=canvas.GREY,
        )


def _count_ticks(axes: "Axes") -> None:
    """Label the axis of weights as 100M, 1B; call it when everything is drawn."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    low, high = axes.get_xlim()
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [step * 10.0**power for power in powers for step in STEPS]
    locator = LogLocator(subs=STEPS)
    if sum(low <= tick <= high for tick in ticks) < 2:
        locator = MaxNLocator(FEW_TICKS, steps=[1, 2, 5, 10])
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda count, _: count_text(count)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def count_text(count: float) -> str:
    """Return a count with a unit.

    >>> count_text(3e8), count_text(1.5e9), count_text(100)
    ('300M', '1.5B', '100')
    """
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return f"{count:.3g}"
