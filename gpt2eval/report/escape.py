"""Make text from files safe to print: one function for a terminal, and one per table format.

Names of models, tasks and files come from people the reader may not know. Does not know tables.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from functools import cache
from operator import is_
from typing import Any, TypeVar

Value = TypeVar("Value")

# Control characters, invisible and direction-changing ones, surrogates, line and paragraph
# separators: all that a reader cannot see, or that a terminal or a table takes for a command.
UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
UNCHANGED = frozenset((int, float, bool, type(None)))  # types without text
SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
# The first characters by which a spreadsheet recognises a formula, and their wide forms.
FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
PUNCTUATION = re.compile(r"\\(?=[!-/:-@\[-`{-~])")
TAG = re.compile(r"<(?=[A-Za-z/!?])")  # where HTML takes what follows for a tag
LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "[": "{[}",  # after a line's end, LaTeX takes a bracket for the size of a gap
    "]": "{]}",
    "±": r"$\pm$",
    "‡": r"\ddag{}",
    "Δ": r"$\Delta$",
} | {character: f"\\{character}" for character in "&%$#_{}"}


def visible(text: str) -> str:
    r"""Return text for a terminal: one line, every unseen character as an escape.

    >>> visible("a\x1b[31mred\nb")
    'a\\x1b[31mred\\nb'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        _escape(character) if unicodedata.category(character) in UNSEEN else character
        for character in text
    )


def visible_in(value: Value) -> Value:
    """Return a value with all text inside visible: of dataclasses, mappings and sequences."""
    return _visible_in(value)


def _visible_in(value: Any) -> Any:
    """Return a value with visible text; the same object if all its text is visible."""
    kind = type(value)
    if kind in UNCHANGED:
        return value
    if isinstance(value, str):
        return visible(value)
    if names := _field_names(kind):
        changed = {
            name: new
            for name in names
            if (new := _visible_in(old := getattr(value, name))) is not old
        }
        return replace(value, **changed) if changed else value
    if isinstance(value, Mapping):
        keys = [_visible_in(key) for key in value]
        entries = [_visible_in(entry) for entry in value.values()]
        is_same = all(map(is_, keys, value)) and all(map(is_, entries, value.values()))
        return value if is_same else dict(zip(keys, entries, strict=True))
    if isinstance(value, tuple | list):
        make = getattr(value, "_make", kind)  # a named tuple takes its entries one by one
        entries = [_visible_in(entry) for entry in value]
        is_same = all(map(is_, entries, value))
        return value if is_same else make(entries)
    return value


@cache
def _field_names(kind: type) -> tuple[str, ...]:
    """Return the names of a dataclass's fields; none for another type."""
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else ()


def csv_cell(value: object) -> object:
    """Return a cell of a CSV file: text visible, and with `'` before what a spreadsheet would run.

    Numbers stay numbers.

    >>> csv_cell("=1+1"), csv_cell("-m"), csv_cell(-1.5), csv_cell("a-b")
    ("'=1+1", "'-m", -1.5, 'a-b')
    """
    if not isinstance(value, str):
        return value
    begins_formula = value.lstrip().startswith(FORMULA) or value.startswith(("\t", "\r", "\n"))
    return ("'" if begins_formula else "") + visible(value)


def markdown_cell(text: str) -> str:
    r"""Return a cell of a Markdown table: `|` does not end it, and `<` opens no tag.

    >>> markdown_cell("a|b <i>")
    'a\\|b &lt;i>'
    """
    text = PUNCTUATION.sub(r"\\\\", visible(text))
    return text.replace("|", r"\|").replace("<", "&lt;")


def without_tags(text: str) -> str:
    """Return text beside a Markdown table, which becomes HTML: it opens no tag there.

    A signature is read with `&lt;` in the place of `<`, too.

    >>> without_tags("start:<s>|windows:<|end|>")
    'start:&lt;s>|windows:<|end|>'
    """
    return TAG.sub("&lt;", text)


def latex(text: str) -> str:
    """Return text with LaTeX's special characters escaped.

    >>> latex("gpt2_large & 5 %")
    'gpt2\\\\_large \\\\& 5 \\\\%'
    """
    return "".join(LATEX.get(character, character) for character in visible(text))


def json_text(text: str) -> str:
    r"""Return a JSON text with unseen characters of its strings escaped; it means the same.

    >>> json_text('{"a": "\u202e"}')
    '{"a": "\\u202e"}'
    """
    if text.isascii():
        return text.replace("\x7f", "\\u007f")
    return "".join(
        _json_escape(character)
        if character != "\n" and unicodedata.category(character) in UNSEEN
        else character
        for character in text
    )


def _escape(character: str) -> str:
    """Return the escape of a character, as in Python and most languages."""
    code = ord(character)
    if character in SHORT:
        return SHORT[character]
    return (
        f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
    )


def _json_escape(character: str) -> str:
    code = ord(character)
    if code < 65536:
        return f"\\u{code:04x}"
    high, low = divmod(code - 65536, 1024)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
