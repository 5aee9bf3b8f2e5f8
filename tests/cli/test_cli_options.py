"""Help, shell completion and the options of every command: --config, -q, -v, --traceback."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Run
from typer.main import get_command

from gpt2eval.cli import main
from gpt2eval.report.table import default_format

ROOT = Path(__file__).parents[2]
COMMAND: Any = get_command(main.app)
DATA = COMMAND.commands["data"]
NAMES = ["", *COMMAND.commands, *(f"data {name}" for name in DATA.commands)]
PTB = ("run", "--model=toy:unigram", "--tasks=ptb", "--data=demo", "--limit=3")


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("GPT2EVAL_TRACEBACK", raising=False)


@pytest.mark.parametrize("name", NAMES)
def test_help_fits_80_columns_and_h_is_help(gpt2eval: Run, name: str) -> None:
    ended = gpt2eval(*name.split(), "-h")
    assert ended == gpt2eval(*name.split(), "--help")
    assert max(len(line) for line in ended.out.splitlines()) <= 80


def test_every_command_has_a_summary_of_one_line(gpt2eval: Run) -> None:
    for group, commands in (("", COMMAND), ("data", DATA)):
        lines = gpt2eval(*group.split(), "-h").out.splitlines()
        for name, command in commands.commands.items():  # type: ignore[attr-defined]
            (summary,) = (line for line in lines if re.match(rf"  {name}  ", line))
            assert summary.endswith("."), summary
            assert command.help.startswith(summary.split("  ")[-1].strip())


def test_the_options_of_run_are_in_groups(gpt2eval: Run) -> None:
    titles = [line for line in gpt2eval("run", "-h").out.splitlines() if re.match(r"\w+:$", line)]
    assert titles == ["Model:", "Data:", "Protocol:", "Compute:", "Output:", "General:"]


def test_a_config_file_takes_any_option_and_the_command_line_wins(
    gpt2eval: Run, tmp_path: Path
) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(
        "model: [toy:unigram]\ntasks: [ptb, text8]\ndata: demo\nlimit: 5\nallow_lossy: true\n"
        f"batch-size: 1\nout: {tmp_path / 'out'}\n"
    )
    ended = gpt2eval("run", "--config", config, "--limit", "3")
    assert ended.code == 0
    assert "| toy:unigram " in ended.out
    assert "text8 BPC" in ended.out
    assert ended.out.count("|limit:3|") == 2
    assert (tmp_path / "out" / "results.csv").is_file()


def test_a_config_file_may_map_tasks_to_files_and_give_arguments(
    gpt2eval: Run, tmp_path: Path
) -> None:
    (tmp_path / "ptb.txt").write_text("a line\n")
    config = tmp_path / "show.yaml"
    config.write_text(f"task: ptb\ndata: {{ptb: {tmp_path / 'ptb.txt'}}}\n")
    assert "[[a line" in gpt2eval("show", "--config", config).out


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("taks: ptb", "unknown option 'taks'; did you mean 'tasks'?"),
        ("strict_data: 3", "strict_data: expected true or false, found 3"),
        ("limit: few", "run.yaml: limit: expected an integer, found 'few'"),
        ("batch_size: 1.5", "--batch-size 1.5: expected a whole number of 1 or more, or auto"),
        ("- a", "expected a mapping of keys, found list"),
        ("a: [", "not readable as YAML"),
    ],
)
def test_a_wrong_config_file(gpt2eval: Run, tmp_path: Path, content: str, expected: str) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(content)
    ended = gpt2eval("run", "--config", config)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert expected in ended.err


def test_quiet_hides_notices_and_bars(gpt2eval: Run, tmp_path: Path) -> None:
    loud = gpt2eval(*PTB, "--out", tmp_path / "a")
    quiet = gpt2eval(*PTB, "-q", "--out", tmp_path / "b")
    verbose = gpt2eval(*PTB, "-v", "--out", tmp_path / "c")
    assert loud.out == quiet.out == verbose.out
    assert quiet.err == ""
    assert "ptb" in loud.err
    assert "scoring toy:unigram" in verbose.err


def test_traceback_shows_the_causes_of_an_error(
    gpt2eval: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = ("run", "--model=toy:unigram:NOTHING", "--data=demo", "--tasks=ptb", "--out", tmp_path)
    plain = gpt2eval(*wrong)
    assert plain.err.count("\n") == 1
    shown = gpt2eval(*wrong, "--traceback").err
    assert shown.startswith("Traceback")
    assert "FileNotFoundError" in shown, "a cause that 'from None' hides"
    assert shown.endswith(plain.err)
    monkeypatch.setenv("GPT2EVAL_TRACEBACK", "1")
    assert gpt2eval(*wrong).err.startswith("Traceback")


def test_citation_has_the_facts_of_citation_cff(gpt2eval: Run) -> None:
    facts = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    entry = gpt2eval("--citation").out
    year, month, _ = str(facts["date-released"]).split("-")
    for fact in (facts["title"], facts["version"], facts["authors"][0]["name"], year):
        assert fact in entry
    assert f"month = {{{int(month)}}}" in entry
    assert entry.count("{") == entry.count("}")


@pytest.mark.parametrize(("stride", "code"), [("1024", 0), ("512", 1)])
def test_diff_exits_1_where_numbers_may_not_be_compared(
    gpt2eval: Run, tmp_path: Path, stride: str, code: int
) -> None:
    gpt2eval(*PTB, "--out", tmp_path / "a")
    gpt2eval(*PTB, "--stride", stride, "--out", tmp_path / "b")
    ended = gpt2eval("diff", tmp_path / "a", tmp_path / "b")
    assert ended.code == code
    assert f"comparable: {'no' if code else 'yes'}" in ended.out


def test_the_table_in_a_terminal_is_for_people(
    gpt2eval: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert default_format() == "markdown"
    gpt2eval(*PTB, "--out", tmp_path)
    assert gpt2eval("table", tmp_path).out.startswith("| model ")
    monkeypatch.setattr("gpt2eval.report.table.default_format", lambda: "terminal")
    shown = gpt2eval("table", tmp_path).out
    assert "Signatures, abbreviated" in shown
    assert "|" not in shown


def test_shell_completion() -> None:
    ended = subprocess.run(
        [Path(sys.executable).parent / "gpt2eval"],
        env=os.environ
        | {"_GPT2EVAL_COMPLETE": "complete_bash", "COMP_WORDS": "gpt2eval r", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
    )
    assert ended.stdout.split() == ["run", "rerun", "report"]
