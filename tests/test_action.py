"""The GitHub action: its file is valid, and its steps run a model and judge it."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Run
from planted import plant

from gpt2eval import read_results
from gpt2eval.types import Tally


def action() -> Any:
    path = ROOT / "action.yml"
    if not path.is_file():
        pytest.skip("the action is not part of this copy")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("vendor.github-actions", "action.yml"),
        ("vendor.github-workflows", ".github/workflows/ci.yml"),
        ("vendor.github-workflows", ".github/workflows/audit.yml"),
    ],
)
def test_the_action_and_the_workflow_are_valid(schema: str, file: str) -> None:
    pytest.importorskip("check_jsonschema", reason="check-jsonschema is not installed")
    if not (ROOT / file).is_file():
        pytest.skip("the workflows are not part of this copy")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, file]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout


def run_step(step: Any, inputs: dict[str, str], folder: Path) -> int:
    """Run a step of the action as a runner does; return its exit status."""

    def value(text: str) -> str:
        return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: inputs[found[1]], str(text))

    assert step["shell"] == "bash"
    assert "${{" not in step["run"], "an expression in a script could run what an input holds"
    (folder / "bin").mkdir(exist_ok=True)
    program = folder / "bin" / "gpt2eval"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gpt2eval "$@"\n')
    program.chmod(0o755)
    environment = {
        **os.environ,
        **{name: value(text) for name, text in step.get("env", {}).items()},
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(Path(sys.modules["gpt2eval"].__file__ or "").parents[1]),
        "RUNNER_TEMP": str(folder),
        "GITHUB_ACTION_PATH": "/action",
        "GITHUB_OUTPUT": str(folder / "output"),
        "GITHUB_STEP_SUMMARY": str(folder / "summary"),
    }
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    return ended.returncode


def test_the_action_runs_and_judges(tmp_path: Path, gpt2eval: Run) -> None:
    document = action()
    *_, score, judge = document["runs"]["steps"]
    given = {
        "model": "toy:unigram",
        "tasks": "text8",
        "baseline": "baseline.json",
        "args": "-q --data demo\n--context 256\n",
    }
    defaults = {name: entry.get("default", "") for name, entry in document["inputs"].items()}
    inputs: dict[str, str] = {**defaults, **given}
    assert run_step(score, inputs, tmp_path) == 0
    results = tmp_path / inputs["out"]
    assert "|ctx:256|" in read_results(results)[0].signature, "also the second line of args"
    baseline = tmp_path / "baseline.json"
    gpt2eval("gate", results, "--baseline", baseline, "--update")
    assert run_step(judge, inputs, tmp_path) == 0
    plant(results, tmp_path / "worse", "worse", bits_worse)
    assert run_step(judge, {**inputs, "out": "worse", "strict": "true"}, tmp_path) == 1
    assert run_step(judge, {**inputs, "max-record": "x"}, tmp_path) == 2
    assert (tmp_path / "output").read_text() == "verdict=within\nverdict=regressed\n"
    assert (tmp_path / "summary").read_text().count("### gpt2eval gate: ") == 2


@pytest.mark.parametrize(("extras", "package"), [("", "/action"), ("gguf", "/action[gguf]")])
def test_the_action_installs_the_extras(tmp_path: Path, extras: str, package: str) -> None:
    install = action()["runs"]["steps"][0]
    program = tmp_path / "bin" / "python"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$@" > "$RUNNER_TEMP/installed"\n')
    program.chmod(0o755)
    assert run_step(install, {"extras": extras}, tmp_path) == 0
    assert (tmp_path / "installed").read_text() == f"-m pip install {package}\n"


def bits_worse(number: int, part: Tally) -> Tally:
    """A record whose bits per character are 5 % worse."""
    return replace(part, nats=part.nats * 1.05)
