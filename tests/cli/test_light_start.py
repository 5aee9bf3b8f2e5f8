"""A command imports no library that it does not use: each runs in a process of its own."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from gpt2eval import demo, evaluate
from gpt2eval.cli.main import app
from gpt2eval.report.gate.baseline import write_baseline
from gpt2eval.report.measured import read_measured

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "results" / "demo"
# The name of the import where it is not the name of the package.
IMPORTS = {"pyyaml": "yaml", "fastbloom-rs": "fastbloom_rs"}
# Libraries that others bring, and that take long to import.
INDIRECT = {"scipy", "sklearn", "aiohttp", "sympy", "tokenizers", "joblib"}

START = {"typer", "pydantic"}
TASKS = START | {"yaml"}
FILES = TASKS | {"platformdirs", "filelock"}
TEXTS = FILES | {"numpy", "huggingface_hub", "tenacity", "tqdm", "safetensors"}
RESULTS = FILES | {"numpy", "safetensors"}
TABLE = RESULTS | {"tabulate"}
MODELS = TEXTS | RESULTS | {"tokenizers"}

PROGRAM = """
import json, sys
from gpt2eval.cli.main import main
for line in json.loads(sys.argv[1]):
    sys.argv = ["gpt2eval", *line]
    try:
        main()
    except SystemExit as exit:
        status = exit.code or 0
print(json.dumps([status, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def commands(group: Any, *names: str) -> list[tuple[str, ...]]:
    """Return every command as the words that call it."""
    if not hasattr(group, "commands"):
        return [names]
    below = group.commands.items()
    return [words for name, command in below for words in commands(command, *names, name)]


def libraries() -> set[str]:
    """Return the imports of everything that the package depends on."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names: set[str] = {dependency.partition(">")[0] for dependency in project["dependencies"]}
    return {IMPORTS.get(name, name) for name in names} | INDIRECT


def run(*lines: list[str], cache: Path, **variables: str) -> tuple[int, set[str]]:
    """Run command lines in one new process; return the last status and the libraries it has."""
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(cache),
        "XDG_CACHE_HOME": str(cache),
        "PYTHONPATH": str(ROOT),
        **variables,
    }
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(lines)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=cache,
    )
    assert ended.returncode == 0, ended.stderr
    status, imported = json.loads(ended.stdout.splitlines()[-1])
    return status, libraries() & set(imported)


# RUNS is a folder with results of two models and a baseline, with their records.
# Words of a command, its arguments, its exit status, and the libraries that it may import. The
# commands that score have a mistake, which they report before they load a library for scoring.
CASES: list[tuple[str, str, int, set[str]]] = [
    ("ls", "", 0, TASKS),
    ("show", "lambada --data demo", 0, MODELS),
    ("show", "lambada --passport", 0, TEXTS),
    ("check", "ptb --data demo", 0, TEXTS),
    ("check", "wikitext103 --data demo", 0, TEXTS),
    ("table", f"{DEMO}", 0, TABLE),
    ("table", f"{DEMO} --format csv", 0, TABLE),
    ("table", f"{DEMO} --format terminal", 0, TABLE | {"rich"}),
    ("export", "RUNS/unigram --records r.csv --words w.csv", 0, TEXTS | {"rich"}),
    ("export", "RUNS/unigram --tokens tokens.parquet", 0, TEXTS | {"rich", "pyarrow", "pandas"}),
    ("report", f"{DEMO} --html report.html", 0, MODELS | {"tabulate"}),
    ("plot", f"{DEMO} --out sizes.svg", 0, RESULTS | {"tabulate", "matplotlib"}),
    ("export", f"{DEMO} --tokens tokens.csv", 2, TEXTS | {"rich"}),
    ("compare", "RUNS/unigram RUNS/uniform-bytes", 0, TABLE),
    ("compare", "RUNS/unigram RUNS/uniform-bytes --format latex", 0, TABLE),
    ("compare", "RUNS/unigram RUNS/uniform-bytes --format terminal", 0, TABLE | {"rich"}),
    ("gate", "RUNS/unigram --baseline baseline.json --update", 0, TABLE),
    ("gate", "RUNS/unigram --baseline RUNS/baseline.json --summary summary.md", 0, TABLE),
    ("compare", "RUNS/unigram RUNS/uniform-bytes --gap", 0, TEXTS | {"tabulate", "regex"}),
    ("diff", f"{DEMO}/ptb {DEMO}/ptb", 0, MODELS | {"tabulate"}),
    (
        "overlap",
        "--train text.txt --tasks ptb --data demo",
        0,
        MODELS | {"fastbloom_rs", "rich", "tabulate"},
    ),
    ("data ls", "", 0, FILES | {"tabulate"}),
    ("data ls", "ptb", 0, FILES | {"tabulate"}),
    ("data fetch", "enwik8", 2, TEXTS | {"httpx2"}),
    ("data verify", "", 0, TEXTS),
    ("data pack", "pack.tar.gz --tasks ptb", 2, TEXTS),
    ("data unpack", "pack.tar.gz", 2, TEXTS),
    ("data where", "", 0, FILES),
    ("data passport", "text.txt", 0, TEXTS),
    ("run", "--tasks nope", 2, MODELS | {"rich", "tabulate"}),
    ("watch", ". --tasks nope", 2, MODELS | {"rich", "tabulate"}),
    ("rerun", "task:nope", 2, MODELS | {"rich", "tabulate"}),
    ("explain", "--task nope", 2, MODELS | {"rich", "tabulate"}),
    ("check-bytes", "--tasks nope", 2, MODELS | {"rich", "tabulate"}),
    ("check-bytes", "--tokens nope", 2, START),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two models, and a baseline."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("unigram", "uniform-bytes"):
        evaluate(f"toy:{name}", "text8", data=demo.data(), out=folder / name)
    write_baseline(folder / "baseline.json", read_measured(folder / "unigram"))
    return folder


def test_every_command_has_a_case() -> None:
    assert {words for words, *_ in CASES} == {
        " ".join(words) for words in commands(get_command(app))
    }


@pytest.mark.parametrize(
    ("words", "arguments", "status", "allowed"),
    CASES,
    ids=[f"{words} {arguments}".replace(str(DEMO), "demo") for words, arguments, *_ in CASES],
)
def test_command_imports_only_what_it_uses(
    tmp_path: Path, runs: Path, words: str, arguments: str, status: int, allowed: set[str]
) -> None:
    arguments = arguments.replace("RUNS", str(runs))
    (tmp_path / "text.txt").write_text("A text of a few words .\n" * 20)
    ended, imported = run([*words.split(), *arguments.split()], cache=tmp_path)
    assert ended == status
    assert imported - allowed == set()


def test_help_of_every_command_imports_nothing_else(tmp_path: Path) -> None:
    lines = [[*words, "--help"] for words in [(), ("data",), *commands(get_command(app))]]
    status, imported = run(*lines, ["--version"], cache=tmp_path)
    assert status == 0
    assert imported - START == set()


def test_completion_in_a_shell_imports_nothing_else(tmp_path: Path) -> None:
    words = {"_GPT2EVAL_COMPLETE": "complete_bash", "COMP_WORDS": "gpt2eval ta", "COMP_CWORD": "1"}
    _, imported = run([], cache=tmp_path, **words)
    assert imported - START == set()


def test_imports_are_seen(tmp_path: Path) -> None:
    _, imported = run(["ls"], cache=tmp_path)
    assert {"typer", "yaml"} <= imported
