"""The rules of the source: layered imports, confined libraries, short modules, docstrings."""

import ast
import doctest
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import gpt2eval
from gpt2eval.cli import data as cli_data
from gpt2eval.cli import main

ROOT = Path(__file__).parents[1]
PACKAGE = Path(gpt2eval.__file__).parent

# From the bottom up. A folder or module may import lower layers; within a folder, imports must
# not be circular.
LAYERS = (
    ("identity", "errors"),
    ("types", "version", "notices", "demo"),
    ("files", "http", "config", "settings"),
    ("text", "scoring", "models"),
    ("data",),
    ("metrics",),
    ("report", "planning"),
    ("measurement",),
    ("pipeline", "overlap"),
    ("analysis", "training"),
    ("cli", ""),
    ("__main__",),
)
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}
# Modules that compute and touch nothing outside the process.
PURE = (
    *(
        "errors",
        "identity",
        "types",
        "config.schema",
        "data.formats",
        "overlap.ngrams",
        "overlap.bloom",
    ),
    *("text.passages", "text.schemes", "text.detokenizer", "text.roundtrip", "text.segments"),
    *("scoring.windows", "scoring.plan", "scoring.sheet", "scoring.flops", "scoring.byte_nats"),
    *("metrics.metrics", "metrics.intervals", "metrics.signature", "metrics.verdict"),
    *("metrics.clusters", "metrics.dependence", "metrics.resampling", "metrics.independent"),
    *("metrics.paired", "metrics.sign_flips", "metrics.proportions", "metrics.decisions"),
    *("metrics.agreement", "metrics.estimate", "metrics.groups"),
)
OUTSIDE: dict[str, str | tuple[str, ...]] = {
    "torch": ("models.", "training.", "scoring.workers"),
    "transformers": ("models.", "training."),
    "datasets": "data.hub",
    "platformdirs": "data.cache",
    "filelock": "data.",
    "pandas": "report.",
    "matplotlib": "report.plots",
    "tensorboard": "report.tracker_adapters",
    "mlflow": "report.tracker_adapters",
    "wandb": "report.tracker_adapters",
    "yaml": ("config.", "report.hub_card"),
    "tensorflow": "models.formats.openai",
    "peft": "models.formats.adapter",
    "gguf": "models.formats.gguf_reader",
    "tqdm": ("data.download", "models.formats.quiet"),
    "httpx2": ("models.server.client", "models.server.transport", "data.download"),
    "httpcore2": "models.server.transport",
    "tenacity": ("http", "models.server.client", "data.download"),
    "sacremoses": "text.moses",
    "regex": ("text.rule_patterns", "text.segments"),
    "typer": "cli.",
    "rich": ("cli.progress", "report.terminal"),
    "pyarrow": ("data.compression", "data.hub_rows", "data.tables", "report.row_files"),
    "tabulate": ("analysis.explain", "data.listing", "report."),
    "fastbloom_rs": "overlap.bloom",
    "triton": "models.engine.fused",
}
WORLD = {
    *("torch", "os", "io", "pathlib", "shutil", "tempfile", "subprocess"),
    *("socket", "urllib", "http", "httpx2", "datasets", "requests"),
}

SOURCES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    .removesuffix("__init__")
    .rstrip("."): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
TREES = {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in SOURCES.items()}


def imported(module: str) -> Iterator[str]:
    """Yield the full name of every import in a module, except under TYPE_CHECKING."""
    typing_only = {
        node
        for branch in ast.walk(TREES[module])
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node not in typing_only:
            assert node.level == 0, f"{module}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules(module: str) -> set[str]:
    """Return the modules of the package that a module imports."""
    names = (
        name.removeprefix("gpt2eval").lstrip(".")
        for name in imported(module)
        if re.match(r"gpt2eval\b", name)
    )
    return {
        next((m for m in (name, name.rpartition(".")[0]) if m in SOURCES), "") for name in names
    } - {module, ""}


def libraries(module: str) -> set[str]:
    return {name.partition(".")[0] for name in imported(module)}


def layer(module: str) -> int:
    """The layer of a module's folder."""
    return LAYER[module.partition(".")[0]]


@pytest.mark.parametrize("module", SOURCES)
def test_imports_go_strictly_down(module: str) -> None:
    folder = module.partition(".")[0]
    outside = {other for other in modules(module) if other.partition(".")[0] != folder}
    assert {other for other in outside if layer(other) >= layer(module)} == set()


def test_no_imports_run_in_a_circle() -> None:
    order = TopologicalSorter({module: modules(module) for module in SOURCES})
    assert [*order.static_order()], "CycleError names the circle"


def test_the_root_of_the_package_stays_small() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= 12


def test_imports_are_seen() -> None:
    assert modules("analysis.inspect_task") >= {
        "data.corpus",
        "planning.task_plan",
        "text.detokenizer",
        "types",
    }
    assert "datasets" in libraries("data.hub"), "imports inside functions count"


@pytest.mark.parametrize(("library", "place"), OUTSIDE.items())
def test_library_is_imported_only_in_its_place(library: str, place: str | tuple[str, ...]) -> None:
    using = [module for module in SOURCES if library in libraries(module)]
    assert using
    assert all(module.startswith(place) for module in using)


@pytest.mark.parametrize("module", PURE)
def test_pure_modules_touch_nothing_outside(module: str) -> None:
    assert libraries(module) & WORLD == set()
    calls = {
        ast.unparse(node.func) for node in ast.walk(TREES[module]) if isinstance(node, ast.Call)
    }
    assert calls & {"open", "print", "input", "exec", "eval", "__import__"} == set()


@pytest.mark.parametrize("module", SOURCES)
def test_everything_public_has_a_docstring(module: str) -> None:
    public = [
        n
        for n in TREES[module].body
        if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")
    ]
    assert ast.get_docstring(TREES[module])
    assert [node.name for node in public if not ast.get_docstring(node)] == []


@pytest.mark.parametrize("module", SOURCES)
def test_module_is_short(module: str) -> None:
    assert len(SOURCES[module].read_text(encoding="utf-8").splitlines()) <= 230


@pytest.mark.parametrize(
    "module",
    [module for module, path in SOURCES.items() if ">>>" in path.read_text(encoding="utf-8")],
)
def test_examples_in_docstrings_run(module: str) -> None:
    failed, tried = doctest.testmod(import_module(f"gpt2eval.{module}".rstrip(".")))
    assert tried
    assert not failed


@pytest.mark.parametrize(
    "command",
    [c.callback.__name__ for c in main.app.registered_commands if c.callback]
    + [f"data {c.callback.__name__}" for c in cli_data.app.registered_commands if c.callback],
)
def test_command_is_in_the_documentation(command: str) -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    words = command.replace("_", "-")
    assert any(f"gpt2eval {words}" in page.read_text(encoding="utf-8") for page in pages)
