"""Plot paired differences to a baseline with their intervals: a forest plot.

Changes in percent and changes in points of an accuracy have an axis each.
"""

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from gpt2eval.errors import UsageError
from gpt2eval.report.comparison.duels import Contest, Duel
from gpt2eval.report.comparison.scale import PERCENT
from gpt2eval.report.plots import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 6.4  # inches
ROW = 0.17  # height of a model in a row, in inches
ROW_GAP = 0.16  # between two rows, in inches
FRAME = 0.95  # height of an axis with its label, in inches
SPREAD = 0.7  # of a row's height that its models take
LINEAR = 60.0  # percent; an axis beyond it is logarithmic
FACTORS = (1e-6, 1e-4, 1e-3, 0.01, 0.1, 0.5, 1.0, 2.0, 10.0, 100.0, 1e3, 1e4, 1e6, 1e9)
ROUGH = (0.5, 2.0)  # factors without a tick on an axis of many
MOST_TICKS = 7
MARGIN = 0.04  # of an axis, at both ends
LEAST = -100 * (1 - 1e-9)  # percent; a logarithmic axis ends before -100
DECIDED = ("better", "worse")  # verdicts
OPEN = "hollow: unresolved, or equal within the margin"


class Panel(NamedTuple):
    """The duels of one unit by row: a task and its metric."""

    unit: str
    rows: dict[str, list[Duel]]


def panels(contest: Contest) -> list[Panel]:
    """Return the duels with a finite change, by unit and row.

    Raises:
        UsageError: No duel has a finite change.
    """
    by_unit: dict[str, dict[str, list[Duel]]] = {}
    for duel in contest.duels:
        if math.isfinite(duel.change):
            rows = by_unit.setdefault(duel.scale.unit, {})
            rows.setdefault(duel.title, []).append(duel)
    if not by_unit:
        raise UsageError("no finite difference to draw; expected results with finite metrics")
    return [Panel(unit, by_unit[unit]) for unit in sorted(by_unit)]


def draw(contest: Contest) -> "Figure":
    """Return a comparison as a figure."""
    from matplotlib.figure import Figure

    shown = panels(contest)
    models = sorted({duel.model for duel in contest.duels})
    looks = {model: canvas.look(number) for number, model in enumerate(models)}
    heights = [FRAME + len(panel.rows) * (ROW * len(models) + ROW_GAP) for panel in shown]
    handles = [canvas.handle(looks[model]) for model in models]
    legend = [contest.labels[model] for model in models]
    if any(duel.change_interval for duel in contest.duels):
        handles.append(canvas.interval_handle("_"))
        legend.append(canvas.INTERVAL)
    if any(duel.verdict not in DECIDED for duel in contest.duels):
        hollow = canvas.Look(canvas.GREY, "o")
        handles.append(canvas.handle(hollow, linestyle="none", markerfacecolor="white"))
        legend.append(OPEN)
    height = sum(heights) + canvas.legend_height(legend, WIDTH)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    grid = figure.add_gridspec(len(shown), height_ratios=heights)
    for number, panel in enumerate(shown):
        _draw(figure.add_subplot(grid[number]), panel, looks, contest.labels[0])
    canvas.add_legend(figure, handles, legend)
    return figure


def _draw(axes: "Axes", panel: Panel, looks: dict[int, canvas.Look], baseline: str) -> None:
    order = [*looks]
    for place, duels in enumerate(panel.rows.values()):
        for duel in duels:
            share = (order.index(duel.model) + 0.5) / len(order) - 0.5
            _draw_duel(axes, duel, place + SPREAD * share, looks[duel.model])
    axes.axvline(0, color=canvas.GREY, linewidth=1, zorder=1)
    names = [canvas.legend_text(title, WIDTH / 2) for title in panel.rows]
    axes.set_yticks(range(len(panel.rows)), names)
    axes.set_ylim(len(panel.rows) - 0.4, -0.6)
    axes.grid(axis="x", alpha=0.3, linewidth=0.6)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    label = "change in points; more is better"
    if panel.unit == PERCENT:
        label = "change in %; less is better"
        if _is_wide(panel):
            label = "multiple of the baseline's value; less is better"
            _factor_axis(axes, panel)
    # below it, because long names of rows leave little width
    axes.set_xlabel(f"{label}\nbaseline: {canvas.legend_text(baseline, WIDTH / 2)}")


def _draw_duel(axes: "Axes", duel: Duel, place: float, look: canvas.Look) -> None:
    interval = duel.change_interval
    if interval and all(map(math.isfinite, interval)):
        axes.hlines(place, *interval, color=look.colour, linewidth=1.3)
    filling = look.colour if duel.verdict in DECIDED else "white"
    axes.plot(
        [duel.change],
        [place],
        marker=look.marker,
        markersize=5,
        color=look.colour,
        markerfacecolor=filling,
        linestyle="none",
        zorder=3,
    )


def _values(panel: Panel) -> list[float]:
    """Return all finite numbers of a panel."""
    duels = [duel for row in panel.rows.values() for duel in row]
    values = [value for duel in duels for value in (duel.change, *(duel.change_interval or ()))]
    return [value for value in values if math.isfinite(value)]


def _is_wide(panel: Panel) -> bool:
    """Return whether changes in percent are so large that their axis is logarithmic."""
    return max(map(abs, _values(panel))) > LINEAR


def _factor_axis(axes: "Axes", panel: Panel) -> None:
    """Make an axis of percent logarithmic: half and twice a value are equally far from it."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set_xscale("function", functions=(_logarithm, _change))
    ends = [math.log1p(max(value, LEAST) / 100) for value in (0.0, *_values(panel))]
    margin = MARGIN * (max(ends) - min(ends))
    low, high = (100 * math.expm1(end) for end in (min(ends) - margin, max(ends) + margin))
    axes.set_xlim(low, high)
    inside = [factor for factor in FACTORS if low <= 100 * (factor - 1) <= high]
    if len(inside) > MOST_TICKS:
        inside = [factor for factor in inside if factor not in ROUGH]
    axes.xaxis.set_major_locator(FixedLocator([100 * (factor - 1) for factor in inside]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda change, _: factor_text(change)))


def _logarithm(change: Any) -> Any:
    """Return the logarithm of the factor that a change in percent is."""
    import numpy as np

    return np.log1p(np.maximum(np.asarray(change, float), LEAST) / 100)


def _change(logarithm: Any) -> Any:
    """Return the change in percent that a logarithm of a factor is."""
    import numpy as np

    return 100 * np.expm1(np.asarray(logarithm, float))


def factor_text(change: float) -> str:
    """Return a change in percent as a factor.

    >>> factor_text(-50.0), factor_text(900.0), factor_text(0.0)
    ('×0.5', '×10', '×1')
    """
    return f"×{1 + change / 100:.6g}"
