"""Numbers that are not plain results: marked, explained, and never beside a published figure."""

import csv
import html
import io
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpt2eval import demo, evaluate
from gpt2eval.config.loader import load_suite, load_task
from gpt2eval.data.custom import load_text
from gpt2eval.metrics.result import Figures, Result
from gpt2eval.report import marks, tidy
from gpt2eval.report.escape import latex
from gpt2eval.report.table import page, render
from gpt2eval.settings import Settings

Run = Callable[..., Any]

SUITE = load_suite("gpt2-paper")
TASKS = ("wikitext2", "ptb")
VALUES = {"wikitext2": 29.74, "ptb": 65.0}


@pytest.fixture(scope="module")
def results() -> dict[str, Result]:
    """Results as if GPT-2 117M had scored the published data."""
    made = evaluate("toy:unigram", TASKS, data=demo.data(), settings=Settings(limit=2))
    return {result.task: complete(result) for result in made}


def complete(result: Result) -> Result:
    published = tuple(
        Figures(figures.source, figures.metric, figures.rows)
        for figures in load_task(result.task).published
    )
    metric = replace(result.metrics["ppl"], value=VALUES[result.task], interval=(20.0, 80.0))
    return replace(
        result,
        metrics={"ppl": metric},
        published=published,
        row="117M",
        model=replace(result.model, name="gpt2"),
        data=replace(result.data, published=True),
        protocol=replace(result.protocol, limit=None),
    )


def limited(result: Result, limit: int = 20) -> Result:
    return replace(result, protocol=replace(result.protocol, limit=limit))


def named(result: Result, name: str, row: str = "117M") -> Result:
    return replace(result, row=row, model=replace(result.model, name=name))


def rows_of(*results: Result) -> dict[str, list[str]]:
    """The rows of the Markdown table by label."""
    lines = render(results, SUITE, mixed=True).partition("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in cells}


def footers_of(*results: Result) -> list[str]:
    return render(results, SUITE, mixed=True).split("\n\n")[-1].splitlines()


# -- limited results -------------------------------------------------------------------------------


def test_a_complete_result_has_its_published_row_and_verdict(results: dict[str, Result]) -> None:
    assert rows_of(*results.values()) == {
        "gpt2": ["29.74", "65.00"],
        "published 117M": ["29.41", "65.85"],
        "difference": ["+0.33", "-0.85"],
        "tolerance": ["0.59", "1.32"],
        "verdict": ["within", "within"],
    }


@pytest.mark.parametrize("row", ["117M", ""])
def test_limited_results_have_no_published_row(results: dict[str, Result], row: str) -> None:
    shown = [limited(named(result, "gpt2", row)) for result in results.values()]
    assert rows_of(*shown) == {"gpt2": ["29.74*", "65.00*"]}
    assert footers_of(*shown) == [
        "* limited to the first records or lines (--limit), so not comparable with published "
        "figures: ptb (first 20), wikitext2 (first 20)"
    ]


def test_a_limited_column_has_no_published_figure(results: dict[str, Result]) -> None:
    """One column is complete, the other limited."""
    assert rows_of(results["ptb"], limited(results["wikitext2"])) == {
        "gpt2": ["29.74*", "65.00"],
        "published 117M": ["", "65.85"],
        "difference": ["", "-0.85"],
        "tolerance": ["", "1.32"],
        "verdict": ["", "within"],
    }


def test_a_limited_model_below_a_complete_one(results: dict[str, Result]) -> None:
    rows = rows_of(results["ptb"], limited(named(results["ptb"], "other")))
    assert [*rows] == [
        *("gpt2", "published 117M", "difference", "tolerance", "verdict"),
        "other",
    ]
    assert rows["other"] == ["65.00*"]


def test_published_rows_of_other_models_follow_where_one_number_is_complete(
    results: dict[str, Result],
) -> None:
    ptb = named(results["ptb"], "mine", "")
    assert "published 117M" in rows_of(ptb, limited(named(ptb, "other", "")))
    assert "published 117M" not in rows_of(limited(ptb), limited(named(ptb, "other", "")))


@pytest.mark.parametrize("form", ["markdown", "latex", "terminal"])
def test_every_table_for_people_has_the_mark_and_its_footer(
    results: dict[str, Result], form: str
) -> None:
    text = render([limited(results["ptb"])], SUITE, form, width=200)
    assert "65.00*" in text
    (footer,) = (line for line in text.splitlines() if "* limited to the first" in line)
    assert not footer.startswith("%")
    assert "published 117M" not in text


def test_a_notebook_has_the_mark_too(results: dict[str, Result]) -> None:
    text = page([limited(results["ptb"])], SUITE)
    assert "<td>65.00*</td>" in text
    assert "\n* limited to the first" in text


# -- other marks -----------------------------------------------------------------------------------


def test_unpublished_data_have_a_mark_and_no_verdict(results: dict[str, Result]) -> None:
    result = results["ptb"]
    other = replace(result, data=replace(result.data, published=False, origin="my.txt"))
    assert rows_of(other)["gpt2"] == ["65.00!"]
    assert rows_of(other)["verdict"] == ["no target"]
    assert rows_of(limited(other)) == {"gpt2": ["65.00*!"]}
    assert footers_of(limited(other))[-1].startswith("! not known to be the published test data")


def test_a_start_token_left_out_ties_and_kept_lines(results: dict[str, Result]) -> None:
    result = results["ptb"]
    tally = replace(result.tally, tokens=2999, ties=3)
    kept = replace(result.protocol, detok="ptb.1(kept 40/41)")
    marked = replace(result, tally=tally, protocol=kept, start_loss=1.49)
    assert marks.marks(marked) == "‡"
    assert marks.footers([marked]) == [
        "‡ the protocol leaves out the start token that the model expects, which costs nats per "
        "token: ptb, gpt2 (1.49)",
        "ptb, gpt2: 3 of 2999 tokens (0.1%) have a tie for the highest score",
        "ptb: the detokenizer keeps 40 of 41 lines as published",
    ]
    tally = replace(tally, tokens=3000)  # one in a thousand is not above it
    assert len(marks.footers([replace(marked, tally=tally)])) == 2


@pytest.mark.parametrize(
    ("resampled", "units", "reason"),
    [("", 0, marks.TOO_FEW), ("article", 12, "12 articles; no interval can be trusted below 30")],
)
def test_a_missing_interval_is_explained(
    results: dict[str, Result], resampled: str, units: int, reason: str
) -> None:
    result = results["ptb"]
    missing = replace(
        result.metrics["ppl"], interval=None, resampled=resampled, resampled_units=units
    )
    assert footers_of(replace(result, metrics={"ppl": missing}))[-1] == f"ptb: {reason}"


# -- for programs ----------------------------------------------------------------------------------


def test_csv_states_limit_data_and_signature(results: dict[str, Result]) -> None:
    shown = [results["ptb"], limited(results["wikitext2"])]
    table = render(shown, SUITE, "csv", mixed=True)
    first, second, *others = csv.DictReader(io.StringIO(table))
    assert (first["model"], first["limit"], first["WikiText2"]) == ("gpt2", "20", "29.74")
    assert (second["model"], second["limit"], second["PTB"]) == ("gpt2", "", "65.0")
    assert {row["published_data"] for row in (first, second)} == {"True"}
    assert second["signature"] == results["ptb"].signature
    assert [(row["model"], row["WikiText2"], row["PTB"]) for row in others] == [
        ("published 117M", "", "65.85"),
        ("difference", "", str(65.0 - 65.85)),
        ("tolerance", "", str(0.02 * 65.85)),
        ("verdict", "", "within"),
    ]


def test_json_states_all_of_it_for_each_number(results: dict[str, Result]) -> None:
    shown = [results["ptb"], limited(results["wikitext2"], 7)]
    content: Any = json.loads(render(shown, SUITE, "json", mixed=True))
    assert {row["limit"] for row in content["rows"][:2]} == {None, 7}
    wikitext, ptb = sorted(content["cells"], key=lambda cell: cell["task"], reverse=True)
    assert (wikitext["limit"], wikitext["marks"], wikitext["value"]) == (7, "*", 29.74)
    assert {wikitext[key] for key in ("published", "difference", "tolerance", "verdict")} == {None}
    assert (ptb["published"], ptb["verdict"], ptb["published_data"]) == (65.85, "within", True)
    assert content["signatures"]["gpt2"]["PTB"] == results["ptb"].signature


def test_results_csv_has_no_published_figure_beside_a_limited_value(
    results: dict[str, Result],
) -> None:
    (full,) = tidy.tidy_rows(results["ptb"])
    (part,) = tidy.tidy_rows(limited(results["ptb"]))
    assert (full["published"], full["limit"], full["published_data"]) == (65.85, None, True)
    assert (part["published"], part["source"], part["limit"]) == (None, "", 20)


def test_a_comparison_of_limited_numbers_says_that_they_have_no_verdict(gpt2eval: Run) -> None:
    line = "task:ptb|data:dd65dff3|ask:everything|unit:word@3{}"
    plain, part = line.format(""), line.format("|limit:20")
    assert gpt2eval("diff", plain, plain).out.count("\n") == 1
    ended = gpt2eval("diff", part, part)
    assert (ended.code, ended.out.splitlines()[-1]) == (
        0,
        "not comparable with published figures: limited to the first 20 records or lines",
    )
    apart = gpt2eval("diff", plain, part)
    assert (apart.code, "published figures" in apart.out) == (1, False), "not comparable at all"


# -- bits and perplexities -------------------------------------------------------------------------


def bits_results(task: str, metrics: dict[str, float], models: tuple[str, ...]) -> list[Result]:
    """Results of a byte-wise task with these values, one per model."""
    (base,) = evaluate("toy:unigram", task, data=demo.data(), settings=Settings(limit=1))
    values = {name: replace(base.metrics[name], value=value) for name, value in metrics.items()}
    return [replace(base, metrics=values, model=replace(base.model, name=name)) for name in models]


def test_a_footer_states_bits_per_byte_as_a_byte_perplexity() -> None:
    results = bits_results("enwik8", {"bpb": math.log2(2.23), "byte_ppl": 2.23}, ("a", "b"))
    line = (
        "enwik8 BPB: byte perplexity 2.230 = 1.157 bits per byte (a), 2.230 = 1.157 bits per byte "
        "(b)"
    )
    assert line in footers_of(*results)
    assert html.escape(line) in page(results, SUITE)
    assert latex(line) in render(results, SUITE, "latex")
    folded = render(results, SUITE, "terminal", width=80)
    assert "byte perplexity 2.230 = 1.157 bits per byte" in folded
    assert max(map(len, folded.splitlines())) <= 80


def test_a_footer_states_bits_per_character_as_a_character_perplexity() -> None:
    (result,) = bits_results("text8", {"bpc": 1.0, "nats_per_token": 3.0}, ("a",))
    assert "text8 BPC: character perplexity 2.000 = 1.000 bits per character (a)" in footers_of(
        result
    )


def test_a_footer_states_a_byte_perplexity_alone_as_bits() -> None:
    (result,) = bits_results("enwik8/hf_docs", {"byte_ppl": 2.23}, ("a",))
    line = "enwik8/hf_docs byte_ppl: byte perplexity 2.230 = 1.157 bits per byte (a)"
    assert line in footers_of(result)


@pytest.mark.parametrize("bits", [0.0, 2000.0, math.inf])
def test_numbers_without_another_form_have_no_footer(bits: float) -> None:
    (result,) = bits_results("enwik8", {"bpb": bits}, ("a",))
    assert "perplexity" not in "".join(footers_of(result))


def test_a_table_with_both_numbers_has_no_footer(tmp_path: Path) -> None:
    file = tmp_path / "my.txt"
    file.write_text("one two\n", encoding="utf-8")
    (result,) = evaluate("toy:unigram", texts=[load_text(file, "byte")])
    assert [*result.metrics] == ["bpb", "byte_ppl", "nats_per_token"]
    assert result.byte_ppl == pytest.approx(2**result.bpb)
    assert "bits per byte" not in "".join(footers_of(result))


@pytest.mark.parametrize("task", ["enwik8", "text8"])
def test_byte_perplexity_is_a_metric_of_byte_wise_tasks(task: str) -> None:
    (result,) = evaluate("toy:unigram", task, data=demo.data())
    bits = result.bpb if task == "enwik8" else result.bpc
    assert result.byte_ppl == pytest.approx(2**bits, rel=1e-12)
    assert result.metric("byte_ppl").unit == "byte"
    (frame_row,) = [row for row in tidy.tidy_rows(result) if row["metric"] == "byte_ppl"]
    assert frame_row["value"] == result.byte_ppl
