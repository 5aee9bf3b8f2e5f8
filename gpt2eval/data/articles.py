"""The blank lines of WikiText: where they stand, and how re-encoded files lose them.

In the published file a blank line precedes and follows every heading. Lines here may have lost the
spaces at their ends.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

JOINED = "rows joined by line ends"
DROPPED = "blank lines"  # had been dropped

HEADING = re.compile(r" ?= (?:.* )?= ?\Z", re.DOTALL)
SECTION = re.compile(r" ?= = ")
UNLIKELY = re.compile(r".* \w = ?\Z")  # `= 1 henry and capacitance C =` is a formula, not a title
# Blank lines between two lines of text, by their kinds: title, heading of a section, paragraph.
BETWEEN = {"ph": 1, "hp": 1, "hh": 2, "Tp": 1, "Th": 2, "pT": 2, "hT": 3, "TT": 2, "pp": 0}
# Ways to join rows: blank lines that appear between two rows, and for every blank row between them.
# From `"\n\n".join(rows)` with and without the line ends of the rows, and from `"\n".join(rows)`.
WAYS = ((2, 2), (1, 2), (1, 1))
MOST_ODD = 0.05  # share of places at headings that may differ from the rule


def _kind(line: str, *, doubtful: bool = True) -> str:
    """Return T for an article's title, h for the heading of a section, and p for a paragraph."""
    if not HEADING.match(line):
        return "p"
    if SECTION.match(line):
        return "h"
    return "T" if doubtful or not UNLIKELY.match(line) else "p"


def split_rows(lines: Sequence[str], *, ended: bool) -> list[str] | None:
    """Return the rows that were joined by line ends, or None for lines that are not joined rows.

    `ended` is whether the last line has a line end.
    """
    for period in (2, 3):  # the published lines, with blank lines between them
        between = [line for number, line in enumerate(lines) if number % period]
        if between and " " in lines[::period] and not "".join(between).strip():
            return list(lines[::period])
    texts = [number for number, line in enumerate(lines) if line.strip()]
    gaps = [b - a - 1 for a, b in pairwise(texts)]
    if not gaps or min(gaps) == 0 or " " in lines:
        return None
    kinds = [_kind(lines[number]) for number in texts]
    expected = [BETWEEN[a + b] for a, b in pairwise(kinds)]
    most_odd = MOST_ODD * len(gaps)
    if _differing(gaps, expected) <= most_odd:
        return None  # as published
    for between, each in WAYS:
        counts = [(gap - between) / each for gap in gaps]
        if min(counts) < 0 or _differing(counts, expected) > most_odd:
            continue
        own_end = (between, each) != (1, 2)
        # Line ends after the last text: its own, and those of the blank rows.
        after = len(lines) - 1 - texts[-1] + ended - own_end
        rows = [""] * (texts[0] // each)
        for number, count in zip(texts, [*counts, max(0, after // each)], strict=True):
            rows += [lines[number], *[""] * round(count)]
        return rows
    # Rows of which the blank ones had been dropped.
    return [lines[number] for number in texts] if len(set(gaps)) == 1 else None


def _differing(counts: Sequence[float], expected: Sequence[int]) -> int:
    return sum(count != rule for count, rule in zip(counts, expected, strict=True))


def with_blank_lines(lines: Sequence[str]) -> list[str] | None:
    """Return lines with blank ones around headings, or None if there are blank ones or no headings.

    Where the rule is not enough, see `exceptions`.
    """
    kinds = [_kind(line) for line in lines]
    if len(lines) < 2 or any(not line.strip() for line in lines) or set(kinds) <= {"p"}:
        return None
    return _spread(lines, kinds)


def exceptions(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yield other places of the blank lines, of which one may be that of the published file.

    A formula can look like a title, and one title may follow a single blank line.
    """
    for doubtful in (False, True):
        kinds = [_kind(line, doubtful=doubtful) for line in texts]
        yield _spread(texts, kinds)
        for number in range(1, len(texts)):
            if kinds[number - 1] + kinds[number] == "pT":
                yield _spread(texts, kinds, single=number)


def _spread(texts: Sequence[str], kinds: Sequence[str], single: int = 0) -> list[str]:
    """Put blank lines between texts; before the text with the number `single`, only one."""
    lines = [" "] if kinds[0] != "p" else []
    for number, text in enumerate(texts):
        if number:
            count = BETWEEN[kinds[number - 1] + kinds[number]]
            lines += [" "] * (1 if number == single else count)
        lines.append(text)
    return [*lines, " "] if kinds[-1] in "hp" else lines
