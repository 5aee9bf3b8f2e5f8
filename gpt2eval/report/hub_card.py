"""Write a `model-index` into a model card, and leave every other byte as it is.

A model card is a README.md whose head, between two lines `---`, is YAML. Our block lies in the
head between two comment lines. It holds a complete `model-index`, or one item of the list if the
card has a `model-index` of somebody else.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from gpt2eval.errors import UsageError, one_line
from gpt2eval.files import write_atomic

KEY = "model-index"
BEGIN = "# gpt2eval: begin (written by 'gpt2eval export --hub-card')"
END = "# gpt2eval: end"
BLOCK = re.compile(
    rf"^[ ]*{re.escape(BEGIN)}[ ]*\r?\n(?P<inside>.*?)^[ ]*{re.escape(END)}[ ]*(?:\r?\n|\Z)",
    re.MULTILINE | re.DOTALL,
)
MARKER = re.compile(r"^[ ]*# gpt2eval: (?:begin|end)", re.MULTILINE)
HEAD = re.compile(
    r"\A(?P<open>\ufeff?\s*---[ \t]*\r?\n)(?P<head>(?:.*?\n)??)(?P<close>---[ \t]*(?:\r?\n|\Z))",
    re.DOTALL,
)


class Card(NamedTuple):
    """A model card: what precedes its head's text, the head's text, and the rest."""

    before: str
    head: str
    after: str


def with_model_index(content: str, index: Sequence[Mapping[str, Any]], path: Path) -> str:
    r"""Return a card with our block; an earlier block of ours is replaced.

    Args:
        content: The card, with its line ends as they are; "" for a new one.
        index: A `model-index` with one item.
        path: The card's file, for errors.

    Raises:
        UsageError: The card's head is not YAML, has half a block of ours, or has a `model-index`
            that is not a list with an item per line.

    Examples:
        >>> index = [{"name": "mine", "results": []}]
        >>> print(with_model_index("---\nlicense: mit\n---\nText\n", index, Path("README.md")))
        ---
        license: mit
        # gpt2eval: begin (written by 'gpt2eval export --hub-card')
        model-index:
        - name: mine
          results: []
        # gpt2eval: end
        ---
        Text
        <BLANKLINE>
    """
    line_end = "\r\n" if "\r\n" in content else "\n"
    card = _split(content, line_end)
    blocks = [*BLOCK.finditer(card.head)]
    if len(blocks) > 1 or len(MARKER.findall(card.head)) != 2 * len(blocks):
        raise UsageError(
            f"{path}: broken block of gpt2eval; expected one line '{BEGIN}' and one '{END}' after "
            "it, or none"
        )
    rest = BLOCK.sub("", card.head)
    column = _column_of_items(rest, path)
    block = _block(index, column).replace("\n", line_end)
    if blocks and _is_item(blocks[0]["inside"]) == (column is not None):
        start, stop = blocks[0].span()
        head = card.head[:start] + block + card.head[stop:]
    else:
        place = len(rest) if column is None else _start_of_items(rest)
        head = rest[:place] + block + rest[place:]
    _check(head, rest, index, path)
    return card.before + head + card.after


def update_card(path: Path, index: Sequence[Mapping[str, Any]]) -> None:
    """Write our block into a card's file; a missing file is made.

    Raises:
        UsageError: As `with_model_index` does, and if the file is not UTF-8 text.
    """
    place = path.resolve()  # a link stays a link
    try:
        content = place.read_bytes().decode() if place.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path}: cannot be read: {one_line(error)}; expected a model card in UTF-8"
        ) from None
    changed = with_model_index(content, index, path)
    if changed != content:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(place, changed.encode())


def without_model_index(content: str) -> str:
    """Return a card without our block."""
    card = _split(content, "\n")
    return card.before + BLOCK.sub("", card.head) + card.after


def _split(content: str, line_end: str) -> Card:
    """Return the parts of a card; one without a head gets an empty one."""
    found = HEAD.match(content)
    if not found:
        mark = "\ufeff" if content.startswith("\ufeff") else ""
        rule = f"---{line_end}"
        return Card(mark + rule, "", rule + content.removeprefix(mark))
    return Card(found["open"], found["head"], content[found.start("close") :])


def _block(index: Sequence[Mapping[str, Any]], column: int | None) -> str:
    """Return our block: a complete `model-index`, or an item that begins at a column."""
    content = list(index) if column is not None else {KEY: list(index)}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=math.inf)
    indent = " " * (column or 0)
    lines = [BEGIN, *text.splitlines(), END]
    return "".join(f"{indent}{line}\n" for line in lines)


def _is_item(inside: str) -> bool:
    return inside.lstrip().startswith("- ")


def _items(head: str) -> yaml.Node | None:
    """Return the value of the head's `model-index`, or None without one."""
    node = yaml.compose(head, Loader=yaml.SafeLoader)
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == KEY), None)
    if node is not None:
        raise yaml.YAMLError(f"expected keys, found a {node.id}")
    return None


def _column_of_items(head: str, path: Path) -> int | None:
    """Return the column at which items of the head's `model-index` begin; None without one."""
    try:
        node = _items(head)
    except yaml.YAMLError as error:
        raise UsageError(
            f"{path}: its head is not YAML: {one_line(error)}; expected keys between two lines ---"
        ) from None
    if node is None:
        return None
    is_list = isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value
    if not is_list or head[node.start_mark.index] != "-":
        raise UsageError(
            f"{path}: its {KEY} cannot be extended; expected a list with an item per line, such as "
            f"'{KEY}:' and '- name: ...' below it, or no {KEY}"
        )
    return node.start_mark.column


def _start_of_items(head: str) -> int:
    """Return the offset of the line of the first item of the head's `model-index`."""
    node = _items(head)
    assert node is not None
    return node.start_mark.index - node.start_mark.column


def _check(head: str, rest: str, index: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Raise UsageError unless a head says what the card said before, and our results besides."""
    from huggingface_hub import ModelCard

    try:
        after, before = (yaml.safe_load(text) or {} for text in (head, rest))
        ours, theirs = (content.pop(KEY, []) for content in (after, before))
        ModelCard(f"---\n{head}---\n")  # the Hub's own reader
    except (ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise UsageError(
            f"{path}: the Hub cannot read its head: {one_line(error)}; expected a valid model card"
        ) from None
    if after != before or sorted(map(repr, ours)) != sorted(map(repr, [*theirs, *index])):
        raise UsageError(
            f"{path}: its {KEY} cannot be extended without a change of its meaning; expected plain "
            "YAML"
        )
