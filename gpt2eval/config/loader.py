"""Read task, suite and detokenizer files strictly: an unknown key or a wrong type is an error.

A name becomes a frozen `Task`, and no later step reads a file's YAML again.
"""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from gpt2eval.config import catalog
from gpt2eval.config.schema import Filter, Task
from gpt2eval.config.suite_schema import Suite
from gpt2eval.config.yaml_reader import read_yaml
from gpt2eval.errors import UsageError, first_problem, unknown

PER_TOKEN = {"ppl", "nats_per_token"}  # metrics of a text of which a part is dropped

Schema = TypeVar("Schema", bound=BaseModel)
LAST_WORDS = ("last_word", "after_last_blank")  # values of `ask` that score a whole word


def load_task(name: str, include: Sequence[Path] = ()) -> Task:
    """Load a task by name, `task` or `task/variant`; the variant's keys replace those of the task.

    Raises:
        UsageError: The task or variant is unknown, or the file is not a valid task.
    """
    base, _, variant = name.partition("/")
    path = catalog.find("tasks", base, include)
    content = read_yaml(path)
    variants = content.pop("variants", None) or {}
    if not isinstance(variants, dict) or not all(isinstance(key, str) for key in variants):
        raise UsageError(f"{path}: variants: expected a mapping of names to overrides")
    if variant and variant not in variants:
        raise unknown(f"variant of {base}", variant, variants or ["(none)"])
    overrides = (variants[variant] or {}) if variant else {}
    if not isinstance(overrides, dict):
        raise UsageError(
            f"{path}: variants.{variant}: expected a mapping of keys to override, "
            f"found {overrides!r:.60}"
        )
    merged = content | overrides | {"name": base, "variant": variant, "variants": tuple(variants)}
    task = validate(Task, merged, path)
    _check_combinations(task, path)
    return task


def _check_combinations(task: Task, path: Path) -> None:
    """Raise UsageError for keys that are individually valid but incompatible."""
    if (task.ask in ("choices", "candidate")) != (task.format == "cbt"):
        raise UsageError(
            f"{path}: ask: {task.ask}: not compatible with format {task.format}; "
            "choices and candidate require format cbt, and format cbt requires one of them"
        )
    if task.joins_tokens and task.ask != "everything":
        raise UsageError(
            f"{path}: join: {task.join}: not compatible with ask {task.ask}; "
            "expected ask everything, because the tokens of all records form one stream"
        )
    if (task.pack or task.drop) and not (task.block and task.joins_tokens):
        key = "pack" if task.pack else "drop"
        raise UsageError(f"{path}: {key}: expected a block, and join eot or none beside it")
    if task.pack and task.pack.end == "none" and not task.pack.score_end:
        raise UsageError(
            f"{path}: pack: score_end: false: not compatible with end none; "
            "expected end eot, because no token stands after the text"
        )
    if task.tail == "drop" and (task.unit != "token" or not {*task.metrics} <= PER_TOKEN):
        raise UsageError(
            f"{path}: tail: drop: not compatible with unit {task.unit} and metrics "
            f"{', '.join(task.metrics)}; expected unit token, and of the metrics only "
            f"{' and '.join(sorted(PER_TOKEN))}, because other units count the dropped text, too"
        )
    if task.drop and task.tail != "drop":
        raise UsageError(f"{path}: drop: not compatible with tail {task.tail}; expected tail drop")
    if task.draw and not (
        task.block and task.tail == "drop" and task.start == "none" and task.detokenizer is None
    ):
        raise UsageError(
            f"{path}: draw: expected a block, tail drop and start none beside it, "
            "and no detokenizer"
        )
    if task.draw and (task.joins_tokens or task.ask != "everything"):
        raise UsageError(f"{path}: draw: expected ask everything, and records that are not joined")
    if task.block and (task.stride or task.windows != "regular"):
        raise UsageError(
            f"{path}: block: {task.block}: expected no stride and no windows beside it"
        )
    if (task.mean == "batches") != (task.batch is not None):
        raise UsageError(f"{path}: mean: {task.mean}: expected a batch beside mean batches only")
    if task.filter != "none" and task.ask not in LAST_WORDS:
        raise UsageError(
            f"{path}: filter: {task.filter}: not compatible with ask {task.ask}; "
            "expected ask last_word or after_last_blank"
        )
    if task.word_ends != "none" and (task.filter != "none" or task.ask not in LAST_WORDS):
        raise UsageError(
            f"{path}: word_ends: {task.word_ends}: not compatible with ask {task.ask} and filter "
            f"{task.filter}; expected ask last_word or after_last_blank, and filter none"
        )
    if task.group is not None and (task.format != "documents" or not task.group):
        raise UsageError(
            f"{path}: group: {task.group!r}: not compatible with format {task.format}; "
            "expected format documents, and the key of a document's group"
        )
    if task.group and task.joins_tokens:
        raise UsageError(
            f"{path}: group: {task.group}: not compatible with join {task.join}; "
            "expected documents that are scored independently of each other"
        )


def dump_task(task: Task) -> str:
    """Return a resolved task as YAML."""
    return as_yaml(task.model_dump(mode="json", exclude_none=True))


def as_yaml(content: Mapping[str, Any]) -> str:
    """Return a mapping in the YAML style of task files."""
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


def load_suite(name: str, include: Sequence[Path] = ()) -> Suite:
    """Load a suite by name."""
    path = catalog.find("tasks/suites", name, include)
    return validate(Suite, read_yaml(path) | {"name": name}, path)


def load_filter(task: Task, include: Sequence[Path] = ()) -> Filter | None:
    """Load the stop words of a task, or None if it has none.

    `tasks/stopwords/NAME.txt` holds one word per line, after comment lines that begin with `#`.
    Raises UsageError for a list that cannot be read, or holds something else.
    """
    if task.filter in ("none", "terminated"):
        return None
    banned = _stop_words(catalog.find("tasks/stopwords", task.filter, include))
    digest = sha256("\n".join(sorted(banned)).encode()).hexdigest()
    return Filter(task.filter, banned, digest)


def _stop_words(path: Path) -> frozenset[str]:
    """Read the words of a list. Raises UsageError, with the line, for anything else."""
    try:
        lines = path.read_bytes().decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}: line {line}: not UTF-8; expected one word") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from None
    words: set[str] = set()
    for number, line in enumerate(lines, 1):
        word = line.strip()
        if not word or line.startswith("#"):
            continue
        if not word.isprintable() or " " in word:
            raise UsageError(f"{path}: line {number}: {word!r:.60}; expected one word")
        words.add(word.lower())
    if not words:
        raise UsageError(f"{path}: contains no word; expected one word per line")
    return frozenset(words)


def select_tasks(names: str | Sequence[str], include: Sequence[Path] = ()) -> list[Task]:
    """Load tasks by name, in order and without duplicates; a suite stands for all its tasks.

    Args:
        names: Names of tasks, variants and suites, as a sequence or separated by commas.
        include: Catalog folders to search first.
    """
    suites = catalog.files("tasks/suites", include)
    full_names: list[str] = []
    for name in names.split(",") if isinstance(names, str) else names:
        if name in suites:
            full_names += [column.task for column in load_suite(name, include).columns]
        else:
            full_names.append(name)
    return [load_task(name, include) for name in dict.fromkeys(full_names)]


def validate(model: type[Schema], content: dict[str, Any], path: Path) -> Schema:
    """Check the content of a file against its schema.

    Raises:
        UsageError: Names the file, the key, what was expected and what was found; for an unknown
            key, the nearest valid key.
    """
    try:
        # In JSON mode a list is accepted for a tuple, although the schema is strict.
        return model.model_validate_json(json.dumps(content, default=str))
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "extra_forbidden":
            *parents, key = first["loc"]
            problem = unknown("key", str(key), _keys(model, parents))
            section = "".join(f"{parent}." for parent in parents).removesuffix(".")
            location = f"{path}: {section}" if section else str(path)
            raise UsageError(f"{location}: {problem}") from None
        actual = f"{json.dumps(first['input'], default=str):.60}"
        raise UsageError(f"{path}: {first_problem(error)}; found {actual}") from None


def _keys(model: type[BaseModel], parents: Sequence[int | str]) -> list[str]:
    """Return the keys that a schema allows below the given parent keys."""
    for parent in parents:
        # An index into a list does not change the schema.
        if isinstance(parent, str) and parent in model.model_fields:
            classes = _classes(model.model_fields[parent].annotation)
            model = next((c for c in classes if issubclass(c, BaseModel)), model)
    return list(model.model_fields)


def _classes(annotation: Any) -> list[type]:
    """Return the classes inside an annotation such as `tuple[Rule, ...] | None`."""
    inner = [cls for argument in get_args(annotation) for cls in _classes(argument)]
    return inner or ([annotation] if isinstance(annotation, type) else [])
