"""Choose the folder of a model's results so that no two models ever share one.

`naming.py` gives every model a name of its own. A folder of an older version, whose names could
coincide, is used again where what lies in it belongs to the model, so that a run resumes there.
"""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from gpt2eval.errors import UsageError
from gpt2eval.report import naming

RESULT = "result.json"
GROUPS = "groups.csv"
JOURNAL = Path("journal", "journal.json")
CHECKPOINT = "checkpoint.json"
OWNER = ("model", "name")  # where a result states its model
# Where each file of a folder states its model. Older journals state it among what decides them.
STATED: tuple[tuple[Path, tuple[str, ...]], ...] = (
    (Path(RESULT), OWNER),
    (JOURNAL, ("model",)),
    (JOURNAL, ("decided_by", "name")),
    (Path(CHECKPOINT), ("model",)),
)


def result_folder(out: Path, model: str, task: str) -> Path:
    """Return the folder of a task's results, or with an empty `task` that of the model.

    The first of these that holds nothing of another model: a folder with files of this model and
    task, an older version's folder with files of this model only, `<out>/<model>/<task>`, and that
    folder with a hash after the model's name.
    """
    path = Path(*(naming.task_folder_name(part) for part in task.split("/") if part))
    own, older = naming.model_folder_name(model), naming.older_name(model)
    other = naming.alternative(own, model)
    for name in _existing(out, own, other, older):
        if owner(out / name / path) == model:
            return out / name / path
    if older != own and owners(out / older) == {model}:
        return out / older / path
    taken = owners(out / own) - {model}
    is_shared = owner(out / own / path) or (taken and model not in owners(out / own))
    return out / (other if is_shared else own) / path


def model_folders(out: Path, model: str) -> list[Path]:
    """Return the folders that may hold results of a model, and of others besides."""
    own = naming.model_folder_name(model)
    names = (own, naming.alternative(own, model), naming.older_name(model))
    return [out / name for name in _existing(out, *names)]


def of_other_models(out: Path, folder: Path) -> list[Path]:
    """Return the folders of the same task below `out`, of all models but this folder's."""
    model, *task = folder.relative_to(out).parts
    places = (path / Path(*task) for path in sorted(out.iterdir()) if path.name != model)
    return [place for place in places if place.is_dir()]


def owner(folder: Path) -> str | None:
    """Return the model whose result, journal or checkpoint lies in a folder; None without one."""
    for name, keys in STATED:
        if model := _stated(folder / name, keys):
            return model
    return None


def owners(folder: Path) -> set[str]:
    """Return the models whose files lie anywhere below a folder."""
    models: set[str] = set()
    for parent, folders, files in os.walk(folder):
        if {RESULT, CHECKPOINT} & {*files} or JOURNAL.parent.name in folders:
            models |= {model} if (model := owner(Path(parent))) else set()
            folders[:] = [name for name in folders if name != JOURNAL.parent.name]
    return models


def check_owner(folder: Path, model: str) -> None:
    """Raise UsageError if a folder holds the result of another model."""
    found = _stated(folder / RESULT, OWNER)
    if found and found != model:
        raise UsageError(
            f"{folder / RESULT}: a result of model {found!r}, which is kept; expected a folder "
            f"without results, or with those of {model!r} (--out names another folder)"
        )


def _existing(out: Path, *names: str) -> Iterator[str]:
    for name in dict.fromkeys(names):
        with suppress(OSError):  # a name may be too long for a file system
            if name and (out / name).is_dir():
                yield name


def _stated(path: Path, keys: tuple[str, ...]) -> str | None:
    """Return the model that a file names; None if it is absent, unreadable or names none."""
    try:
        content: Any = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content if isinstance(content, str) else None
