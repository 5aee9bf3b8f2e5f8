"""Plot each metric against the training step. Does not know checkpoints."""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gpt2eval.metrics.result import Result
from gpt2eval.metrics.signature import (
    FREE,
    differences,
    protocol_differences,
    protocol_of,
    read,
)
from gpt2eval.report.escape import visible
from gpt2eval.report.numbers import value_label
from gpt2eval.report.plots import canvas
from gpt2eval.report.steps import natural, run_of, step_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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


Key = tuple[str, str]  # a run and a protocol
Lines = Mapping[str, Sequence[Dot]]


def points_of(results: Iterable[Result]) -> list[Point]:
    """Return the results whose model states a training step, each in the series of its run."""
    return [
        Point(run_of(result.model), step, result)
        for result in results
        if (step := step_of(result.model)) is not None
    ]


def lines(points: Iterable[Point]) -> dict[Panel, dict[str, list[Dot]]]:
    """Return the lines of each panel by their labels, in order of steps.

    A later point replaces an earlier one at the same step. Each line has one protocol; if there are
    several protocols, the labels name the fields in which they differ. What only follows from the
    tokenizers of two runs is no such field.
    """
    all_points = list(points)
    panels: dict[Panel, dict[Key, dict[int, Dot]]] = {}
    signatures: dict[Key, str] = {}
    for series, step, result in all_points:
        for metric in result.metrics.values():
            low, high = metric.interval or (None, None)
            panel = panels.setdefault(Panel(result.full_name, metric.name, metric.unit), {})
            key = (series, protocol_of(metric.signature))
            signatures[key] = metric.signature
            panel.setdefault(key, {})[step] = Dot(step, metric.value, low, high)
    names = _short({point.series for point in all_points})
    return {
        panel: _labelled(by_line, names, {key: read(signatures[key]) for key in by_line})
        for panel, by_line in panels.items()
    }


def _labelled(
    by_line: Mapping[Key, Mapping[int, Dot]],
    names: Mapping[str, str],
    signatures: Mapping[Key, Mapping[str, str]],
) -> dict[str, list[Dot]]:
    """Return a panel's lines by label, their dots in order of steps."""
    labelled: dict[str, list[Dot]] = {}
    for key, dots in sorted(by_line.items()):
        series, _ = key
        fields = _differing(key, signatures)
        label = f"{names[series]} ({fields})" if fields else names[series]
        labelled[label] = [dots[step] for step in sorted(dots)]
    return labelled


def _differing(key: Key, signatures: Mapping[Key, Mapping[str, str]]) -> str:
    """Return the fields of a line's protocol that differ from those of other lines."""
    own = signatures[key]
    fields: dict[str, None] = {}
    for other, signature in signatures.items():
        is_same_run = other[0] == key[0]
        pairs = differences(own, signature) if is_same_run else protocol_differences(own, signature)
        for field, value, _ in pairs:
            is_of_tokenizer = field == "unit" and value.startswith("token@")
            if field not in FREE and (is_same_run or not is_of_tokenizer):
                fields[field] = None
    return " ".join(visible(f"{field}:{own.get(field, '-')}") for field in fields)


def _short(series: Iterable[str]) -> dict[str, str]:
    """Return names of runs; paths lose the folder that all runs share."""
    names = list(series)
    common = ""
    if names and all(Path(name).is_absolute() for name in names):
        common = os.path.commonpath([Path(name).parent.parent for name in names])
    return {
        name: visible(Path(name).relative_to(common).as_posix() if common else name)
        for name in names
    }


def svg(points: Iterable[Point]) -> bytes:
    """Return the panels as an SVG picture, intervals as bands; equal points give equal bytes."""
    return canvas.picture(lambda: draw(points))


def draw(points: Iterable[Point]) -> "Figure":
    """Return the panels as a figure of matplotlib."""
    shown = {panel: series for panel, series in lines(points).items() if _values(series)}
    labels = sorted({label for series in shown.values() for label in series}, key=natural)
    handles = [canvas.handle(canvas.look(number)) for number in range(len(labels))]
    legend = list(labels)
    if any(dot.high is not None for one in shown.values() for dots in one.values() for dot in dots):
        handles.append(canvas.interval_handle("s"))
        legend.append(canvas.INTERVAL)
    figure, axes = canvas.panels(len(shown), legend=legend)
    for one, (panel, series) in zip(axes, shown.items(), strict=True):
        _draw(one, panel, series, labels)
    canvas.add_legend(figure, handles, legend)
    return figure


def _values(series: Lines) -> list[float]:
    """Return all finite values of a panel."""
    return [dot.value for dots in series.values() for dot in dots if math.isfinite(dot.value)]


def _draw(axes: "Axes", panel: Panel, series: Lines, labels: Sequence[str]) -> None:
    """Draw one panel; a line's look follows from its index in `labels`."""
    from matplotlib.ticker import MaxNLocator

    for label, dots in series.items():
        _draw_line(axes, dots, canvas.look(labels.index(label)))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    if "ppl" in panel.metric:
        canvas.log_axis(axes, "y")
    axes.set_title(visible(panel.task))
    axes.set_xlabel("training step")
    axes.set_ylabel(visible(value_label(panel.metric, panel.unit)))


def _draw_line(axes: "Axes", dots: Sequence[Dot], look: canvas.Look) -> None:
    """Draw the finite values of a line, and their intervals as a band."""
    shown = [dot for dot in dots if math.isfinite(dot.value)]
    steps = [dot.step for dot in shown]
    values = [dot.value for dot in shown]
    axes.plot(steps, values, marker=look.marker, markersize=3, color=look.colour)
    band = [
        (dot.step, dot.low, dot.high)
        for dot in shown
        if dot.low is not None and dot.high is not None and math.isfinite(dot.high)
    ]
    if band:
        band_steps, low, high = zip(*band, strict=True)
        axes.fill_between(band_steps, low, high, color=look.colour, alpha=0.2, linewidth=0)
    if len(band) == 1:  # a band of one step has no width
        axes.vlines(*band[0], color=look.colour, linewidth=0.9)
