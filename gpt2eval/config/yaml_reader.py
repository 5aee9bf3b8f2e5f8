"""Read one YAML file as plain data, with bounds that a small hostile file cannot exceed.

Values are strings, numbers, booleans, None, lists and mappings with string keys. Dates stay
strings, and explicit tags such as `!!binary` are errors. Knows no schemas.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from yaml import events

from gpt2eval.config.plain_loader import PlainLoader
from gpt2eval.errors import UsageError, one_line

MOST_BYTES = 1_000_000
MOST_DEPTH = 30
MOST_VALUES = 50_000  # keys and values, after aliases are replaced by what they refer to
SURROGATE = re.compile("[\ud800-\udfff]")


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    A content that was read before is not parsed again: a task's file is read once per variant. Do
    not change the values.

    Args:
        path: The file: at most 1 MB, 30 levels deep, with at most 50,000 values.

    Returns:
        Plain data; every key is a string.

    Raises:
        UsageError: The file cannot be read, is not YAML, exceeds a bound, or holds no mapping.
    """
    content: Any = None
    try:
        content = _parsed(path, _text(path))
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path}: not readable as YAML: byte {error.start + 1:,} is not UTF-8; expected UTF-8"
        ) from None
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"{path}: cannot be read: {reason}; expected a YAML file") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{path}: not readable as YAML: {_described(error)}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected a mapping of keys, found {type(content).__name__}")
    return {**content}


@lru_cache(maxsize=32)
def _parsed(path: Path, text: str) -> Any:
    checked = [*_checked_events(path, text)]  # all of it, before any value is built
    return PlainLoader(iter(checked)).get_single_data()  # type: ignore[no-untyped-call]


def _text(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise UsageError(
            f"{path}: larger than {MOST_BYTES:,} bytes; expected a YAML file of a few kilobytes"
        )
    return content.decode("utf-8")


def _checked_events(path: Path, text: str) -> Iterator[events.Event]:
    """Yield the parser's events.

    Raises UsageError for a file that is too deep or too large once its aliases are replaced.
    """
    values = 0
    sizes: dict[str, int] = {}  # of complete anchored values
    open_values: list[tuple[str | None, int]] = []  # anchors, and the count before each
    children = 0  # of the root
    key = ""  # of the root, the last one read
    for event in yaml.parse(text, yaml.SafeLoader):
        yield event
        place = f"{path}: line {event.start_mark.line + 1}: {key}".removesuffix(": ")
        if isinstance(event, events.CollectionEndEvent):
            anchor, before = open_values.pop()
            if anchor:
                sizes[anchor] = values - before
            continue
        if not isinstance(event, events.NodeEvent):
            continue
        if len(open_values) == 1:
            if children % 2 == 0 and isinstance(event, events.ScalarEvent):
                key = f"{event.value:.60}"
            children += 1
        _check_event(event, place)
        if isinstance(event, events.AliasEvent):
            if event.anchor in {anchor for anchor, _ in open_values}:
                raise UsageError(
                    f"{place}: *{event.anchor:.60} refers to a value that contains it; "
                    "expected a value that does not contain itself"
                )
            values += sizes.get(event.anchor, 1)
        else:
            if isinstance(event, events.CollectionStartEvent):
                open_values.append((event.anchor, values))
            elif event.anchor:
                sizes[event.anchor] = 1
            values += 1
        if len(open_values) > MOST_DEPTH:
            raise UsageError(
                f"{place}: nested more than {MOST_DEPTH} levels deep; expected at most that"
            )
        if values > MOST_VALUES:
            raise UsageError(
                f"{place}: more than {MOST_VALUES:,} keys and values; expected at most that"
            )


def _check_event(event: events.NodeEvent, place: str) -> None:
    """Raise UsageError for an explicit tag, or for text that no encoding can represent."""
    # A long tag that is declared once and used often would fill the memory.
    tag = getattr(event, "tag", None)
    if tag is not None:
        raise UsageError(f"{place}: the tag {tag[:60]!r}; expected a value without a tag")
    if isinstance(event, events.ScalarEvent) and SURROGATE.search(event.value):
        raise UsageError(
            f"{place}: half of a surrogate pair; expected the character itself, or its code as in "
            '"\\U0001F600"'
        )


def _described(error: Exception) -> str:
    """Return an error of the parser as `line 3: the problem`, without an excerpt of the file."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None)
    if mark is None or problem is None:
        return one_line(error)
    return f"line {mark.line + 1}: {' '.join(str(problem).split())}"
