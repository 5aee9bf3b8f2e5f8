"""Task, suite and detokenizer files, read strictly: a key that is not known, or of the wrong type, is an error.

The only room that knows YAML. It turns a name into a frozen `Task`; after that nothing reads configuration.
"""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from gpt2eval.config import catalog, loader
from gpt2eval.config.schema import Suite, Task
from gpt2eval.errors import UsageError, unknown
from gpt2eval.types import Filter

Schema = TypeVar("Schema", bound=BaseModel)


def load_task(name: str, include: Sequence[Path] = ()) -> Task:
    """The task of a name, `task` or `task/variant`; a variant's keys replace the task's.

    Raises UsageError for an unknown name or variant, or a file that does not read as a task.
    """
    base, _, variant = name.partition("/")
    path = catalog.find("tasks", base, include)
    content = _read(path)
    variants = content.pop("variants", None) or {}
    if not isinstance(variants, dict) or not all(isinstance(key, str) for key in variants):
        raise UsageError(f"{path}: variants: expected a mapping of names to overrides")
    if variant and variant not in variants:
        raise unknown(f"variant of {base}", variant, variants or ["(none)"])
    overrides = (variants[variant] or {}) if variant else {}
    if not isinstance(overrides, dict):
        raise UsageError(
            f"{path}: variants.{variant}: expected a mapping of keys to override, found {overrides!r:.60}"
        )
    merged = content | overrides | {"name": base, "variant": variant, "variants": tuple(variants)}
    task = _validate(Task, merged, path)
    if (task.ask in ("choices", "candidate")) != (task.format == "cbt"):
        raise UsageError(
            f"{path}: ask: {task.ask}: does not go with format {task.format}; choices and candidate go with cbt"
        )
    if task.filter != "none" and task.ask not in ("last_word", "after_last_blank"):
        raise UsageError(
            f"{path}: filter: {task.filter}: does not go with ask {task.ask}; expected last_word"
        )
    return task


def dump_task(task: Task) -> str:
    """A resolved task as YAML."""
    return as_yaml(task.model_dump(mode="json", exclude_none=True))


def as_yaml(content: Mapping[str, Any]) -> str:
    """A mapping as it stands in a task's file."""
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


def load_suite(name: str, include: Sequence[Path] = ()) -> Suite:
    """The suite of a name."""
    path = catalog.find("tasks/suites", name, include)
    return _validate(Suite, _read(path) | {"name": name}, path)


def load_filter(task: Task, include: Sequence[Path] = ()) -> Filter | None:
    """The words that a task leaves out, from `tasks/stopwords/NAME.txt`: one a line, after lines of `#`."""
    if task.filter == "none":
        return None
    content = catalog.find("tasks/stopwords", task.filter, include).read_text(encoding="utf-8")
    banned = frozenset(
        line.strip().lower()
        for line in content.splitlines()
        if line.strip() and not line.startswith("#")
    )
    digest = sha256("\n".join(sorted(banned)).encode()).hexdigest()
    return Filter(task.filter, banned, task.filter_width, task.filter_depth, digest)


class UniqueKeys(yaml.SafeLoader):
    """YAML in which a key given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {twice[0]!r} is given twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), UniqueKeys)
    except (yaml.YAMLError, ValueError, OSError) as error:
        raise UsageError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected a mapping of keys, found {type(content).__name__}")
    return content


def _validate(model: type[Schema], content: dict[str, Any], path: Path) -> Schema:
    try:
        return model.model_validate_json(json.dumps(content, default=str))
    except ValidationError as error:
        first = error.errors()[0]
        *place, key = first["loc"] or ("",)
        where = f"{path}: {'.'.join(map(str, place))}".rstrip(": ")
        if first["type"] == "extra_forbidden":
            raise UsageError(f"{where}: {unknown('key', str(key), _keys(model, place))}") from None
        what = f"{first['msg'][0].lower()}{first['msg'][1:]}"
        raise UsageError(
            f"{where}: {key}: {what}; found {json.dumps(first['input'], default=str):.60}"
        ) from None


def _keys(model: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    """The keys that a file may have at a place inside it."""
    for step in place:
        if isinstance(step, str) and step in model.model_fields:
            found = [
                t for t in _parts(model.model_fields[step].annotation) if issubclass(t, BaseModel)
            ]
            model = found[0] if found else model
    return list(model.model_fields)


def _parts(annotation: Any) -> list[type]:
    """The classes inside an annotation such as `tuple[Rule, ...] | None`."""
    inner = [part for argument in get_args(annotation) for part in _parts(argument)]
    return inner or ([annotation] if isinstance(annotation, type) else [])


PAPER = "gpt2-paper"


def select_tasks(names: str | Sequence[str], include: Sequence[Path] = ()) -> list[Task]:
    """The tasks of names, suites resolved into theirs, each once."""
    listed = names.split(",") if isinstance(names, str) else names
    suites = catalog.files("tasks/suites", include)
    full = [
        task
        for name in listed
        for task in (
            [c.task for c in loader.load_suite(name, include).columns] if name in suites else [name]
        )
    ]
    return [loader.load_task(name, include) for name in dict.fromkeys(full)]
