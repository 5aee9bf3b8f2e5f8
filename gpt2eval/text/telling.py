"""The telling texts of a regular expression: a line without any of them has no match.

Most rules of a detokenizer are about a character that most lines lack, such as an en dash. To look
for it takes a small part of the time of a search. Knows no rules.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

# The parser of the standard library's own expressions; it has no public name.
from re import _constants, _parser  # type: ignore[attr-defined]  # isort: skip

REPEATS = (_constants.MAX_REPEAT, _constants.MIN_REPEAT, _constants.POSSESSIVE_REPEAT)
MOST = 12  # texts; to look for more of them takes as long as a search
ORDINARY = re.compile(r"[\sA-Za-z0-9]{1,2}")  # most lines have such a text
FREQUENT = ".,'\"-"  # among other characters; these are looked for first
# The package `regex` runs the rules of users, and reads [:alpha:] and {e<=1} in another way.
READ_OTHERWISE = re.compile(r"\[:|\{(?!(?:[0-9]+(?:,[0-9]*)?|,[0-9]+)\})")

Texts = frozenset[str]
NOTHING: Texts = frozenset()


def telling_texts(pattern: str) -> tuple[str, ...]:
    r"""Return texts of which every line with a match has at least one.

    If no such texts are known, returns the empty text, which every line contains.

    >>> telling_texts(r"( )[$£](?=\d)"), telling_texts("--|n't"), telling_texts("a?")
    (('$', '£'), ('--', "n't"), ('',))
    """
    parsed = _parser.parse(pattern)
    if parsed.state.flags & re.IGNORECASE or READ_OTHERWISE.search(pattern):
        return ("",)
    texts = _of_sequence(parsed)
    if not texts or any(map(ORDINARY.fullmatch, texts)):
        return ("",)
    return tuple(sorted(texts, key=lambda text: (text not in FREQUENT, text)))


def _of_sequence(items: Iterable[Any]) -> Texts:
    """Return the telling texts of items that must all match: those of the rarest item."""
    known = []
    literal = ""
    for operator, argument in _without_groups(items):
        if operator is _constants.LITERAL:
            literal += chr(argument)
            continue
        known += [frozenset({literal}), _of_item(operator, argument)]
        literal = ""
    known.append(frozenset({literal}))
    return min(filter(any, known), key=_commonness, default=NOTHING)


def _without_groups(items: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield items, and in place of a group without flags of its own what is inside."""
    for operator, argument in items:
        if operator is _constants.SUBPATTERN and not argument[1]:
            yield from _without_groups(argument[-1])
        else:
            yield operator, argument


def _commonness(texts: Texts) -> tuple[bool, int, int]:
    return any(map(ORDINARY.fullmatch, texts)), len(texts), -min(map(len, texts))


def _of_item(operator: Any, argument: Any) -> Texts:
    """Return the telling texts of one item, or nothing if it may match without any."""
    if operator is _constants.IN:
        return _of_class(argument)
    if operator is _constants.BRANCH:
        return _of_any(map(_of_sequence, argument[1]))
    if operator in REPEATS:
        least, _, body = argument
        return _of_sequence(body) if least else NOTHING
    if operator is _constants.ASSERT:
        return _of_sequence(argument[1])
    if operator is _constants.ATOMIC_GROUP:
        return _of_sequence(argument)
    return NOTHING


def _of_class(items: Iterable[Any]) -> Texts:
    """Return the characters of a class such as `[.,]`, if it lists them all."""
    listed = list(items)
    if all(operator is _constants.LITERAL for operator, _ in listed) and len(listed) <= MOST:
        return frozenset(chr(code) for _, code in listed)
    return NOTHING


def _of_any(alternatives: Iterable[Texts]) -> Texts:
    """Return the telling texts of alternatives, if each has some and they are few."""
    found = list(alternatives)
    together = NOTHING.union(*found)
    # A line with "n't" has "'" too.
    shortest = {text for text in together if not any(t in text for t in together - {text})}
    return frozenset(shortest) if all(found) and len(shortest) <= MOST else NOTHING
