"""Where the files of a name live: `--include` folders, `GPT2EVAL_PATH`, plug-ins, the wheel or the checkout.

A *catalog folder* holds `tasks/*.yaml`, `tasks/suites/*.yaml`, `tasks/stopwords/*.txt` and `detokenizers/*.yaml`.
Earlier folders shadow later ones. This room finds files; it does not read them.
"""

import os
from collections.abc import Iterable, Sequence
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from gpt2eval.errors import UsageError, unknown

Kind = Literal["tasks", "tasks/suites", "tasks/stopwords", "detokenizers"]
KINDS: dict[Kind, str] = {
    "tasks": "task",
    "tasks/suites": "suite",
    "tasks/stopwords": "list of words",
    "detokenizers": "detokenizer",
}
PACKAGE = Path(__file__).parents[1]
DEMO = PACKAGE / "demo"


def folders(include: Sequence[Path] = ()) -> list[Path]:
    """Every catalog folder, in the order searched.

    Plug-ins name a package that holds the folders, in the entry-point group `gpt2eval.catalog`.
    Raises UsageError for an `include` that is not a folder.
    """
    for folder in include:
        if not folder.is_dir():
            raise UsageError(
                f"--include {folder}: no such folder; expected one with tasks/ or detokenizers/ inside"
            )
    listed = [Path(part) for part in os.environ.get("GPT2EVAL_PATH", "").split(os.pathsep) if part]
    packaged = [
        Path(place)
        for point in entry_points(group="gpt2eval.catalog")
        for place in _package(point.value)
    ]
    own = PACKAGE if (PACKAGE / "tasks").is_dir() else PACKAGE.parent
    return [*include, *listed, *packaged, own]


def _package(name: str) -> Iterable[str]:
    """The folders of a package, found without importing it; none where it is gone."""
    try:
        spec = find_spec(name)
    except ModuleNotFoundError:
        return ()
    return (spec and spec.submodule_search_locations) or ()


def files(kind: Kind, include: Sequence[Path] = ()) -> dict[str, Path]:
    """Name to path of every file of a kind; the first folder that has a name wins."""
    found: dict[str, Path] = {}
    for folder in folders(include):
        for path in sorted(
            (folder / kind).glob("*.txt" if kind == "tasks/stopwords" else "*.yaml")
        ):
            found.setdefault(path.stem, path)
    return found


def find(kind: Kind, name: str, include: Sequence[Path] = ()) -> Path:
    """The file of a name. Raises UsageError, with the nearest name, when there is none."""
    known = files(kind, include)
    if name not in known:
        raise unknown(KINDS[kind], name, known)
    return known[name]
