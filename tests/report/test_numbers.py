"""Numbers: at least four digits for people, every digit and strict JSON for programs."""

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval import Result, demo, evaluate, read_results
from gpt2eval.config.loader import load_suite
from gpt2eval.report import result_schema, store, strict_json, tidy
from gpt2eval.report.numbers import published_text, value_text
from gpt2eval.report.render import render_rows
from gpt2eval.report.table import render
from gpt2eval.settings import Settings

SUITE = load_suite("gpt2-paper")


@pytest.fixture(scope="module")
def ptb() -> Result:
    (result,) = evaluate("toy:unigram", "ptb", data=demo.data(), settings=Settings(limit=3))
    return result


def valued(result: Result, value: float, interval: tuple[float, float] | None = None) -> Result:
    metric = replace(result.metrics["ppl"], value=value, interval=interval)
    tally = replace(result.tally, nats=math.log(value) * metric.units)
    return replace(result, metrics={"ppl": metric}, tally=tally)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (110_000.4, "110,000"),
        (1_940_430.2, "1,940,430"),
        (62_817.123, "62817.12"),
        (99_999.999, "100000.00"),
        (2.8596075e16, "2.860e+16"),
        (23.1149, "23.11"),
        (9.87654, "9.877"),
        (0.93, "0.9300"),
        (0.0123456, "0.01235"),
        (0.0000123456, "1.235e-05"),
        (0.0, "0.00"),
        (math.inf, "infinite"),
    ],
)
def test_a_value_for_people(value: float, text: str) -> None:
    assert value_text(value) == text


@given(st.floats(1e-4, 1e300))
def test_a_value_has_four_digits_and_rounds_to_the_nearest(value: float) -> None:
    text = value_text(value).replace(",", "")
    digits = text.partition("e")[0].replace(".", "").lstrip("0")
    assert len(digits) >= 4
    assert float(text) == pytest.approx(value, rel=6e-4)


@given(st.floats(0, 100))
def test_an_accuracy_has_two_decimals(value: float) -> None:
    assert value_text(value, "acc") == f"{value:.2f}"


@given(st.decimals(0, 10**9, places=3))
def test_a_published_figure_keeps_its_digits(figure: Any) -> None:
    assert float(published_text(float(figure))) == float(figure)


# -- for programs ----------------------------------------------------------------------------------


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


@given(st.floats(allow_nan=False))
def test_json_keeps_every_bit(value: float) -> None:
    text = strict_json.dumps({"value": value, "pair": [1.0, value], "deep": [{"x": value}]})
    read = strict_json.restored(json.loads(text, parse_constant=refuse))
    assert read == {"value": value, "pair": [1.0, value], "deep": [{"x": value}]}


def test_a_number_that_is_not_finite_states_its_reason() -> None:
    content = strict_json.finite({"a": math.nan, "b": -math.inf, "c": 1.0, "d": None})
    assert content == {
        "a": None,
        "a_reason": "not a number",
        "b": None,
        "b_reason": "negative infinite",
        "c": 1.0,
        "d": None,
    }


@pytest.mark.parametrize("value", [1 / 3 * 1e5, 123_456_789.123456789, 2.8596075144525932e16])
def test_every_format_for_programs_has_every_digit(
    ptb: Result, tmp_path: Path, value: float
) -> None:
    result = valued(ptb, value, (value / 3, value * 3))
    (row,) = csv.DictReader(io.StringIO(render([result], SUITE, "csv")))
    assert float(row["PTB"]) == value
    content: Any = json.loads(render([result], SUITE, "json"), parse_constant=refuse)
    assert (content["rows"][0]["PTB"], content["cells"][0]["value"]) == (value, value)
    assert content["cells"][0]["interval"] == [value / 3, value * 3]
    (tidied,) = csv.DictReader(tidy.to_csv(tidy.tidy_rows(result)).decode().splitlines())
    assert [float(tidied[key]) for key in ("value", "ci_low", "ci_high")] == [
        *(value, value / 3, value * 3)
    ]
    store.write_result(tmp_path, result)
    assert store.read_result(tmp_path / "result.json") == result


@pytest.mark.parametrize("interval", [(3.0, math.inf), (math.inf, math.inf)])
def test_an_infinite_perplexity_is_null_with_a_reason(
    ptb: Result, tmp_path: Path, interval: tuple[float, float]
) -> None:
    result = valued(ptb, math.inf, interval)
    result = replace(result, tally=replace(result.tally, nats=math.inf))
    store.write_result(tmp_path, result)
    path = tmp_path / "result.json"
    document: Any = json.loads(path.read_text(), parse_constant=refuse)
    metric = document["metrics"]["ppl"]
    assert (metric["value"], metric["value_reason"]) == (None, "infinite")
    assert (metric["interval"][1], metric["interval_reason"]) == (None, "infinite")
    assert (document["tally"]["nats"], document["tally"]["nats_reason"]) == (None, "infinite")
    assert store.read_result(path) == result
    if validator := pytest.importorskip("jsonschema").Draft202012Validator:
        problems = validator(result_schema.result_schema()).iter_errors(document)
        assert [problem.message for problem in problems] == []
    content: Any = json.loads(render([result], SUITE, "json"), parse_constant=refuse)
    assert (content["rows"][0]["PTB"], content["rows"][0]["PTB_reason"]) == (None, "infinite")
    (row,) = csv.DictReader(io.StringIO(render([result], SUITE, "csv")))
    assert (row["PTB"], row["reason"]) == ("", "PTB infinite")
    (tidied,) = csv.DictReader(tidy.to_csv(tidy.tidy_rows(result)).decode().splitlines())
    assert (tidied["value"], tidied["ci_high"]) == ("", "")
    assert {"value infinite", "ci_high infinite", "nats infinite"} <= {
        *tidied["reason"].split("; ")
    }
    assert "infinite*!" in render([result], SUITE)


def test_a_result_with_infinity_of_an_older_format_is_read(ptb: Result, tmp_path: Path) -> None:
    document = store.to_document(valued(ptb, math.inf, (1.0, math.inf)))
    (tmp_path / "result.json").write_text(json.dumps(document | {"format": 1}))
    (result,) = read_results(tmp_path)
    assert (result.ppl, result.metrics["ppl"].interval) == (math.inf, (1.0, math.inf))


def test_rows_of_other_reports() -> None:
    rows = [{"task": "a", "share": 1 / 3, "bound": math.inf, "count": 1234567}]
    assert json.loads(render_rows(rows, "json"), parse_constant=refuse) == [
        {
            "task": "a",
            "share": 1 / 3,
            "bound": None,
            "bound_reason": "infinite",
            "count": 1234567,
        }
    ]
    assert render_rows(rows, "csv").splitlines()[1] == f"a,{1 / 3!r},,1234567"
    assert render_rows(rows).splitlines()[2].split("|")[2].strip() == "0.3333"
