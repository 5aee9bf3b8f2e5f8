"""Plot each metric against the training step, as SVG.

This is the only module that imports matplotlib. Does not know checkpoints.
"""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gpt2eval.metrics.result import Result
from gpt2eval.metrics.signature import protocol_of, read
from gpt2eval.report.escape import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3
WIDTH, HEIGHT = 4.2, 3.0  # of a panel, in inches
COLOURS = 10  # matplotlib's C0 to C9
LABELS = {
    "ppl": "perplexity per {unit}",
    "byte_ppl": "perplexity per {unit}",
    "bpb": "bits per {unit}",
    "bpc": "bits per {unit}",
    "nats_per_token": "nats per {unit}",
    "acc": "accuracy in % of {unit}s",
    "acc_unfiltered": "unfiltered accuracy in % of {unit}s",
}


class Point(NamedTuple):
    """A result at a step of a training run (the series)."""

    series: str
    step: int
    result: Result


class Panel(NamedTuple):
    """A plot: a metric of a task, and its denominator."""

    task: str
    metric: str
    unit: str


class Dot(NamedTuple):
    """A value at a step, with its interval if it has one."""

    step: int
    value: float
    low: float | None
    high: float | None


Lines = Mapping[str, Sequence[Dot]]


def lines(points: Iterable[Point]) -> dict[Panel, dict[str, list[Dot]]]:
    """Return the lines of each panel by their labels, in order of steps.

    A later point replaces an earlier one at the same step. Each line has one protocol; if there are
    several protocols, the labels name the fields in which they differ.
    """
    all_points = list(points)
    panels: dict[Panel, dict[tuple[str, str], dict[int, Dot]]] = {}
    for series, step, result in all_points:
        for metric in result.metrics.values():
            low, high = metric.interval or (None, None)
            panel = panels.setdefault(Panel(result.full_name, metric.name, metric.unit), {})
            line = panel.setdefault((series, protocol_of(metric.signature)), {})
            line[step] = Dot(step, metric.value, low, high)
    names = _relative({point.series for point in all_points})
    return {panel: _labelled(by_line, names) for panel, by_line in panels.items()}


def _labelled(
    by_line: Mapping[tuple[str, str], Mapping[int, Dot]], names: Mapping[str, str]
) -> dict[str, list[Dot]]:
    """Return a panel's lines by label, their dots in order of steps."""
    protocols = [protocol for _, protocol in by_line]
    labelled: dict[str, list[Dot]] = {}
    for (series, protocol), dots in sorted(by_line.items()):
        label = names[series] + _differing(protocol, protocols)
        labelled[label] = [dots[step] for step in sorted(dots)]
    return labelled


def _relative(series: Iterable[str]) -> dict[str, str]:
    """Return paths relative to the folder that all runs share."""
    paths = {name: Path(name) for name in series}
    common = os.path.commonpath([path.parent.parent for path in paths.values()]) if paths else ""
    shown = {name: path.relative_to(common).as_posix() for name, path in paths.items()}
    # matplotlib leaves a label that begins with an underscore out of the legend
    return {
        name: visible(f"./{label}" if label.startswith("_") else label)
        for name, label in shown.items()
    }


def _differing(protocol: str, protocols: Sequence[str]) -> str:
    """Return the fields of a protocol that differ between protocols, in brackets."""
    fields = read(protocol)
    others = [read(other) for other in protocols]
    keys = dict.fromkeys(key for other in others for key in other)
    differing = [
        visible(f"{key}:{fields.get(key, '-')}")
        for key in keys
        if len({other.get(key) for other in others}) > 1
    ]
    return f" ({' '.join(differing)})" if differing else ""


def svg(points: Iterable[Point]) -> bytes:
    """Return the panels as an SVG picture, intervals as bands; equal points give equal bytes."""
    import matplotlib

    picture = BytesIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # ignore the user's settings
        matplotlib.rcParams.update(
            {
                "svg.hashsalt": "gpt2eval",
                "svg.fonttype": "none",
                "font.size": 8,
                "text.parse_math": False,  # a name may hold dollar signs
            }
        )
        draw(points).savefig(picture, format="svg", metadata={"Date": None})
    return picture.getvalue()


def draw(points: Iterable[Point]) -> "Figure":
    """Return the panels as a figure of matplotlib."""
    from matplotlib.figure import Figure

    panels = {panel: series for panel, series in lines(points).items() if _values(series)}
    labels = sorted({label for series in panels.values() for label in series})
    across = max(1, min(COLUMNS, len(panels)))
    down = max(1, math.ceil(len(panels) / across))
    figure = Figure(figsize=(WIDTH * across, HEIGHT * down), layout="constrained")
    for number, (panel, series) in enumerate(panels.items(), 1):
        _draw(figure.add_subplot(down, across, number), panel, series, labels)
    _add_legend(figure, labels)
    return figure


def _values(series: Lines) -> list[float]:
    """Return all finite values of a panel."""
    return [dot.value for dots in series.values() for dot in dots if math.isfinite(dot.value)]


def _draw(axes: "Axes", panel: Panel, series: Lines, labels: Sequence[str]) -> None:
    """Draw one panel; a line's colour follows from its index in `labels`."""
    for label, dots in series.items():
        _draw_line(axes, dots, f"C{labels.index(label) % COLOURS}")
    _scale(axes, panel)
    axes.set_title(visible(panel.task))
    axes.set_xlabel("training step")
    label = LABELS.get(panel.metric, f"{panel.metric} per {{unit}}")
    axes.set_ylabel(visible(label.format(unit=panel.unit)))
    axes.grid(alpha=0.3)


def _draw_line(axes: "Axes", dots: Sequence[Dot], colour: str) -> None:
    """Draw the finite values of a line, and their intervals as a band."""
    shown = [dot for dot in dots if math.isfinite(dot.value)]
    steps = [dot.step for dot in shown]
    values = [dot.value for dot in shown]
    axes.plot(steps, values, marker="o", markersize=3, color=colour)
    band = [
        (dot.step, dot.low, dot.high)
        for dot in shown
        if dot.low is not None and dot.high is not None and math.isfinite(dot.high)
    ]
    if band:
        band_steps, low, high = zip(*band, strict=True)
        axes.fill_between(band_steps, low, high, color=colour, alpha=0.2, linewidth=0)


def _scale(axes: "Axes", panel: Panel) -> None:
    """Use integer steps, and for perplexity a log axis with plain numbers."""
    from matplotlib.ticker import LogFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    if "ppl" in panel.metric:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(LogFormatter())
        # label between powers of ten if the axis spans less than two decades
        axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))


def _add_legend(figure: "Figure", labels: Sequence[str]) -> None:
    """Add a legend below all panels."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=f"C{number % COLOURS}", marker="o", markersize=3)
        for number in range(len(labels))
    ]
    if handles:
        figure.legend(handles, labels, loc="outside lower center", frameon=False)
