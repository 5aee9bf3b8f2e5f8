"""Text from files in tables: no formula, no broken cell, no command to a terminal."""

import csv
import html
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval import Result, demo, evaluate
from gpt2eval.analysis.reproduce import diff
from gpt2eval.cli.watch import print_lines
from gpt2eval.config.loader import load_suite
from gpt2eval.config.suite_schema import Column
from gpt2eval.metrics.signature import read, written
from gpt2eval.report import escape, store, tidy
from gpt2eval.report.plots import curves
from gpt2eval.report.plots.curves import Point
from gpt2eval.report.render import render_rows
from gpt2eval.report.results import Results
from gpt2eval.report.table import page, render
from gpt2eval.settings import Settings

SUITE = load_suite("gpt2-paper")
CANARIES = [
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    " =1",
    "＝1",
    "a|b",
    "a\\|b",
    "a\\",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x9b31m",
    "a\u202eb",
    "a\nb",
    "a\r\nb",
    "a\u2028b",
    "a\x00b",
    "a\x7f",
    "a\udcffb",
    "100% $x_1^2$ #~{}\\input{x}",
    "[x]",
    "<script>alert(1)</script>",
    "\U000e0041",
]
UNSEEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u202a-\u202e\u2028\ud800-\udfff\U000e0041]")


@pytest.fixture(scope="module")
def plain() -> Result:
    (result,) = evaluate("toy:unigram", "ptb", data=demo.data(), settings=Settings(limit=3))
    return result


def encoded(text: str) -> str:
    """Return text as a value of a signature, all percent-encoded."""
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "replace"))


def named(result: Result, text: str) -> Result:
    """The result with a text in every field that a file may fill."""
    line = f"{text} {result.signature}|x:{encoded(text)}"
    return replace(
        result,
        title=text,
        variant=text,
        version=text,
        row=text,
        model=replace(result.model, name=text, label=text, revision=text, peft=text),
        data=replace(result.data, origin=text),
        metrics={"ppl": replace(result.metrics["ppl"], signature=line, unit=text)},
        published=(),
    )


@pytest.mark.parametrize("text", CANARIES)
@pytest.mark.parametrize("form", ["markdown", "csv", "json", "latex"])
def test_no_table_prints_a_command_to_a_terminal(plain: Result, text: str, form: str) -> None:
    table = render([named(plain, text), plain], SUITE, form, mixed=True)
    assert UNSEEN.search(table) is None
    table.encode()


@pytest.mark.parametrize("text", CANARIES)
def test_the_table_of_a_terminal(plain: Result, text: str) -> None:
    shown = [named(plain, text), plain]
    lines = render(shown, SUITE, "terminal", mixed=True, width=80).splitlines()
    assert UNSEEN.search("".join(lines)) is None
    assert max(map(len, lines)) <= 80
    full = render(shown, SUITE, "terminal", mixed=True, width=80, signatures=True)
    assert UNSEEN.search(full.replace("\n", "")) is None


@pytest.mark.parametrize("text", CANARIES)
def test_a_markdown_table_keeps_its_shape(plain: Result, text: str) -> None:
    table = render([named(plain, text), plain], SUITE, mixed=True).partition("\n\n")[0]
    pipes = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in table.splitlines()}
    assert len(pipes) == 1
    assert "<script" not in table


def test_a_note_below_a_markdown_table_opens_no_tag(plain: Result) -> None:
    tag = "<script>alert(1)</script>"
    named = replace(plain, data=replace(plain.data, origin=tag))
    labelled = replace(named, model=replace(plain.model, label=tag))
    notes = render([labelled, plain], SUITE, mixed=True).partition("\n\n")[2]
    assert "alert(1)" in notes
    assert "<script" not in notes


@pytest.mark.parametrize("token", ["<s>", "<|endoftext|>", "</s>", "<!--", "a<b", "1<2"])
def test_a_signature_below_a_markdown_table_opens_no_tag(plain: Result, token: str) -> None:
    metric = plain.metrics["ppl"]
    fields = read(metric.signature) | {"start": token, "model": "<script>@1"}
    signed = replace(plain, metrics={"ppl": replace(metric, signature=written(fields))})
    lines = render([signed], SUITE, mixed=True).partition("\n\n")[2].splitlines()
    assert not re.search("<[a-z/!]", lines[0])
    assert read(lines[0]) == fields, "still read as it is pasted"
    assert "&lt;|endoftext" not in lines[0], "no needless escape"


@pytest.mark.parametrize("text", CANARIES)
def test_a_latex_table_keeps_its_shape(plain: Result, text: str) -> None:
    lines = render([named(plain, text), plain], SUITE, "latex", mixed=True).splitlines()
    body = [line for line in lines if not line.startswith("%")]
    rows = body[body.index(r"\midrule") + 1 : body.index(r"\bottomrule")]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows if row[0] != "\\"} <= {2}
    assert r"\input" not in "".join(body)
    assert all(line.startswith(("\\", "%")) for line in lines[lines.index(r"\end{tabular}") :])
    assert not any(line.startswith("[") for line in body)


@pytest.mark.parametrize("text", CANARIES)
def test_no_spreadsheet_runs_a_cell(plain: Result, text: str) -> None:
    result = named(plain, text)
    suite = SUITE.model_copy(update={"columns": (Column(title=text, task="ptb", metric="ppl"),)})
    tables = [
        render([result, plain], SUITE, "csv", mixed=True),
        render([result, plain], suite, "csv", mixed=True),
        tidy.to_csv([*tidy.tidy_rows(result), *tidy.tidy_rows(plain)]).decode(),
        render_rows([{text: text, "share": -0.5}], "csv"),
    ]
    for table in tables:
        rows = list(csv.reader(io.StringIO(table)))
        assert len({len(row) for row in rows}) == 1
        for cell in (cell for row in rows for cell in row):
            is_number = re.fullmatch(r"-?\d[\d.e+-]*", cell)
            assert is_number or not cell.lstrip().startswith(escape.FORMULA), cell


def test_a_number_stays_a_number_in_csv() -> None:
    rows = [{"difference": -0.25, "gain": 3, "text": "-0.25"}]
    assert render_rows(rows, "csv") == "difference,gain,text\n-0.25,3,'-0.25"


@pytest.mark.parametrize("text", CANARIES)
def test_json_means_the_same(plain: Result, text: str, tmp_path: Path) -> None:
    content: Any = json.loads(render([named(plain, text)], SUITE, "json"))
    assert content["rows"][0]["model"] == text
    result = named(plain, text)
    store.write_result(tmp_path, result)
    written = (tmp_path / "result.json").read_text(encoding="utf-8")
    assert UNSEEN.search(written) is None
    assert json.loads(written)["model"]["name"] == text


@pytest.mark.parametrize("text", CANARIES)
def test_a_notebook_shows_text_as_text(plain: Result, text: str) -> None:
    shown = page([named(plain, text)], SUITE)
    assert "<script" not in shown
    assert UNSEEN.search(shown) is None
    assert UNSEEN.search(repr(Results([named(plain, text)]))) is None
    assert html.unescape(shown)


@pytest.mark.parametrize("text", CANARIES)
def test_lines_of_a_watch_and_of_a_comparison(
    plain: Result, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_lines("5", text, [plain])
    lines = capsys.readouterr().out.splitlines()
    assert [line.count("\t") for line in lines] == [7] * len(plain.metrics)
    assert UNSEEN.search("".join(lines).replace("\t", "")) is None
    protocol = "task:ptb|data:dd65dff3|unit:word@3|model:{}@1"
    assert UNSEEN.search(diff(protocol.format(encoded(text)), protocol.format("m"))) is None


@pytest.mark.parametrize("text", ["$x$", "a$\\frac$b", "_hidden", "\x1b[31m", "<&>", "\u202e"])
def test_curves_of_a_run_with_an_odd_name(plain: Result, text: str) -> None:
    import xml.etree.ElementTree as ET

    points = [Point(f"/runs/{name}/checkpoint-*", 1, plain) for name in (text, "other")]
    picture = curves.svg(points)
    root = ET.fromstring(picture)
    texts = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert any(escape.visible(text) in shown for shown in texts)
    assert UNSEEN.search(picture.decode()) is None


@given(st.text())
def test_visible_text_is_one_printable_line(text: str) -> None:
    shown = escape.visible(text)
    assert len(shown.splitlines()) <= 1
    assert UNSEEN.search(shown) is None
    assert escape.visible(shown) == shown
    if text.isprintable():
        assert shown == text


@given(st.dictionaries(st.text(), st.lists(st.text() | st.floats(allow_nan=False))))
def test_escaped_json_means_the_same(value: Any) -> None:
    written = escape.json_text(json.dumps(value, ensure_ascii=False, indent=1))
    assert json.loads(written) == value
    assert UNSEEN.search(written) is None
