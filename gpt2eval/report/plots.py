"""Each metric against the training step, as a picture. The only room with matplotlib; it does not know checkpoints."""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gpt2eval.metrics.result import Result
from gpt2eval.metrics.signature import protocol_of, read

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS = 3
WIDTH, HEIGHT = 4.2, 3.0  # of a panel, in inches
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
    """A result at a step of a series: of a training run."""

    series: str
    step: int
    result: Result


class Panel(NamedTuple):
    """What one picture shows: a metric of a task, and what it is divided by."""

    task: str
    metric: str
    unit: str


class Dot(NamedTuple):
    """A number at a step, with its interval if it has one."""

    step: int
    value: float
    low: float | None
    high: float | None


Lines = Mapping[str, Sequence[Dot]]


def lines(points: Iterable[Point]) -> dict[Panel, dict[str, list[Dot]]]:
    """The lines of each panel by their labels, in order of steps; of two points at one step the later given stands.

    Numbers of two protocols are never on one line: the labels say in which fields they differ then.
    """
    found: dict[Panel, dict[tuple[str, str], dict[int, Dot]]] = {}
    given = list(points)
    for series, step, result in given:
        for metric in result.metrics.values():
            low, high = metric.interval or (None, None)
            panel = found.setdefault(Panel(result.full_name, metric.name, metric.unit), {})
            line = panel.setdefault((series, protocol_of(metric.signature)), {})
            line[step] = Dot(step, metric.value, low, high)
    short = _shortened({point.series for point in given})
    return {
        panel: {
            short[series] + _apart(protocol, [other for _, other in by_line]): [
                dots[step] for step in sorted(dots)
            ]
            for (series, protocol), dots in sorted(by_line.items())
        }
        for panel, by_line in found.items()
    }


def _shortened(series: Iterable[str]) -> dict[str, str]:
    """Paths without what all of their runs' folders have before them."""
    paths = {name: Path(name) for name in series}
    common = os.path.commonpath([path.parent.parent for path in paths.values()]) if paths else ""
    return {name: path.relative_to(common).as_posix() for name, path in paths.items()}


def _apart(protocol: str, among: Sequence[str]) -> str:
    """The fields of a protocol in which not all are one, in brackets."""
    fields, others = read(protocol), [read(other) for other in among]
    telling = [
        f"{k}:{fields.get(k, '-')}"
        for k in dict.fromkeys(k for o in others for k in o)
        if len({o.get(k) for o in others}) > 1
    ]
    return f" ({' '.join(telling)})" if telling else ""


def svg(points: Iterable[Point]) -> bytes:
    """The panels as an SVG picture, an interval as a band around its line; the same bytes for the same points."""
    import matplotlib
    from matplotlib.figure import Figure

    panels = {
        panel: of
        for panel, of in lines(points).items()
        if any(math.isfinite(d.value) for dots in of.values() for d in dots)
    }
    labels = sorted({label for of in panels.values() for label in of})
    across = max(1, min(ACROSS, len(panels)))
    down = max(1, math.ceil(len(panels) / across))
    picture = BytesIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever the user's own settings are
        matplotlib.rcParams.update(
            {"svg.hashsalt": "gpt2eval", "svg.fonttype": "none", "font.size": 8}
        )
        figure = Figure(figsize=(WIDTH * across, HEIGHT * down), layout="constrained")
        for place, (panel, of) in enumerate(panels.items(), 1):
            _draw(figure.add_subplot(down, across, place), panel, of, labels)
        _name(figure, labels)
        figure.savefig(picture, format="svg", metadata={"Date": None})
    return picture.getvalue()


def _draw(axes: "Axes", panel: Panel, of: Lines, labels: Sequence[str]) -> None:
    """One panel; a line has the colour of its place in `labels`."""
    for label, dots in of.items():
        colour = f"C{labels.index(label) % 10}"
        shown = [dot for dot in dots if math.isfinite(dot.value)]
        axes.plot(
            [dot.step for dot in shown],
            [dot.value for dot in shown],
            marker="o",
            markersize=3,
            color=colour,
        )
        between = [
            (s, low, high)
            for s, _, low, high in shown
            if low is not None and high is not None and math.isfinite(high)
        ]
        if between:
            steps, low, high = zip(*between, strict=True)
            axes.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
    values = [dot.value for dots in of.values() for dot in dots if math.isfinite(dot.value)]
    if "ppl" in panel.metric and max(values) > 10 * min(values):
        axes.set_yscale("log")
    axes.set_title(panel.task)
    axes.set_xlabel("training step")
    axes.set_ylabel(
        LABELS.get(panel.metric, f"{panel.metric} per {{unit}}").format(unit=panel.unit)
    )
    axes.grid(alpha=0.3)


def _name(figure: "Figure", labels: Sequence[str]) -> None:
    """Which colour is which line."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=f"C{place % 10}", marker="o", markersize=3)
        for place in range(len(labels))
    ]
    if handles:
        figure.legend(handles, labels, loc="outside lower center", frameon=False)
