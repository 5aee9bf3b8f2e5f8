"""The plots: the right points on the right lines, one protocol per line, equal bytes every time."""

import math
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from gpt2eval import demo, evaluate
from gpt2eval.metrics.result import Result
from gpt2eval.report.plots import curves
from gpt2eval.report.plots.curves import Dot, Panel, Point
from gpt2eval.settings import Settings

HERE, THERE = "/runs/here/checkpoint-*", "/runs/there/checkpoint-*"


def result(
    value: float, low: float | None = None, high: float | None = None, limit: int = 3
) -> Result:
    """A perplexity as if measured."""
    (made,) = evaluate(
        "toy:uniform-bytes", ["ptb"], data=demo.data(), settings=Settings(limit=limit)
    )
    interval = None if low is None or high is None else (low, high)
    return replace(made, metrics={"ppl": replace(made.primary, value=value, interval=interval)})


PTB = Panel("ptb", "ppl", "word+eol")


def texts(picture: bytes) -> list[str]:
    return [
        element.text or ""
        for element in ET.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")
    ]


def test_points_are_in_order_of_steps_and_the_later_of_two_stands() -> None:
    given = [(200, 7.0), (100, 9.0), (1000, 5.0), (200, 6.0)]
    points = [Point(HERE, step, result(value, value - 1, value + 1)) for step, value in given]
    dots = [
        Dot(step, value, value - 1, value + 1)
        for step, value in ((100, 9.0), (200, 6.0), (1000, 5.0))
    ]
    assert curves.lines(points) == {PTB: {"here/checkpoint-*": dots}}


def test_every_metric_has_a_panel() -> None:
    (made,) = evaluate("toy:unigram", ["lambada"], data=demo.data(), settings=Settings(limit=3))
    panels = curves.lines([Point(HERE, 1, made)])
    assert [(panel.metric, panel.unit) for panel in panels] == [
        (m.name, m.unit) for m in made.metrics.values()
    ]
    shown = texts(curves.svg([Point(HERE, 1, made)]))
    assert {"lambada", "training step", "perplexity per word", "accuracy in % of records"} <= set(
        shown
    )


def test_runs_and_protocols_are_lines_of_their_own() -> None:
    points = [
        Point(HERE, 1, result(9)),
        Point(THERE, 1, result(8)),
        Point(HERE, 2, result(7, limit=2)),
    ]
    labels = [*curves.lines(points)[PTB]]
    assert [label.partition(" (")[0] for label in labels] == ["here/checkpoint-*"] * 2 + [
        "there/checkpoint-*"
    ]
    assert sorted("limit:2" in label for label in labels) == [False, False, True]
    assert all("limit:" in label for label in labels), "each says what it is in what they differ"


def test_runs_with_two_tokenizers_keep_their_names() -> None:
    made = result(9)
    signature = made.primary.signature
    assert "|tok:" in signature
    assert "|windows:" not in signature
    other = signature.replace("|tok:", "|tok:f").replace("|start:", "|windows:regular|start:")
    metric = replace(made.primary, signature=other)
    points = [Point(HERE, 1, made), Point(THERE, 1, replace(made, metrics={"ppl": metric}))]
    labels = [*curves.lines(points)[PTB]]
    assert labels == ["here/checkpoint-*", "there/checkpoint-*"]

    per_token = [
        replace(
            point.result,
            metrics={
                "nats_per_token": replace(
                    metric,
                    name="nats_per_token",
                    unit="token",
                    signature=metric.signature.replace(f"unit:{metric.unit}@", f"unit:token@{n}"),
                )
            },
        )
        for n, point in enumerate(points, 1)
        for metric in point.result.metrics.values()
    ]
    points = [point._replace(result=made) for point, made in zip(points, per_token, strict=True)]
    (labelled,) = curves.lines(points).values()
    assert [*labelled] == labels


def test_the_picture_is_the_same_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        Point(run, step, result(1000 / step, 900 / step, 1100 / step))
        for run in (HERE, THERE)
        for step in (1, 2, 50)
    ]
    picture = curves.svg(points)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    assert curves.svg(points) == picture
    assert b"dc:date" not in picture
    assert {"here/checkpoint-*", "there/checkpoint-*", "ptb"} <= set(texts(picture))


def test_perplexity_has_a_log_axis_and_steps_are_whole() -> None:
    ptb = [Point(HERE, step, result(value)) for step, value in ((1, 20.0), (2, 30.0))]
    text8 = evaluate("toy:unigram", ["text8"], data=demo.data(), settings=Settings(limit=3))[0]
    points = [*ptb, Point(HERE, 1, text8), Point(HERE, 2, text8)]
    axes = [axis for axis in curves.draw(points).axes if axis.get_title()]
    scales = {axis.get_ylabel(): axis.get_yscale() for axis in axes}
    assert scales["perplexity per word+eol"] == "log"
    assert scales["bits per char"] == "linear"
    assert {tick % 1 for axis in axes for tick in axis.get_xticks()} == {0}
    labels = texts(curves.svg(ptb))
    assert {"1", "2", "20", "30"} <= set(labels), "plain numbers"
    assert "1.5" not in labels


def test_an_interval_is_a_band() -> None:
    for high, bands in ((6.0, 1), (None, 0), (math.inf, 0)):
        points = [Point(HERE, step, result(5.0, high and 4.0, high)) for step in (1, 2)]
        assert curves.svg(points).count(b'id="FillBetween') == bands


def test_what_is_not_finite_is_not_drawn() -> None:
    only, both = (
        [Point(HERE, 1, result(math.inf))],
        [Point(HERE, 1, result(math.inf)), Point(HERE, 2, result(5.0))],
    )
    assert "ptb" not in texts(curves.svg(only))
    assert "ptb" in texts(curves.svg(both))
    assert texts(curves.svg([])) == []
