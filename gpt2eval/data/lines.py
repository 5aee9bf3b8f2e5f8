"""Lines of a file, and forms of them that any line-based benchmark may be copied in.

Each step recognizes a form by something that the published files never have, and reverses it.
"""

import html
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from gpt2eval.config.schema import Task
from gpt2eval.errors import UsageError

GAP = re.compile(r"\s+")
NUMBER = re.compile(r"\s*(\d{1,9})(?:[\t:.)|] ?| |\Z)")  # as written by `cat -n` or `grep -n`
MOST_UNNUMBERED = 2  # so few lines may begin with successive numbers by chance
COLUMNS = {"text", "sentence", "sentences", "content", "line"}
UNKNOWN = ("<UNK>", "<Unk>", "[UNK]", "@unk@", "&lt;unk&gt;")
ENTITY = re.compile(r"&(?:amp|quot|apos|lt|gt|#\d{1,4}|#x[0-9A-Fa-f]{1,4});")
SAMPLE = 1 << 16  # bytes that show whether a text is written in one case
LONG = 1000  # words of a sample that is written in both cases
MOST_WORDS = 2000  # words per line, on average
WRAPPED = (60, 130)  # bytes of the longest line of a text whose lines were wrapped
FEWEST_WORDS = 1.5  # words per line that is not blank, on average


class Lines(NamedTuple):
    """Lines without their ends, whether the last one has an end, and the reversed re-encodings."""

    lines: list[str]
    ended: bool
    names: tuple[str, ...] = ()

    def changed(self, name: str, lines: Sequence[str], *, ended: bool | None = None) -> "Lines":
        """Return other lines in the place of these; the same ones if nothing differs."""
        if lines == self.lines:
            return self
        return Lines(list(lines), self.ended if ended is None else ended, (*self.names, name))

    def texts(self) -> list[str]:
        """Return the lines that are not blank."""
        return [line for line in self.lines if line.strip()]

    def encode(self, *, ended: bool = True) -> bytes:
        """Return the content of a file with these lines."""
        return ("\n".join(self.lines) + "\n" * ended).encode()


def without_numbers(found: Lines) -> Lines:
    """Remove the line numbers that every line begins with."""
    matches = [NUMBER.match(line) for line in found.lines]
    numbers = [int(match[1]) for match in matches if match]
    if len(numbers) < len(matches) or len(numbers) <= MOST_UNNUMBERED or numbers[0] not in (0, 1):
        return found
    if any(b != a + 1 for a, b in pairwise(numbers)):
        return found
    rest = [line[m.end() :] for line, m in zip(found.lines, matches, strict=True) if m]
    return found.changed("line numbers", rest)


def without_header(found: Lines) -> Lines:
    """Remove a first line that is the name of a column."""
    first, *rest = found.lines
    if not rest or first.strip() not in COLUMNS:
        return found
    return found.changed("header line", rest)


def with_single_spaces(found: Lines) -> Lines:
    """Replace tabs, no-break spaces or runs of spaces by spaces, where they separate the words."""
    gaps = Counter(gap for line in found.texts() for gap in GAP.findall(line.strip()))
    if not gaps or (usual := gaps.most_common(1)[0][0]) == " ":
        return found
    return found.changed(f"{usual!r} for ' '", [line.replace(usual, " ") for line in found.lines])


def without_entities(found: Lines) -> Lines:
    """Replace HTML entities (&quot;, &apos;), as the Moses tokenizer writes them, by characters."""
    entities = sum(len(ENTITY.findall(line)) for line in found.lines)
    if not entities or entities != sum(line.count("&") for line in found.lines):
        return found
    return found.changed("HTML entities", [html.unescape(line) for line in found.lines])


def with_unknown_words(found: Lines) -> Lines:
    """Write unknown words as `<unk>`."""
    for token in UNKNOWN:
        if any(token in line for line in found.lines):
            if any("<unk>" in line for line in found.lines):
                return found
            lines = [line.replace(token, "<unk>") for line in found.lines]
            return found.changed(f"{token} for <unk>", lines)
    return found


def check_lines(task: Task, content: bytes, origin: str) -> None:
    """Raise UsageError for a text whose lines or letter case differ from any published file's.

    The text must have its line ends restored.
    """
    if task.layout and (found := _other_lines(content)):
        raise UsageError(f"{origin}: {found}; expected the text of {task.source.file.name}")


def _other_lines(content: bytes) -> str:
    lines = content.count(b"\n") or 1
    words = len(content.split())
    if words > MOST_WORDS * lines:
        return "lines joined without a sign of their ends"
    if words > LONG and words < FEWEST_WORDS * sum(
        map(bool, map(bytes.strip, content.split(b"\n")))
    ):
        return "one word per line"
    longest = max(map(len, content.split(b"\n")))
    if words > LONG and WRAPPED[0] <= longest <= WRAPPED[1]:
        return f"lines wrapped at {longest} characters"
    sample = content[:SAMPLE].decode(errors="ignore")
    rows = [row for line in sample.split("\n")[:-1] if (row := line.strip())]
    if len(rows) > 4 and all(row[0] == row[-1] == '"' and len(row) > 1 for row in rows):
        return "lines in quotes, as in JSON or CSV"
    if len(sample.split()) > LONG:
        plain = sample.replace("<unk>", "")
        if plain == plain.upper():
            return "text in upper case"
        if plain == plain.lower():
            return "text in lower case"
    return ""
