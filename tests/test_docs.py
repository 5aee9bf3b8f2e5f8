"""The documentation: examples run; all commands, options, tasks and fields are documented."""

import os
import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from gpt2eval import Settings, demo, evaluate
from gpt2eval.cli.main import app
from gpt2eval.config import catalog, loader
from gpt2eval.report.escape import markdown_cell
from gpt2eval.report.numbers import published_text
from gpt2eval.report.result_schema import result_schema
from gpt2eval.report.tidy import documents

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))] if DOCS.is_dir() else []
# A fenced block, with the HTML comment directly before it, if there is one.
FENCE = re.compile(
    r"(?P<skip><!-- not run: [^\n]*-->\s*)?^```(?P<language>bash|python)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """An example of a page; `skipped` where the page marks it as needing a network."""

    language: str
    code: str
    skipped: bool


def blocks(page: Path) -> list[Block]:
    """The shell and Python examples of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [Block(m["language"], m["code"], bool(m["skip"])) for m in FENCE.finditer(text)]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_examples_of_a_page_run_in_order(page: Path, tmp_path: Path) -> None:
    examples = [block for block in blocks(page) if not block.skipped]
    if not examples:
        pytest.skip("this page has no example that runs offline")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    for block in examples:
        command = ["bash", "-euo", "pipefail", "-c", block.code]
        if block.language == "python":
            command = [sys.executable, "-c", block.code]
        ended = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, f"{block.code}\n{ended.stdout}\n{ended.stderr}"


def reference(name: str) -> str:
    """A page of the reference."""
    page = DOCS / "reference" / name
    if not page.is_file():
        pytest.skip("the documentation is not part of this copy")
    return page.read_text(encoding="utf-8")


def generator(name: str = "generate_cli") -> ModuleType:
    """The script that writes a page, by default the reference of the command line."""
    path = DOCS / f"{name}.py"
    spec = spec_from_file_location(name, path) if path.is_file() else None
    if spec is None or spec.loader is None:
        pytest.skip("the documentation is not part of this copy")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_command_line_reference_is_current() -> None:
    assert reference("cli.md") == generator().page(), "run python docs/generate_cli.py"


def test_the_page_of_published_figures_is_current() -> None:
    page = reference("what-others-measured.md")
    script = "generate_published"
    assert page == generator(script).page(), f"run python docs/{script}.py"


def test_the_page_says_which_figures_have_no_verdict() -> None:
    """No hash identifies these texts, so no number of theirs is compared with a figure."""
    lines = reference("what-others-measured.md").partition("## Of other models")[0].splitlines()
    stated = {line.split("`")[1] for line in lines if "| no hash |" in line}
    assert stated == {"c4/gptq", "lm1b/hf_docs", "openwebtext/nanogpt", "wikitext2/sedd"}


def test_every_published_figure_beside_table_3_is_on_the_page() -> None:
    page = reference("what-others-measured.md")
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    figures = 0
    for name in catalog.files("tasks"):
        base = loader.load_task(name)
        for variant in ("", *base.variants):
            task = loader.load_task(f"{name}/{variant}") if variant else base
            if variant and task.published == base.published:
                continue
            for entry in task.published:
                if entry.source == "Radford et al. 2019, table 3":
                    continue
                source = markdown_cell(entry.source)
                matching = [
                    line
                    for line in lines
                    if line.startswith(f"| `{task.full_name}` |") and line.endswith(f"{source} |")
                ]
                for value in entry.rows.values():
                    figures += 1
                    assert any(published_text(value) in line for line in matching), (task, value)
    assert figures > 20


def test_every_command_and_option_is_documented() -> None:
    page = reference("cli.md")
    commands = list(generator().commands())
    assert len(commands) > len(app.registered_commands)
    for name, command, context in commands:
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert section, name
        for parameter in command.get_params(context):
            for option in parameter.opts if parameter.param_type_name == "option" else []:
                assert re.search(rf"^\| `[^`]*{option}(?![\w-])", section, re.MULTILINE), (
                    f"{name} {option}"
                )


def test_every_task_and_variant_is_documented() -> None:
    page = reference("tasks.md")
    for name in catalog.files("tasks"):
        assert f"`{name}`" in page
        for variant in loader.load_task(name).variants:
            assert re.search(rf"`({re.escape(name)})?/?{re.escape(variant)}`", page), (
                f"{name}/{variant}"
            )


def test_every_detokenizer_is_documented() -> None:
    page = reference("detokenizers.md")
    assert [name for name in catalog.files("detokenizers") if f"`{name}`" not in page] == []


def test_every_field_and_column_of_a_result_is_documented() -> None:
    page = reference("result-file.md")
    schema = result_schema()
    names = {*schema["properties"]}
    for kind in ("Tally", "Units", "MetricValue", "ModelIdentity", "DataIdentity", "Figures"):
        names |= schema["$defs"][kind]["properties"].keys()
    names |= schema["$defs"]["RoundTripCounts"]["properties"].keys()
    results = evaluate("toy:uniform-bytes", "text8", data=demo.data(), settings=Settings(limit=1))
    names |= {*results.to_frame().columns, *documents([results[0].tally], bits=True).columns}
    assert sorted(name for name in names if f"`{name}`" not in page) == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
