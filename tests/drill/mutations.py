"""Mutations of valid files: of their bytes, and of the values in JSON and YAML."""

import json
import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

# Bytes that readers treat in a special way: ends, quotes, brackets, marks, and no valid UTF-8.
TELLING = (
    b"\x00",
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
    b"\r",
    b"\n",
    b"\t",
    b'"',
    b"'",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"-",
    b"#",
    b"&a ",
    b"*a ",
    b"!!",
    b"\x1b[2J",
)
NUMBERS = (
    *("0", "-1", "1", "2", "127", "255", "256", "65536", "2147483647", "2147483648", "-2147483649"),
    *("4294967296", "9223372036854775807", "9223372036854775808", "18446744073709551616"),
    *("0.5", "1e308", "1e400", "-1e400", "NaN", "Infinity", "1e-400", "9" * 400, "0x10", "1_0"),
)
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
LARGE = 65536  # bytes; a longer mutant of a small file is cut


def of_bytes(content: bytes, random: Random, others: Sequence[bytes] = ()) -> bytes:
    """Return a file with one to four mutations of its bytes.

    Args:
        content: The valid file.
        random: Decides everything.
        others: Other valid files, of which pieces may be inserted.
    """
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        content = random.choice(BYTE_MUTATIONS)(content, random, others)
    return content


def _place(content: bytes, random: Random) -> tuple[int, int]:
    """Return a short range of a file."""
    start = random.randint(0, len(content))
    return start, min(len(content), start + random.choice((0, 1, 1, 2, 4, 8, 32, 256)))


def _flip(content: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    if not content:
        return content
    place = random.randrange(len(content))
    changed = bytes([content[place] ^ 1 << random.randrange(8)])
    return content[:place] + changed + content[place + 1 :]


def _delete(content: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    start, end = _place(content, random)
    return content[:start] + content[end:]


def _repeat(content: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    start, end = _place(content, random)
    times = random.choice((2, 2, 3, 1000))
    return (content[:start] + content[start:end] * times + content[end:])[: len(content) + LARGE]


def _truncate(content: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    return content[: random.randint(0, len(content))]


def _insert(content: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    start, _ = _place(content, random)
    return content[:start] + random.choice(TELLING) * random.choice((1, 1, 2, 50)) + content[start:]


def _overwrite(content: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    start, end = _place(content, random)
    return content[:start] + random.randbytes(end - start) + content[end:]


def _number(content: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    found = list(NUMBER.finditer(content))
    if not found:
        return _flip(content, random, others)
    number = random.choice(found)
    return content[: number.start()] + random.choice(NUMBERS).encode() + content[number.end() :]


def _line(content: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    """Delete, repeat or move a line."""
    lines = content.splitlines(keepends=True)
    if not lines:
        return content
    line = lines.pop(random.randrange(len(lines)))
    for _ in range(random.randrange(3)):
        lines.insert(random.randint(0, len(lines)), line)
    return b"".join(lines)


def _splice(content: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    other = random.choice(others) if others else content
    start, end = _place(content, random)
    first, last = _place(other, random)
    return content[:start] + other[first:last] + content[end:]


BYTE_MUTATIONS: Sequence[Callable[[bytes, Random, Sequence[bytes]], bytes]] = (
    _flip,
    _delete,
    _repeat,
    _truncate,
    _insert,
    _overwrite,
    _number,
    _line,
    _splice,
)

# -- values ----------------------------------------------------------------------------------------

VALUES: Sequence[Any] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63) - 1, 0.5, 1e308),
    *(float("nan"), float("inf"), -float("inf"), "", " ", "0", "1e5", "null", "\x00", "\ud800"),
    *("\u2028", "../../etc/passwd", "/dev/zero", "~", "a" * 5000, "{}", "%s", "=1+1", "<b>"),
    *([], {}, [[]], [None], {"": None}, {"a": {"b": []}}),
)


def of_value(value: Any, random: Random) -> Any:
    """Return a JSON value with one to three values, keys or elements changed."""
    for _ in range(random.choice((1, 1, 2, 3))):
        value = _changed(value, random)
    return value


def _changed(value: Any, random: Random) -> Any:
    """Descend to a random place, and change it there."""
    if isinstance(value, dict) and value and random.random() < 0.85:
        key = random.choice(list(value))
        if random.random() < 0.75:
            return {**value, key: _changed(value[key], random)}
        return _changed_keys(value, key, random)
    if isinstance(value, list) and value and random.random() < 0.85:
        place = random.randrange(len(value))
        if random.random() < 0.75:
            return [*value[:place], _changed(value[place], random), *value[place + 1 :]]
        times = random.choice((0, 2, 100))
        return [*value[:place], *[value[place]] * times, *value[place + 1 :]]
    if random.random() < 0.2:
        return deep(random.choice((10, 200, 5000)))
    if isinstance(value, int | float) and not isinstance(value, bool) and random.random() < 0.5:
        return random.choice((value + 1, value - 1, -value, value * 2, str(value), value * 2**40))
    if isinstance(value, str) and random.random() < 0.5:
        text = of_bytes(value.encode("utf-8", "surrogatepass"), random)
        return text.decode("utf-8", "surrogateescape")
    return random.choice(VALUES)


def _changed_keys(value: dict[str, Any], key: str, random: Random) -> dict[str, Any]:
    """Drop a key, rename it, or add one."""
    rest = {other: value[other] for other in value if other != key}
    kind = random.randrange(3)
    if kind == 0:
        return rest
    if kind == 1:
        new = random.choice((key.upper(), key + "s", "", "__class__", key[:-1], "\x00"))
        return {**rest, new: value[key]}
    return {**value, random.choice(("extra", "__proto__", "$ref", "<<")): random.choice(VALUES)}


def deep(levels: int) -> Any:
    """Return a list in a list in a list."""
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def of_json(content: bytes, random: Random, others: Sequence[bytes] = ()) -> bytes:
    """Return a JSON file with changed values, or with changed bytes."""
    if random.random() < 0.4:
        return of_bytes(content, random, others)
    value = of_value(json.loads(content), random)
    try:
        written = json.dumps(value, ensure_ascii=random.random() < 0.5)
        mutant = written.encode("utf-8", "surrogatepass")
        return mutant if len(mutant) < len(content) + LARGE else of_bytes(content, random, others)
    except RecursionError:  # deeper than Python writes
        return b"[" * 5000 + b"]" * 5000
