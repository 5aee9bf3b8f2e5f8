"""The house rules of the source: imports go down, an outside library has one room, everything public says what it is."""

import ast
import doctest
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import gpt2eval
from gpt2eval import cli

ROOT = Path(__file__).parents[1]
PACKAGE = Path(gpt2eval.__file__).parent

PURE = (
    *(
        "errors",
        "types",
        "schema",
        "scheme",
        "windows",
        "ask",
        "detok",
        "plan",
        "metrics",
        "signature",
        "verdict",
        "formats",
    ),
    *("ngrams", "bloom"),
)
OUTSIDE: dict[str, str | tuple[str, ...]] = {
    "torch": ("models.", "integrations"),
    "transformers": ("models.", "integrations"),
    "datasets": "corpus.hub",
    "platformdirs": "corpus.cache",
    "filelock": "corpus.",
    "pandas": "table",
    "matplotlib": "curves",
    "yaml": ("tasks", "models.litgpt"),
    "tensorflow": "models.openai",
    "peft": "models.hf",
    "httpx2": ("models.server", "corpus.web"),
    "tenacity": ("http", "models.server", "corpus.web"),
    "sacremoses": "moses",
    "typer": ("cli", "commands", "data_commands", "options"),
    "rich": "progress",
    "pyarrow": ("texts", "training"),
    "tabulate": ("explain", "data"),
    "fastbloom_rs": "bloom",
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
    """Every name that a module imports, wherever in it, in full; what only type checkers read is left out."""
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


def rooms(module: str) -> set[str]:
    """The modules of the package that a module imports."""
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


def test_imports_are_seen() -> None:
    assert rooms("look") >= {"corpus", "pipeline", "detok", "types"}
    assert "datasets" in libraries("corpus.hub"), "imports inside functions count"


@pytest.mark.parametrize(("library", "room"), OUTSIDE.items())
def test_library_is_imported_only_in_its_room(library: str, room: str | tuple[str, ...]) -> None:
    using = [module for module in SOURCES if library in libraries(module)]
    assert using
    assert all(module.startswith(room) for module in using)


@pytest.mark.parametrize("module", PURE)
def test_pure_rooms_touch_nothing_outside(module: str) -> None:
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
@pytest.mark.skip(reason="modules are being split")
def test_module_is_short(module: str) -> None:
    assert len(SOURCES[module].read_text(encoding="utf-8").splitlines()) <= 260


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
    [c.callback.__name__ for c in cli.app.registered_commands if c.callback]
    + [
        f"data {c.callback.__name__}"
        for c in cli.data_commands.app.registered_commands
        if c.callback
    ],
)
def test_command_is_in_the_readme(command: str) -> None:
    assert f"gpt2eval {command}" in (ROOT / "README.md").read_text(encoding="utf-8")
