"""The table in a terminal: readable at any width, every number present, published rows below."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from gpt2eval import demo, evaluate
from gpt2eval.config.loader import load_suite
from gpt2eval.data.listing import listing
from gpt2eval.errors import UsageError
from gpt2eval.metrics.result import Result
from gpt2eval.report import labels, table
from gpt2eval.report.data_table import STATED
from gpt2eval.report.numbers import interval_text, published_text, value_text
from gpt2eval.settings import Settings

SUITE = load_suite("gpt2-paper")
MODELS = ("toy:uniform-bytes", "toy:unigram", "demo")
WIDTHS = (60, 80, 120, 200, 400)


@pytest.fixture(scope="module")
def results() -> list[Result]:
    """The paper's tasks on three models, as if on complete data of two records."""
    settings = Settings(limit=2)
    return [
        replace(result, protocol=replace(result.protocol, limit=None))
        for model in MODELS
        for result in evaluate(model, "gpt2-paper", data=demo.data(), settings=settings)
    ]


def rendered(results: list[Result], width: int, *, signatures: bool = False) -> str:
    return table.render(results, SUITE, "terminal", mixed=True, width=width, signatures=signatures)


@pytest.mark.parametrize("width", WIDTHS)
def test_no_line_is_wider_than_the_terminal(results: list[Result], width: int) -> None:
    assert max(len(line) for line in rendered(results, width).splitlines()) <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_every_number_and_interval_is_present(results: list[Result], width: int) -> None:
    words = " ".join(rendered(results, width).split())
    for result in results:
        for metric in result.metrics.values():
            if metric.name == "nats_per_token":  # of no column
                continue
            assert value_text(metric.value, metric.name) in words
            if metric.name != "byte_ppl":  # a note has its value
                assert interval_text(metric) in words
            for row in ("SOTA", *SUITE.models):
                figure = result.figure(metric.name, row)
                assert figure is None or published_text(figure[0]) in words


@pytest.mark.parametrize("width", WIDTHS)
def test_published_rows_are_below_ours_after_a_rule(results: list[Result], width: int) -> None:
    text = rendered(results, width).partition("Signatures")[0]
    for block in text.strip().split("\n\n"):
        head, ours, *others = block.split("\n─")
        assert head.split("\n")[-1].split()[0] == "model"
        assert [line.split()[0] for line in ours.splitlines() if line.startswith(MODELS)] == [
            *MODELS
        ]
        rows = [line.split()[0] for published in others for line in published.splitlines()[1:]]
        assert set(rows) == ({"published"} if rows else set())
        assert rows or head.split() == ["LAMBADA", "ACC", "model", "unfiltered"]


def test_a_wider_terminal_has_fewer_blocks(results: list[Result]) -> None:
    blocks = [rendered(results, width).count("model  ") for width in WIDTHS]
    assert blocks == sorted(blocks, reverse=True)
    assert blocks[-1] == 1


def test_an_interval_stands_beside_its_number_where_there_is_space(results: list[Result]) -> None:
    (text8,) = (r for r in results if r.task == "text8" and r.model.name == "toy:unigram")
    metric = text8.metrics["bpc"]
    assert f"{value_text(metric.value)}! {interval_text(metric)}" in rendered([text8], 80)


def test_signatures_are_short_and_in_full_on_request(results: list[Result]) -> None:
    chosen = [result for result in results if result.task in ("ptb", "text8")]
    short = rendered(chosen, 200)
    full = rendered(chosen, 200, signatures=True)
    for result in chosen:
        assert result.signature not in short
        assert result.signature in full
        for field in result.signature.split("|"):
            assert field in short, "no field is lost"
    lines = short.partition("full:\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split("  ")[1] for line in lines] == [*MODELS, "PTB", "text8 BPC"]


def test_one_column_of_one_model_has_a_line_for_each(results: list[Result]) -> None:
    (ptb,) = (r for r in results if r.task == "ptb" and r.model.name == "demo")
    lines = rendered([ptb], 400).partition("full:\n")[2].partition("\n\n")[0].splitlines()
    assert lines[0].split()[1].startswith("model:demo@")
    assert lines[1].split()[:2] == ["PTB", "task:ptb"]


def test_labels_are_the_last_part_of_a_path(results: list[Result]) -> None:
    (ptb,) = (r for r in results if r.task == "ptb" and r.model.name == "demo")

    def named(name: str, **facts: str) -> Result:
        return replace(ptb, model=replace(ptb.model, name=name, **facts))

    def shown(*chosen: Result) -> list[str]:
        text = table.render(chosen, SUITE, mixed=True)
        return [line.split("|")[1].strip() for line in text.splitlines()[2 : 2 + len(chosen)]]

    assert shown(named("/home/me/runs/a/last")) == ["last"]
    assert shown(named("runs/a/last"), named("runs/b/last/")) == ["a/last", "b/last"]
    assert shown(named("org/m@step1"), named("org/m@step2")) == ["m@step1", "m@step2"]
    assert shown(named("gpt2"), named("gpt2", dtype="bfloat16")) == [
        "gpt2 float32",
        "gpt2 bfloat16",
    ]
    assert shown(named("gpt2", revision="1"), named("gpt2", revision="2")) == ["gpt2@1", "gpt2@2"]
    assert labels.short_names([ptb.model]) == {"demo": "demo"}


def test_columns_are_chosen_by_title_or_task(results: list[Result]) -> None:
    def head(*names: str) -> list[str]:
        text = table.render(results, SUITE, "csv", mixed=True, columns=names)
        titles = text.splitlines()[0].split(",")
        assert titles[-len(STATED) :] == [*STATED]
        return titles[: -len(STATED)]

    assert head("text8 bpc", "PTB") == ["model", "text8 BPC", "PTB"]
    assert head("lambada") == ["model", "LAMBADA PPL", "LAMBADA ACC", "LAMBADA ACC unfiltered"]
    with pytest.raises(UsageError, match="unknown column 'text9'; did you mean 'text8'"):
        head("text9")


def test_latex_fits_a_page(results: list[Result]) -> None:
    """Right-aligned numbers, titles over several lines, a rule before the published rows."""
    own = [replace(r, model=replace(r.model, name="a_b & c")) for r in results[:9]]
    lines = table.render(own, SUITE, "latex", mixed=True).splitlines()
    assert lines[1] == r"\begin{adjustbox}{max width=\textwidth}"
    assert lines[2] == r"\begin{tabular}{l" + "r" * 11 + "}"
    assert lines[4].startswith(r"\textbf{model} & \shortstack[r]{LAMBADA \\ PPL} & ")
    rules = [number for number, line in enumerate(lines) if line == r"\midrule"]
    assert lines[rules[0] + 1].startswith(r"a\_b \& c & ")
    assert lines[rules[1] + 1].startswith("published SOTA & 99.80 & ")
    assert len(rules) == 2
    body = lines[4 : lines.index(r"\bottomrule")]
    assert {line.count(" & ") for line in body if line != r"\midrule"} == {11}


@pytest.mark.parametrize("width", [80, 120])
def test_the_list_of_data_fits_the_terminal(tmp_path: Path, width: int) -> None:
    wide = listing(cache=tmp_path)
    narrow = listing(cache=tmp_path, width=width)
    assert max(map(len, narrow.splitlines())) <= width
    shown = "".join(narrow.split())  # a long URL is broken anywhere
    assert all(word in shown for word in re.split(r"[\s-]+", wide))
    assert listing(cache=tmp_path, width=400) == wide
