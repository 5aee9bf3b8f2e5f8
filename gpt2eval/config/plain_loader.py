"""Build plain data from the events of a YAML parser.

Values are strings, numbers, booleans, None, lists and mappings with string keys. Dates stay
strings, and explicit tags such as `!!binary` are errors.
"""

import math
import re
from collections.abc import Iterator
from typing import Any

import yaml
from yaml import events
from yaml.composer import Composer
from yaml.constructor import ConstructorError, SafeConstructor
from yaml.resolver import Resolver

MOST_DIGITS = 18  # larger integers exceed 64 bits
CORE = "tag:yaml.org,2002:"
# Decimal only: YAML 1.1 reads 0x1F, 0o17, 1_000 and 1:30 as integers too, and 1:30.5 as 90.5.
INTEGER = r"[-+]?(?:0|[1-9][0-9]*)"
DECIMAL = r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
SPECIAL = r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"  # recognised, then refused


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
