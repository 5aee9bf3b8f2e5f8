"""Find task, suite, stop-word and detokenizer files by name.

A *catalog folder* holds `tasks/*.yaml`, `tasks/suites/*.yaml`, `tasks/stopwords/*.txt` and
`detokenizers/*.yaml`. The search order is `--include`, `GPT2EVAL_PATH`, plug-ins, and the files
shipped with the package; earlier folders shadow later ones. Does not read the files.
"""

import os
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from gpt2eval.errors import UsageError, unknown

Kind = Literal["tasks", "tasks/suites", "tasks/stopwords", "detokenizers"]
KINDS: dict[Kind, str] = {
    "tasks": "task",
    "tasks/suites": "suite",
    "tasks/stopwords": "stop-word list",
    "detokenizers": "detokenizer",
}
PAPER = "gpt2-paper"  # the suite with the table of the GPT-2 paper
PACKAGE = Path(__file__).parents[1]
DEMO = PACKAGE / "demo"


def folders(include: Sequence[Path] = ()) -> list[Path]:
    """Return every catalog folder, in search order.

    A plug-in names the package that holds its folders in the entry-point group `gpt2eval.catalog`.

    Raises:
        UsageError: An `include` is not a folder.
    """
    for folder in include:
        if not folder.is_dir():
            raise UsageError(
                f"--include {folder}: no such folder; expected one with tasks/ or detokenizers/ "
                "inside"
            )
    search_path = os.environ.get("GPT2EVAL_PATH", "").split(os.pathsep)
    from_environment = [Path(folder) for folder in search_path if folder]
    return [*include, *from_environment, *_plugin_folders(), shipped()]


def shipped() -> Path:
    """Return the catalog folder of this package."""
    # A wheel carries the files inside the package, a checkout beside it.
    return PACKAGE if (PACKAGE / "tasks").is_dir() else PACKAGE.parent


@cache  # reading what is installed takes as long as reading the files of a task
def _plugin_folders() -> tuple[Path, ...]:
    """Return the catalog folders of the installed plug-ins."""
    from importlib.metadata import entry_points

    return tuple(
        Path(location)
        for entry_point in entry_points(group="gpt2eval.catalog")
        for location in _package_folders(entry_point.value)
    )


def _package_folders(name: str) -> Iterable[str]:
    """Return the folders of a package without importing it; none if it is not installed."""
    try:
        spec = find_spec(name)
    except ModuleNotFoundError:
        return ()
    return (spec and spec.submodule_search_locations) or ()


def files(kind: Kind, include: Sequence[Path] = ()) -> dict[str, Path]:
    """Map names to paths for every file of a kind; earlier folders take precedence."""
    pattern = "*.txt" if kind == "tasks/stopwords" else "*.yaml"
    paths: dict[str, Path] = {}
    for folder in folders(include):
        for path in sorted((folder / kind).glob(pattern)):
            paths.setdefault(path.stem, path)
    return paths


def find(kind: Kind, name: str, include: Sequence[Path] = ()) -> Path:
    """Return the path of a named file.

    Raises:
        UsageError: There is no such file; the message suggests the nearest name.
    """
    known = files(kind, include)
    if name not in known:
        raise unknown(KINDS[kind], name, known)
    return known[name]
