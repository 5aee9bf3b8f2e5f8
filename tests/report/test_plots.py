"""Plots of results: the right numbers at the right places, and clear errors."""

import math
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gpt2eval import demo, evaluate
from gpt2eval.config.loader import load_suite
from gpt2eval.errors import UsageError
from gpt2eval.metrics.resampling import rate_interval
from gpt2eval.metrics.result import Result
from gpt2eval.report import profiles, score_by_size
from gpt2eval.report.comparison.compare import compare
from gpt2eval.report.measured import Measured, read_measured
from gpt2eval.report.model_sizes import parse_size, parse_sizes, weights_of
from gpt2eval.report.plots import canvas, forest, kinds, sizes
from gpt2eval.report.plots import profiles as profile_plots
from gpt2eval.report.store import read_result, read_results
from gpt2eval.settings import Settings
from gpt2eval.types import ModelIdentity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "results" / "smollm2-135m-instruct-q4_1" / "ptb" / "result.json"
PAPER = load_suite("gpt2-paper")
SHAPES = {"gpt2": "117M", "gpt2-medium": "345M", "gpt2-large": "762M", "gpt2-xl": "1542M"}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two models with different tokenizers, with their journals."""
    folder = tmp_path_factory.mktemp("results")
    for model in ("toy:unigram", "toy:uniform-bytes"):
        evaluate(
            model,
            ["ptb", "lm1b", "cbt_cn"],
            data=demo.data(),
            out=folder,
            settings=Settings(limit=40),
        )
    return folder


def named(name: str, value: float, *, shape: str = "", row: str = "") -> Result:
    """A complete PTB result of a model, as if measured."""
    result = read_result(REFERENCE)
    metric = replace(result.primary, value=value, interval=(value - 1, value + 2))
    model = replace(result.model, name=name, label=name, shape=shape)
    return replace(result, metrics={metric.name: metric}, model=model, row=row)


def identity(name: str, shape: str = "") -> ModelIdentity:
    return ModelIdentity(name, "1", "2", "float32", "packed", "cpu", shape=shape)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("org/pythia-1.4b", 1.4e9),
        ("SmolLM2-135M-Instruct", 135e6),
        ("gguf:models/Llama-3.2-1B.Q4_1.gguf", 1e9),
        ("mixtral-8x7B", None),
        ("gpt2", None),
        ("step3M2x", None),
    ],
)
def test_a_size_is_read_from_a_name(name: str, weights: float | None) -> None:
    assert weights_of(identity(name), {}) == weights


def test_a_stated_size_comes_first_and_a_shape_second() -> None:
    model = identity("mine-135M", "gpt2-12x768-50257")
    assert weights_of(model, {}) == 124439808
    assert weights_of(model, {"mine-135M": 2.0}) == 2


@pytest.mark.parametrize("text", ["", "M", "-1M", "0", "1 000", "1Q", "nan"])
def test_no_other_text_is_a_size(text: str) -> None:
    with pytest.raises(UsageError, match="expected a count of weights such as 135M"):
        parse_size(text)


def test_a_size_needs_a_model() -> None:
    with pytest.raises(UsageError, match="expected MODEL=SIZE"):
        parse_sizes(["135M"])


def test_published_models_stand_beside_complete_numbers() -> None:
    results = [
        named(name, 60 - number, shape=PAPER.models[row], row=row)
        for number, (name, row) in enumerate(SHAPES.items())
    ]
    (column,) = score_by_size.columns_by_size([*results, named("pythia-70m", 90)], PAPER)
    assert column.title == "PTB"
    assert [round(spot.weights / 1e6) for spot in column.spots["GPT-2, measured"]] == [
        *(124, 355, 774, 1558)
    ]
    assert [spot.value for spot in column.spots["pythia-70m"]] == [90]
    assert column.published["117M"] == (124439808.0, 65.85)
    assert [value for _, value in column.published.values()] == [65.85, 47.33, 40.31, 35.76]
    assert column.best == 46.54
    limited = replace(results[0], protocol=replace(results[0].protocol, limit=3))
    (column,) = score_by_size.columns_by_size([limited], PAPER)
    assert (column.published, column.best) == ({}, None)
    assert not column.spots["gpt2"][0].complete


def test_models_of_one_family_are_joined() -> None:
    results = [named(f"org/pythia-{size}", 50) for size in ("410m", "70m", "1.4b")]
    (column,) = score_by_size.columns_by_size(results, PAPER)
    assert {name: [spot.weights for spot in spots] for name, spots in column.spots.items()} == {
        "pythia-*": [70e6, 410e6, 1.4e9]
    }


def test_a_model_of_unknown_size_is_named(caplog: pytest.LogCaptureFixture) -> None:
    results = [named("runs/mine", 50), named("pythia-70m", 60)]
    (column,) = score_by_size.columns_by_size(results, PAPER)
    assert [*column.spots] == ["pythia-70m"]
    assert "runs/mine: number of weights unknown" in caplog.text
    with pytest.raises(UsageError, match="expected --size MODEL=135M"):
        score_by_size.columns_by_size(results[:1], PAPER)


def test_a_stated_size_names_a_model_of_the_results() -> None:
    results = [named("runs/mine", 50)]
    (column,) = score_by_size.columns_by_size(results, PAPER, sizes={"runs/mine": 5e6})
    assert [spot.weights for spot in column.spots["mine"]] == [5e6]
    with pytest.raises(UsageError, match="unknown model of --size 'run/mine'; did you mean"):
        score_by_size.columns_by_size(results, PAPER, sizes={"run/mine": 5e6})


def test_a_size_plot_has_our_points_intervals_and_the_papers() -> None:
    columns = score_by_size.columns_by_size([named("pythia-70m", 50)], PAPER)
    (axes,) = sizes.draw(columns).axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert (axes.get_xlabel(), axes.get_ylabel()) == (
        "weights of the model",
        "perplexity per word+eol",
    )
    drawn = [np.asarray(line.get_xydata()).tolist() for line in axes.get_lines()]
    assert [[70e6, 50.0]] in drawn
    assert [[count, value] for count, value in columns[0].published.values()] in drawn
    (bar,) = [collection.get_segments() for collection in axes.collections]  # type: ignore[attr-defined]
    assert np.asarray(bar).tolist() == [[[70e6, 49.0], [70e6, 52.0]]]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a-135M", "b-270M"], ["150M", "200M", "250M"]),
        (["a-124M", "b-135M"], ["125M", "130M", "135M"]),
        (["a-70M", "b-1B"], ["100M", "300M", "1B"]),
        (["a-70M"], None),
    ],
)
def test_sizes_have_two_ticks_or_more_that_do_not_touch(
    names: list[str], expected: list[str] | None
) -> None:
    limited = [
        replace(result, protocol=replace(result.protocol, limit=9))
        for result in (named(name, 50 + number) for number, name in enumerate(names))
    ]
    figure = sizes.draw(score_by_size.columns_by_size(limited, PAPER))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    low, high = axes.get_xlim()
    labels = [
        label
        for place, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
        if low <= place <= high
    ]
    assert len(labels) > 1
    if expected:
        assert [label.get_text() for label in labels] == expected
    boxes = [label.get_window_extent() for label in labels]
    assert all(left.x1 + 4 < right.x0 for left, right in pairwise(boxes))


def test_a_short_axis_of_positions_has_two_ticks(out: Path) -> None:
    found = profiles.Bin(40, 60, 100, 1.0, (0.9, 1.1))
    figure = profile_plots.draw({"task": {"model": [found]}}, profile_plots.POSITION)
    (axes,) = figure.axes
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [32, 64]


def legend_of(figure: "Figure") -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_legend_says_what_the_bars_are(out: Path) -> None:
    result = named("pythia-70m", 50)
    shown = sizes.draw(score_by_size.columns_by_size([result], PAPER))
    assert canvas.INTERVAL in legend_of(shown)
    metric = replace(result.primary, interval=None)
    bare = replace(result, metrics={metric.name: metric})
    shown = sizes.draw(score_by_size.columns_by_size([bare], PAPER))
    assert canvas.INTERVAL not in legend_of(shown)
    models = [out / "toy-unigram", out / "toy-uniform-bytes"]
    assert canvas.INTERVAL in legend_of(kinds.drawing("compare", models)())
    assert canvas.INTERVAL in legend_of(kinds.drawing("frequency", models)())


def total(bins: Iterable[profiles.Bin]) -> int:
    return sum(found.tokens for found in bins)


def naive_loss(measured: Measured, first: int, last: int) -> float:
    """Bits per byte of the tokens with that much context, one by one."""
    table = measured.tokens()
    nats = units = 0.0
    for row in range(len(table)):
        if table.is_right[row] and first <= table.context[row] <= last:
            nats -= float(table.logprob[row])
            units += int(table.end[row] - table.begin[row])
    return nats / math.log(2) / units


def test_loss_by_position_is_that_of_the_tokens_at_the_position(out: Path) -> None:
    for measured in read_measured(out):
        bins = profiles.by_position(measured)
        assert bins
        for found in bins:
            assert found.value == pytest.approx(naive_loss(measured, found.first, found.last))
            if found.interval:
                assert found.interval[0] <= found.value <= found.interval[1]
        assert [found.first for found in bins] == sorted(found.first for found in bins)
        assert total(bins) <= len(measured.tokens())


def test_uniform_bytes_have_the_same_loss_at_every_frequency(out: Path) -> None:
    measured = read_measured(out / "toy-uniform-bytes" / "lm1b")[0]
    bins = profiles.by_frequency(measured)
    assert [found.value for found in bins] == [pytest.approx(math.log(256))] * len(bins)
    assert total(bins) == len(measured.tokens())
    assert [(found.first, found.last) for found in bins][:3] == [(1, 1), (2, 3), (4, 7)]


def test_an_interval_resamples_the_records_with_tokens_in_the_bin(out: Path) -> None:
    measured = read_measured(out / "toy-unigram" / "lm1b")[0]
    table = measured.tokens()
    found = profiles.by_position(measured)[2]
    rows = (table.context >= found.first) & (table.context <= found.last)
    records = np.unique(table.record[rows])
    bits = [-table.logprob[rows & (table.record == one)].sum() / math.log(2) for one in records]
    sizes = table.end - table.begin
    units = [float(sizes[rows & (table.record == one)].sum()) for one in records]
    expected = rate_interval(np.array(bits, np.float64), np.array(units)).interval
    assert expected
    assert found.interval == pytest.approx(expected, rel=1e-5)


def test_a_profile_has_a_panel_per_task_and_a_line_per_model(out: Path) -> None:
    panels = profile_plots.panels(read_measured(out), profile_plots.POSITION)
    assert {*panels} == {"ptb", "lm1b", "cbt_cn"}
    assert {*panels["ptb"]} == {"toy:unigram", "toy:uniform-bytes"}
    figure = profile_plots.draw(panels, profile_plots.POSITION)
    assert {axes.get_title() for axes in figure.axes} == {*panels}
    assert {axes.get_xlabel() for axes in figure.axes} == {"tokens of context before the token"}


@pytest.mark.parametrize("form", ["png", "svg", "pdf"])
def test_equal_figures_give_equal_bytes(out: Path, form: str) -> None:
    draw = kinds.drawing("position", [out / "toy-unigram"])
    first = canvas.picture(draw, form)
    assert canvas.picture(draw, form) == first
    assert first.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[form])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("plot", "plot: no suffix; expected .png, .svg or .pdf"),
        ("plot.pngg", "unknown suffix of plot.pngg '.pngg'; did you mean '.png'"),
        ("plot.tiff", "unknown suffix of plot.tiff '.tiff'; expected one of: .pdf, .png, .svg"),
    ],
)
def test_other_suffixes_are_refused(name: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        canvas.picture_format(Path(name))
    assert message in str(error.value)


def test_a_curve_needs_steps(out: Path) -> None:
    with pytest.raises(UsageError, match="no result states a training step"):
        kinds.drawing("curve", [out])


def test_unknown_kinds_and_tasks_are_named(out: Path) -> None:
    with pytest.raises(UsageError, match="unknown kind of plot 'sise'; did you mean 'size'"):
        kinds.drawing("sise", [out])
    with pytest.raises(UsageError, match="unknown task 'ptbb'; did you mean 'ptb'"):
        kinds.drawing("position", [out], columns=["ptbb"])


def test_long_labels_fit_their_figure() -> None:
    label = "a" * 300
    shown = canvas.legend_text(label, 6.4)
    assert len(shown) * canvas.CHARACTER + canvas.HANDLE < 6.4
    assert "…" in shown
    assert canvas.legend_text("_private", 6.4) == "./_private"


def test_looks_differ() -> None:
    assert len({canvas.look(number) for number in range(88)}) == 88


def test_differences_are_drawn_with_intervals_and_verdicts(out: Path) -> None:
    contest = compare([read_results(out / "toy-unigram"), read_results(out / "toy-uniform-bytes")])
    shown = forest.panels(contest)
    assert [panel.unit for panel in shown] == ["%", "pt"]
    assert [*shown[0].rows] == ["lm1b ppl", "ptb ppl"]
    wide, points = forest.draw(contest).axes
    assert [label.get_text() for label in wide.get_yticklabels()] == [*shown[0].rows]
    assert wide.get_xlabel().startswith("multiple of the baseline's value; less is better")
    assert points.get_xlabel() == "change in points; more is better\nbaseline: toy:unigram"
    duels = [duel for row in shown[0].rows.values() for duel in row]
    dots = [line for line in wide.get_lines() if line.get_marker() != "None"]
    assert [np.asarray(dot.get_xdata()).tolist() for dot in dots] == [[d.change] for d in duels]
    hollow = [dot.get_markerfacecolor() == "white" for dot in dots]
    assert hollow == [duel.verdict not in ("better", "worse") for duel in duels]
    intervals = [duel.change_interval for duel in duels if duel.change_interval]
    bars = [np.asarray(bar.get_segments())[0][:, 0] for bar in wide.collections]  # type: ignore[attr-defined]
    assert [tuple(bar.tolist()) for bar in bars] == intervals


def test_long_names_leave_the_labels_of_differences_whole(out: Path) -> None:
    places = [out / "toy-unigram", out / "toy-uniform-bytes"]
    contest = compare([read_results(place) for place in places])
    name = "instruct-135M-of-a-name-with-many-parts-Q4_1-2026-11-30.gguf"
    duels = [
        replace(duel, baseline=cell._replace(result=replace(cell.result, variant=f"long-{name}")))
        for duel in contest.duels
        for cell in [duel.baseline]
    ]
    figure = forest.draw(replace(contest, duels=tuple(duels), labels=(f"a-{name}", f"b-{name}")))
    figure.draw_without_rendering()
    for axes in figure.axes:
        texts = [axes.xaxis.label, *axes.get_yticklabels()]
        boxes = [text.get_window_extent() for text in texts]
        assert [(b.x0, b.x1) for b in boxes if b.x0 < 0 or b.x1 > figure.bbox.x1] == []


def test_one_model_is_not_compared(out: Path) -> None:
    with pytest.raises(UsageError, match="models to compare: 1; expected two or more"):
        kinds.drawing("compare", [out / "toy-unigram"])


def test_a_result_without_scores_is_left_out_of_the_profiles(
    out: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bare = tmp_path / "bare" / "result.json"
    bare.parent.mkdir()
    bare.write_bytes((out / "toy-unigram" / "ptb" / "result.json").read_bytes())
    figure = kinds.drawing("position", [out / "toy-unigram", bare])()
    assert len(figure.axes) == 3
    assert f"left out: {bare}: its journal has no scores" in caplog.text
    with pytest.raises(UsageError, match="its journal has no scores"):
        kinds.drawing("position", [bare])
