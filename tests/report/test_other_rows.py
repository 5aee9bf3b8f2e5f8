"""Suites of other people's tables: rows of models that no shape identifies, with their sources."""

import json
from dataclasses import replace

import pytest

from gpt2eval import demo, evaluate
from gpt2eval.config.loader import load_suite
from gpt2eval.metrics.result import Figures, Result
from gpt2eval.report.table import render
from gpt2eval.settings import Settings

SUITE = load_suite("diffusion-zero-shot")
PAPER = load_suite("gpt2-paper")
MDLM = Figures("MDLM, table 3", "ppl", {"AR": 82.05, "SEDD": 100.09, "MDLM": 95.26})
BD3LM = Figures("BD3-LM, table 5", "ppl", {"AR": 81.07, "BD3-LM": 96.81})


def result(variant: str, *published: Figures, row: str = "", limit: int | None = None) -> Result:
    """A result as if measured on the published text of a variant of PTB."""
    (base,) = evaluate("toy:unigram", ["ptb"], data=demo.data(), settings=Settings(limit=3))
    return replace(
        base,
        variant=variant,
        published=published,
        row=row,
        data=replace(base.data, published=True),
        protocol=replace(base.protocol, limit=limit),
    )


def rows(text: str) -> dict[str, list[str]]:
    lines = [line for line in text.partition("\n\n")[0].splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in cells}


def test_rows_of_other_models_stand_below_ours_each_in_its_own_protocol() -> None:
    table = render([result("mdlm", MDLM), result("bd3lm", BD3LM)], SUITE)
    found = rows(table)
    assert list(found) == [
        "model",
        "toy:unigram",
        *(f"published {name}" for name in ("AR", "SEDD", "MDLM", "BD3-LM")),
    ]
    assert found["model"] == ["PTB /mdlm", "PTB /bd3lm"]
    assert found["published AR"] == ["82.05", "81.07"]
    assert found["published SEDD"] == ["100.09", ""]
    assert found["published BD3-LM"] == ["", "96.81"]


def test_the_sources_of_the_rows_are_stated() -> None:
    table = render([result("mdlm", MDLM), result("bd3lm", BD3LM)], SUITE).splitlines()
    assert "published AR, SEDD, MDLM (PTB /mdlm): MDLM, table 3" in table
    assert "published AR, BD3-LM (PTB /bd3lm): BD3-LM, table 5" in table
    alone = render([result("mdlm", MDLM)], SUITE)
    assert "(PTB /mdlm): MDLM, table 3" in alone, "also a single source"


def test_one_source_of_the_own_models_is_not_repeated() -> None:
    table_3 = Figures("the paper", "ppl", {"SOTA": 46.54, "117M": 65.85})
    assert "the paper" not in render([result("", table_3)], PAPER)
    other = Figures("somebody", "ppl", {"117M": 52.53})
    both = render([result("", table_3), result("hf_docs", other)], PAPER).splitlines()
    assert "published SOTA, 117M (PTB): the paper" in both
    assert "published 117M (PTB /hf_docs): somebody" in both


def test_the_rows_follow_the_verdicts_of_a_published_model() -> None:
    both = Figures("somebody", "ppl", {"117M": 52.53, "AR": 82.05})
    found = rows(render([result("mdlm", both, row="117M")], SUITE))
    assert [*found][1:] == [
        *("toy:unigram", "published 117M", "difference", "tolerance", "verdict"),
        "published AR",
    ]


def test_a_model_without_a_published_figure_has_no_verdicts() -> None:
    found = rows(render([result("mdlm", MDLM, row="117M")], SUITE))
    assert [*found][1:] == ["toy:unigram", *(f"published {name}" for name in MDLM.rows)]


def test_a_part_of_the_data_has_no_published_rows() -> None:
    assert "published AR" not in render([result("mdlm", MDLM, limit=3)], SUITE)


@pytest.mark.parametrize("form", ["terminal", "latex", "csv", "json"])
def test_every_format_has_the_rows(form: str) -> None:
    text = render([result("mdlm", MDLM)], SUITE, form, width=80)
    assert "published SEDD" in text
    assert "100.09" in text
    if form == "json":
        labels = [row["model"] for row in json.loads(text)["rows"]]
        assert labels == ["toy:unigram", *(f"published {name}" for name in MDLM.rows)]


def test_a_known_reason_belongs_to_its_figure_only() -> None:
    known = PAPER.known[0]
    for figure, shown in ((17.48, True), (20.13, False)):
        made = result("megatron", Figures("somebody", "ppl", {"1542M": figure}), row="1542M")
        made = replace(made, task=known.task)
        assert ("17.48 does not fit" in render([made], PAPER)) == shown


def test_suites_of_other_tables_have_models_and_tolerances() -> None:
    for name, metric in (
        ("diffusion-zero-shot", "ppl"),
        ("quantization", "ppl"),
        ("nanogpt", "nats_per_token"),
    ):
        suite = load_suite(name)
        assert suite.models == PAPER.models
        assert {column.metric for column in suite.columns} == {metric} == {*suite.tolerances}
