"""Read one YAML file as plain data, with bounds that a small hostile file cannot exceed.

Values are strings, numbers, booleans, None, lists and mappings with string keys. Dates stay
strings, and explicit tags such as `!!binary` are errors. Knows no schemas.
"""

import math
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from yaml import events
from yaml.composer import Composer
from yaml.constructor import ConstructorError, SafeConstructor
from yaml.resolver import Resolver

from gpt2eval.errors import UsageError, one_line

MOST_BYTES = 1_000_000
MOST_DEPTH = 30
MOST_VALUES = 50_000  # keys and values, after aliases are replaced by what they refer to
MOST_DIGITS = 18  # larger integers exceed 64 bits
CORE = "tag:yaml.org,2002:"
# Decimal only: YAML 1.1 reads 0x1F, 0o17, 1_000 and 1:30 as integers too, and 1:30.5 as 90.5.
INTEGER = r"[-+]?(?:0|[1-9][0-9]*)"
DECIMAL = r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
SPECIAL = r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"  # recognised, then refused
SURROGATE = re.compile("[\ud800-\udfff]")


class PlainLoader(Composer, SafeConstructor, Resolver):
    """A loader of plain data: unique string keys, bounded integers, finite numbers, no tags.

    It reads the events of a parser, so that a file which has been checked is not parsed again.
    """

    def __init__(self, parsed: Iterator[events.Event]) -> None:
        Composer.__init__(self)  # type: ignore[no-untyped-call]
        SafeConstructor.__init__(self)  # type: ignore[no-untyped-call]
        Resolver.__init__(self)  # type: ignore[no-untyped-call]
        self._parsed = parsed
        self._next = next(parsed, None)

    def check_event(self, *kinds: type[events.Event]) -> bool:
        """Return whether the next event is of one of these kinds; any kind, if none is given."""
        return self._next is not None and (not kinds or isinstance(self._next, kinds))

    def peek_event(self) -> events.Event | None:
        """Return the next event, and leave it there."""
        return self._next

    def get_event(self) -> events.Event | None:
        """Return the next event, and go on to the one after it."""
        event = self._next
        self._next = next(self._parsed, None)
        return event

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping, or raise for a key that is not a string or occurs twice."""
        self.flatten_mapping(node)
        # A key such as 2001 or 117 is a name, whatever type its spelling suggests.
        return {key.value: self._value(key.value, value) for key, value in node.value}

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Replace the key `<<` by the keys that it refers to; the mapping's own keys win."""
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _problem(key, "a key that is a list or a mapping; expected a string")
            if key.value in seen:
                raise _problem(key, f"duplicate key {key.value!r:.60}")
            seen.add(key.value)
        super().flatten_mapping(node)  # type: ignore[no-untyped-call]
        # An aliased mapping comes here again, so its replaced keys must go.
        node.value = list({key.value: (key, value) for key, value in node.value}.values())

    def _value(self, key: str, node: yaml.Node) -> Any:
        """Build the value of a key; an error states the path of keys."""
        try:
            return self.construct_object(node, deep=True)  # type: ignore[no-untyped-call]
        except ConstructorError as error:
            error.problem = f"{key:.60}: {error.problem}"
            raise


def _problem(node: yaml.Node, text: str) -> ConstructorError:
    return ConstructorError(None, None, text, node.start_mark)


def _integer(loader: PlainLoader, node: yaml.ScalarNode) -> int:
    if len(node.value) > MOST_DIGITS:
        raise _problem(
            node,
            f"an integer of {len(node.value)} characters; expected at most {MOST_DIGITS}",
        )
    return int(node.value)


def _number(loader: PlainLoader, node: yaml.ScalarNode) -> float:
    value = float(loader.construct_yaml_float(node))  # type: ignore[no-untyped-call]
    if not math.isfinite(value):
        raise _problem(node, f"the number {node.value:.60}; expected a finite number")
    return value


def _mapping(loader: PlainLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    return loader.construct_mapping(node, deep=True)


def _list(loader: PlainLoader, node: yaml.SequenceNode) -> list[Any]:
    return loader.construct_sequence(node, deep=True)


def _other(loader: PlainLoader, node: yaml.Node) -> Any:
    raise _problem(node, f"the tag {node.tag!r:.60}; expected a value without a tag")


def _configure() -> None:
    """Limit the loader to plain data; SafeLoader itself also reads dates, bytes, sets and pairs."""
    inherited = PlainLoader.yaml_constructors
    plain = {f"{CORE}{name}": inherited[f"{CORE}{name}"] for name in ("null", "bool", "str")}
    PlainLoader.yaml_constructors = {
        **plain,
        f"{CORE}int": _integer,
        f"{CORE}float": _number,
        f"{CORE}seq": _list,
        f"{CORE}map": _mapping,
        None: _other,
    }
    kept = {f"{CORE}{name}" for name in ("null", "bool", "merge")}
    PlainLoader.yaml_implicit_resolvers = {
        first: [pair for pair in pairs if pair[0] in kept]
        for first, pairs in PlainLoader.yaml_implicit_resolvers.items()
    }
    for name, pattern in (("int", INTEGER), ("float", f"{DECIMAL}|{SPECIAL}")):
        PlainLoader.add_implicit_resolver(  # type: ignore[no-untyped-call]
            f"{CORE}{name}", re.compile(f"(?:{pattern})\\Z"), [*"-+.0123456789"]
        )


_configure()


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
