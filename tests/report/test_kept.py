"""The share of tokens that a protocol keeps: a column of every table where it is below 100 %."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpt2eval import demo, evaluate
from gpt2eval.config.loader import load_suite
from gpt2eval.metrics.result import Result
from gpt2eval.report.notes import notes
from gpt2eval.report.page.builder import page as page_of_results
from gpt2eval.report.page.sources import read_sources
from gpt2eval.report.results import Results
from gpt2eval.report.store import read_result, read_results
from gpt2eval.report.table import page, render
from gpt2eval.report.tidy import tidy_rows
from gpt2eval.report.tidy_csv import TidyCsv
from gpt2eval.scoring.streams import KeptTokens

Run = Callable[..., Any]

SUITE = load_suite("gpt2-paper")
COLUMN = "WikiText2 /llama_cpp"
KEPT = f"{COLUMN} kept"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a protocol that keeps all tokens, and of one that leaves out the last window."""
    folder = tmp_path_factory.mktemp("out")
    evaluate("toy:unigram", ["ptb", "wikitext2/llama_cpp"], data=demo.data(), out=folder)
    return folder


@pytest.fixture(scope="module")
def results(out: Path) -> Results:
    return read_results(out)


def share(results: Results) -> float:
    """The whole windows of 512 tokens as a share of all; this model's tokens are bytes."""
    text = demo.data()["wikitext2"].read_text(encoding="utf-8").rstrip("\n")
    kept = results["wikitext2/llama_cpp"].kept
    assert kept is not None
    assert kept.kept == kept.total // 512 * 512
    assert kept.total >= len(text.encode())
    return kept.kept / kept.total


def header(table: str) -> list[str]:
    return [cell.strip() for cell in table.splitlines()[0].strip("|").split("|")]


@pytest.mark.parametrize(
    ("unscored", "stated"), [(90, ""), (91, "91 tokens unscored"), (1, "1 token unscored")]
)
def test_tokens_in_no_window_are_counted_once(results: Results, unscored: int, stated: str) -> None:
    one = results["wikitext2/llama_cpp"]
    tally = replace(one.tally, unscored=unscored)
    one = replace(one, kept=KeptTokens(kept=910, total=1000), tally=tally)
    found = [line.partition(": ")[2] for line in notes([one]) if line.endswith("unscored")]
    assert found == ([stated] if stated else [])


def test_the_column_is_right_of_its_numbers(results: Results) -> None:
    text = f"{100 * share(results):.1f} %"
    table = render(results, SUITE)
    assert header(table) == ["model", "PTB", COLUMN, KEPT]
    assert [cell.strip() for cell in table.splitlines()[2].split("|")][4] == text
    lines = render(results, SUITE, "latex").splitlines()
    head = next(line for line in lines if line.startswith(r"\textbf{model}"))
    assert head.endswith(r"\shortstack[r]{WikiText2 \\ /llama\_cpp \\ kept} \\")
    row = next(line for line in lines if line.startswith("toy:unigram"))
    assert row.endswith(rf"{text[:-1]}\% \\")
    terminal = render(results, SUITE, "terminal", width=80)
    assert text in terminal
    assert max(map(len, terminal.splitlines())) <= 80
    assert f"<th>{KEPT}</th>" in page(results, SUITE)
    assert f"<td>{text}</td>" in page(results, SUITE)


def test_a_note_counts_the_tokens(results: Results) -> None:
    kept = results["wikitext2/llama_cpp"].kept
    assert kept is not None
    note = (
        f"wikitext2/llama_cpp, toy:unigram: {kept.kept:,} of {kept.total:,} tokens "
        f"({100 * share(results):.1f} %) lie in a window; the protocol drops the others"
    )
    assert note in render(results, SUITE).splitlines()


def test_no_column_repeats_100_percent(results: Results) -> None:
    whole = [replace(result, kept=None) for result in results]
    assert "kept" not in render(whole, SUITE)
    assert "kept" not in render(whole, SUITE, "csv").splitlines()[0]
    assert header(render([results["ptb"]], SUITE)) == ["model", "PTB"]


def test_a_number_on_all_tokens_has_no_share_beside_others(results: Results) -> None:
    part = results["wikitext2/llama_cpp"]
    whole = replace(part, kept=None, model=replace(part.model, name="whole"))
    rows = [*csv.DictReader(io.StringIO(render([part, whole], SUITE, "csv")))]
    assert [row[KEPT] for row in rows if not row["model"].startswith("published")] == [
        str(share(results)),
        "",
    ]


def test_programs_get_the_share_in_full_precision(results: Results) -> None:
    wide = next(csv.DictReader(io.StringIO(render(results, SUITE, "csv"))))
    assert float(wide[KEPT]) == share(results)
    document = json.loads(render(results, SUITE, "json"))
    assert document["rows"][0][KEPT] == share(results)
    shares = {cell["task"]: cell["kept"] for cell in document["cells"]}
    assert shares == {"ptb": None, "wikitext2/llama_cpp": share(results)}
    tidy = [*csv.DictReader(io.StringIO(render(results, SUITE, "csv-tidy")))]
    assert {(row["task"], row["variant"]): row["kept"] for row in tidy} == {
        ("ptb", ""): "",
        ("wikitext2", "llama_cpp"): str(share(results)),
    }
    frame = results.to_frame()
    assert frame["kept"].dropna().unique().tolist() == [share(results)]


def test_a_share_just_below_100_percent_does_not_look_like_100(results: Results) -> None:
    almost = replace(results["wikitext2/llama_cpp"], kept=KeptTokens(99_999, 100_000))
    assert "99.999 %" in render([almost], SUITE)


def test_results_csv_of_an_older_version_gets_the_column(out: Path, results: Results) -> None:
    rows = [row for result in results for row in tidy_rows(result)]
    older = [name for name in rows[0] if name != "kept"]
    file = out / "results.csv"
    file.write_text(",".join(older) + "\n", encoding="utf-8")
    TidyCsv(out).update()
    with file.open(newline="", encoding="utf-8") as content:
        written = [*csv.DictReader(content)]
    assert [name for name in written[0] if name != "kept"] == older, "in the same order"
    assert [row["kept"] for row in written] == [
        "" if row["kept"] is None else str(row["kept"]) for row in rows
    ]


def test_the_counts_are_written_and_an_older_result_lacks_them(out: Path, tmp_path: Path) -> None:
    folder = out / "toy-unigram"
    counted = json.loads((folder / "wikitext2" / "llama_cpp" / "result.json").read_text())["kept"]
    assert (
        KeptTokens(**counted)
        == read_result(folder / "wikitext2" / "llama_cpp" / "result.json").kept
    )
    document = json.loads((folder / "ptb" / "result.json").read_text())
    del document["kept"], document["sha256"]
    file = tmp_path / "result.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    assert read_result(file).kept is None


def test_the_page_has_the_column(out: Path, results: Results) -> None:
    made = page_of_results(read_sources(out), SUITE, lambda one: {})
    table = json.loads(made.partition('id="data">')[2].partition("</script>")[0])["table"]
    assert [column["title"] for column in table["columns"]] == ["PTB", COLUMN, KEPT]
    assert table["columns"][-1] == {
        "title": KEPT,
        "unit": "share of the text's tokens",
        "higher": None,
    }
    cell = table["groups"][0][0]["cells"][KEPT]
    assert cell == {"text": f"{100 * share(results):.1f} %", "value": share(results)}


def test_run_prints_the_column(gpt2eval: Run, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    tasks = "wikitext2/llama_cpp"
    ended = gpt2eval(
        "run", "--model", "toy:unigram", "--tasks", tasks, "--data", "demo", "--out", out
    )
    assert header(ended.out) == ["model", COLUMN, KEPT]


def best_of(result: Result, name: str, value: float) -> Result:
    metric = replace(result.primary, value=value)
    model = replace(result.model, name=name)
    return replace(result, metrics={metric.name: metric}, model=model)


def test_a_share_is_never_the_best_number(results: Results) -> None:
    part = results["wikitext2/llama_cpp"]
    table = render([best_of(part, "a", 3.0), best_of(part, "b", 2.0)], SUITE, best=True)
    assert table.count("**") == 2
    assert "**2.000!**" in table
