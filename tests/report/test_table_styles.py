"""Styles of a table: decimals, the best in bold, short signatures, bare numbers, LaTeX, CSV."""

import csv
import io
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from gpt2eval.config.loader import load_suite
from gpt2eval.errors import UsageError
from gpt2eval.metrics.result import Result
from gpt2eval.metrics.signature import short
from gpt2eval.report.bare import bare_number
from gpt2eval.report.latex import latex_table
from gpt2eval.report.store import read_result
from gpt2eval.report.table import render

ROOT = Path(__file__).parents[2]
PAPER = load_suite("gpt2-paper")
PTB = read_result(ROOT / "results" / "smollm2-135m-instruct-q4_1" / "ptb" / "result.json")
CBT = read_result(ROOT / "results" / "demo" / "cbt_cn" / "result.json")


def named(result: Result, name: str, value: float) -> Result:
    """A result of another model, as if measured; its interval lies about the value."""
    metric = replace(result.primary, value=value, interval=(value - 1, value + 2))
    model = replace(result.model, name=name, label=name)
    return replace(result, metrics={metric.name: metric}, model=model)


def bold(results: list[Result], form: str = "markdown") -> set[str]:
    pattern = r"\*\*(.*?)\*\*" if form == "markdown" else r"\\textbf\{(.*?)\}"
    return {*re.findall(pattern, render(results, PAPER, form, best=True, mixed=True))} - {"model"}


@pytest.mark.parametrize("form", ["markdown", "latex"])
def test_the_lowest_perplexity_is_bold(form: str) -> None:
    results = [named(PTB, name, value) for name, value in (("a", 30.0), ("b", 20.0), ("c", 40.0))]
    assert bold(results, form) == {"20.00"}
    assert "20.00" in render(results, PAPER, form)
    assert "**" not in render(results, PAPER, form)


def test_the_highest_accuracy_is_bold() -> None:
    assert bold([named(CBT, "a", 30.0), named(CBT, "b", 45.5)]) == {"45.50!"}


def test_ties_are_all_bold() -> None:
    results = [named(PTB, name, value) for name, value in (("a", 20.001), ("b", 20.0), ("c", 21))]
    table = render(results, PAPER, best=True)
    assert table.count("**20.00**") == 2
    assert render(results, PAPER, best=True, places=3).count("**") == 2


def test_no_number_is_the_best_of_one_or_of_two_protocols() -> None:
    other = named(PTB, "b", 20.0)
    signature = other.primary.signature.replace("stride:1024", "stride:32")
    stride = replace(other, metrics={"ppl": replace(other.primary, signature=signature)})
    assert bold([named(PTB, "a", 30.0)]) == set()
    assert bold([named(PTB, "a", 30.0), stride]) == set()


def test_bold_numbers_keep_their_intervals() -> None:
    results = [named(PTB, "a", 30.0), named(PTB, "b", 20.0)]
    assert "**20.00 [19.0, 22.0]**" in render(results, PAPER, best=True, intervals=True)


def test_decimals_hold_for_values_intervals_and_differences() -> None:
    gpt2 = replace(named(PTB, "gpt2", 65.1234), row="117M")
    table = render([gpt2], PAPER, places=1, intervals=True)
    row, published, difference, tolerance = (
        [cell.strip() for cell in line.split("|")[2:-1]] for line in table.splitlines()[2:6]
    )
    assert row == ["65.1 [64.1, 67.1]"]
    assert published == ["65.85"], "as published"
    assert difference == ["-0.7"]
    assert tolerance == ["1.3"]


def test_short_signatures_stand_below_the_table() -> None:
    for form in ("markdown", "latex", "terminal"):
        table = render([PTB], PAPER, form, short=True)
        assert short(PTB.signature) in table
        assert PTB.signature not in table


@pytest.mark.parametrize("form", ["csv", "csv-tidy", "json"])
def test_formats_for_programs_have_no_styles(form: str) -> None:
    for option, style in (("--width", {"places": 1}), ("--best", {"best": True})):
        with pytest.raises(UsageError, match=f"{option}: {form} is for programs"):
            render([PTB], PAPER, form, **style)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="--short"):
        render([PTB], PAPER, form, short=True)


def test_a_bare_number() -> None:
    assert bare_number([PTB], PAPER) == "101.29"
    assert bare_number([PTB], PAPER, places=4) == "101.2931"
    assert bare_number([named(PTB, "a", 1234567.8)], PAPER) == "1234568"
    assert bare_number([named(PTB, "a", float("inf"))], PAPER, places=2) == "inf"
    assert float(bare_number([named(PTB, "a", 3e15)], PAPER)) == 3e15
    assert bare_number([PTB, CBT], PAPER, columns=["CBT-CN"]) == f"{CBT.acc:.2f}"
    with pytest.raises(UsageError, match=r"2 numbers: PTB of .*, CBT-CN of demo; expected one"):
        bare_number([PTB, CBT], PAPER)


def test_wide_csv_has_a_row_per_model_and_tidy_csv_one_per_number() -> None:
    results = [PTB, CBT]
    wide = [*csv.DictReader(io.StringIO(render(results, PAPER, "csv")))]
    tidy = [*csv.DictReader(io.StringIO(render(results, PAPER, "csv-tidy")))]
    ours = [row for row in wide if not row["model"].startswith("published")]
    assert [row["model"] for row in ours] == [PTB.model.name, "demo"]
    assert [(row["task"], row["metric"]) for row in tidy] == [
        ("ptb", "ppl"),
        ("ptb", "nats_per_token"),
        ("cbt_cn", "acc"),
    ]
    assert {float(row["value"]) for row in tidy} >= {
        float(ours[0]["PTB"]),
        float(ours[1]["CBT-CN"]),
    }
    chosen = render(results, PAPER, "csv-tidy", columns=["PTB"])
    assert [row["metric"] for row in csv.DictReader(io.StringIO(chosen))] == ["ppl"]


@pytest.mark.parametrize("form", ["csv", "csv-tidy"])
@pytest.mark.parametrize("name", ["=1+1", "-m", "+m", "@m", "\tm", " =1", "＝1"])
def test_no_cell_is_a_formula(form: str, name: str) -> None:
    table = render([named(PTB, name, 3.0)], PAPER, form)
    cells = [cell for row in csv.reader(io.StringIO(table)) for cell in row]
    assert any(cell.startswith("'") for cell in cells)
    assert not [cell for cell in cells if re.match(r"\s*[=+@＝-](?![\d.])", cell)]


ODD = r"a_b&c %$#{x}~^\|<>[i]±‡ é"


def test_the_latex_table_compiles(tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex: install TeX with booktabs and adjustbox")
    results = [named(PTB, ODD, 30.0), named(CBT, "demo", 30), named(CBT, "b", 40)]
    results.append(replace(named(PTB, "gpt2", 65.0), row="117M"))
    tables = [
        render(results, PAPER, "latex", best=True, intervals=True, mixed=True),
        render([PTB], PAPER, "latex", short=True, places=1),
        latex_table([], ["A"]),
    ]
    source = tmp_path / "table.tex"
    source.write_text(
        "\\documentclass{article}\n\\usepackage[utf8]{inputenc}\n\\usepackage[T1]{fontenc}\n"
        "\\usepackage{booktabs, adjustbox}\n\\begin{document}\n"
        + "\n\n".join(tables)
        + "\n\\end{document}\n",
        encoding="utf-8",
    )
    ended = subprocess.run(
        ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", source.name],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    log = ended.stdout.decode(errors="replace")
    assert ended.returncode == 0, log[-2000:]
    assert "Overfull" not in log
    assert (tmp_path / "table.pdf").stat().st_size > 10_000
