"""Plot loss by position in the context, and by token frequency: a panel per task."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from gpt2eval.errors import UsageError
from gpt2eval.metrics.signature import protocol_of
from gpt2eval.report import profiles
from gpt2eval.report.escape import visible
from gpt2eval.report.labels import RowName, differing_fields, qualifiers, short_names
from gpt2eval.report.measured import Measured
from gpt2eval.report.plots import canvas
from gpt2eval.report.profiles import Bin
from gpt2eval.report.steps import natural
from gpt2eval.types import ModelIdentity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Profile(NamedTuple):
    """A kind of profile: its bins, and the labels of its axes."""

    bins: Callable[[Measured], Sequence[Bin]]
    across: str
    up: str


POSITION = Profile(
    profiles.by_position, "tokens of context before the token", "bits per byte of published text"
)
FREQUENCY = Profile(
    profiles.by_frequency,
    "occurrences of the token in the scored text",
    "nats per token of the model's tokenizer",
)

EDGE = 0.05  # room beyond the outer ticks, in powers of two

Panels = Mapping[str, Mapping[str, Sequence[Bin]]]


def panels(measured: Sequence[Measured], profile: Profile) -> dict[str, dict[str, Sequence[Bin]]]:
    """Return the bins of each task and model. Raises UsageError if there is no finite loss."""
    labels = _labels(measured)
    shown: dict[str, dict[str, Sequence[Bin]]] = {}
    for one, label in zip(measured, labels, strict=True):
        bins = [found for found in profile.bins(one) if math.isfinite(found.value)]
        if bins:
            shown.setdefault(one.result.full_name, {})[label] = bins
    if not shown:
        raise UsageError("no finite loss to draw; expected results with finite log-probabilities")
    return shown


def _labels(measured: Sequence[Measured]) -> list[str]:
    """Return the label of each line: its model, and what differs between a task's protocols."""
    models = [one.result.model for one in measured]
    names = short_names(models)
    protocols: dict[tuple[str, ModelIdentity], list[str]] = {}
    for one in measured:
        key = (one.result.full_name, one.result.model)
        protocols.setdefault(key, []).append(protocol_of(one.result.signature))
    labels: list[str] = []
    for one, qualifier in zip(measured, qualifiers(models), strict=True):
        row = RowName(one.result.model.name, qualifier)
        namesakes = protocols[one.result.full_name, one.result.model]
        fields = differing_fields(protocol_of(one.result.signature), namesakes)
        labels.append(f"{row.text(names)} ({fields})" if fields else row.text(names))
    return labels


def draw(shown: Panels, profile: Profile) -> "Figure":
    """Return the panels as a figure; intervals are bands."""
    labels = sorted({label for lines in shown.values() for label in lines}, key=natural)
    looks = {label: canvas.look(number) for number, label in enumerate(labels)}
    handles = [canvas.handle(looks[label]) for label in labels]
    legend = list(labels)
    if any(one.interval for lines in shown.values() for bins in lines.values() for one in bins):
        handles.append(canvas.interval_handle("s"))
        legend.append(canvas.INTERVAL)
    figure, axes = canvas.panels(len(shown), legend=legend)
    for one, (task, lines) in zip(axes, shown.items(), strict=True):
        for label, bins in lines.items():
            _draw_line(one, bins, looks[label])
        one.set_xscale("log", base=2)
        _power_ticks(one)
        one.set_ylim(bottom=0)
        one.set_title(visible(task))
        one.set_xlabel(profile.across)
        one.set_ylabel(profile.up)
    canvas.add_legend(figure, handles, legend)
    return figure


def _draw_line(axes: "Axes", bins: Sequence[Bin], look: canvas.Look) -> None:
    axes.plot(
        [one.middle for one in bins],
        [one.value for one in bins],
        color=look.colour,
        marker=look.marker,
        markersize=3.5,
        linewidth=1.2,
    )
    # a break where a bin has no interval, so that no band is drawn across it
    low, high = zip(*(one.interval or (math.nan, math.nan) for one in bins), strict=True)
    middles = [one.middle for one in bins]
    axes.fill_between(middles, low, high, color=look.colour, alpha=0.18, linewidth=0)
    for one in bins:
        if one.interval:  # a band between two breaks has no width
            axes.vlines(one.middle, *one.interval, color=look.colour, linewidth=0.9)


def _power_ticks(axes: "Axes") -> None:
    """Label the axis with plain whole numbers, at two powers of two or more."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low, high = (math.log2(limit) for limit in axes.get_xlim())
    if math.floor(high) - math.ceil(low) < 1:
        axes.set_xlim(2 ** (math.floor(low) - EDGE), 2 ** (math.ceil(high) + EDGE))
    axes.xaxis.set_major_locator(LogLocator(base=2, numticks=9))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: _place_text(place)))
    axes.xaxis.set_minor_locator(NullLocator())


def _place_text(place: float) -> str:
    """Return a place on the axis; what lies below 1 stands for none."""
    return f"{place:,.0f}" if place >= 1 else ("0" if place >= 0.5 else "")
