"""Split records into passages: the scored spans of a text, and their numbers of units.

All of this happens on published text, before detokenizing. Units are counted here and nowhere else.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from gpt2eval.types import Part, Passage, Record, Units

BLANK = "XXXXX"  # marks the missing word of a Children's Book Test question
PARTS = 200  # maximum per stream, apart from articles; intervals resample blocks of them
ARTICLES = 30  # titles that make a text one of articles although it does not begin with one

# The last word and the white space before it. A search begins at runs of white space only.
LAST_WORD = re.compile(r"(?<!\s)\s+\S+$")
WORD = re.compile(r"\S")  # any character of a word; its first match begins the first word
TITLE = re.compile(r"^[ \t]*=[^\n]*", re.MULTILINE)  # lines that may be a title
BLOCK = 1 << 18  # characters whose words are held at once


def units(text: str, start: int = 0, end: int | None = None) -> Units:
    """Count the units of `text[start:end]`; counts of adjacent spans add up to the count of both.

    Returns:
        words: Words that begin in the span.
        lines: Newlines.
        bytes: UTF-8 bytes; undecodable bytes count as themselves.
        chars: Characters.
        pieces: Runs of white space that begin in the span, plus 1 where the text begins. Over a
            complete text this equals `len(re.split(r"\\s+", text))`.
        blanks: Spaces (U+0020) in the span that lie between the first and the last word.
    """
    return _units(text, start, len(text) if end is None else end, _outer_words(text))


def _units(text: str, start: int, end: int, outer: tuple[int, int]) -> Units:
    """Count as `units` does; `outer` is where the text's first word begins and its last one ends.

    Finding them anew for each part would take the square of the text's length in blank text.
    """
    total = Units(
        pieces=int(start == 0 < end),
        blanks=text.count(" ", max(start, outer[0]), min(end, outer[1])),
    )
    for first in range(start, end, BLOCK):
        total += _counted(text, first, min(first + BLOCK, end))
    return total


def _counted(text: str, start: int, end: int) -> Units:
    """Count what begins in a span that is not empty, all but `blanks`."""
    span = text[start:end]
    words = len(span.split())
    # Between two words there is one run of white space; others are at the ends.
    runs = words - 1 + span[0].isspace() + span[-1].isspace() if words else 1
    # A word or a run that began before the span does not begin in it.
    before = text[start - 1 : start]
    if before and before.isspace() == span[0].isspace():
        words -= not before.isspace()
        runs -= before.isspace()
    return Units(
        words=words,
        lines=span.count("\n"),
        bytes=len(span) if span.isascii() else len(span.encode("utf-8", "surrogateescape")),
        chars=len(span),
        pieces=runs,
    )


def total_units(records: Iterable[Record]) -> Units:
    """Return the units of all records together."""
    return sum((units(record.text) for record in records), Units())


def _outer_words(text: str) -> tuple[int, int]:
    """Return where the first word begins and where the last one ends."""
    first = WORD.search(text)
    last = len(text)
    while last and text[last - 1].isspace():
        last -= 1
    return (first.start() if first else 0), last


def head(records: Sequence[Record], limit: int | None, *, stream: bool) -> Sequence[Record]:
    """Return the first `limit` records.

    A stream is one record, so its first `limit` lines are returned, or its first
    `1000 * limit` characters if it has no line endings.
    """
    if limit is None or not stream:
        return records[:limit]
    text = records[0].text
    lines = text.split("\n")
    end = len("\n".join(lines[:limit])) + 1 if len(lines) > 1 else 1000 * limit
    return [replace(records[0], text=text[:end])]


def everything(record: Record, *, alone: bool = True) -> list[Passage]:
    """Score the complete text: in one part, or if it is the only record in many adjacent parts.

    There are up to `PARTS` parts. They end at line ends, or have equal length if the text has no
    lines. A text made of articles is also cut before each of them, so it may have more parts. An
    empty text has one empty part.
    """
    text = record.text
    bounds = list(_bounds(text)) if alone else [len(text)]
    titles = title_starts(text) if alone else []
    ends = sorted({*bounds, *titles} - {0}) or [0]
    starts = [0, *ends[:-1]]
    outer = _outer_words(text)
    parts = tuple(
        Part(start, end, _units(text, start, end, outer))
        for start, end in zip(starts, ends, strict=True)
    )
    begins = set(titles)
    articles = tuple(number for number, start in enumerate(starts) if start in begins)
    return [Passage(record.index, text, parts, articles=articles)]


def is_title(line: str) -> bool:
    """Return whether a line of WikiText is the title of an article: `= Title =`.

    Two or more `=` on either side mark a section inside an article.
    """
    heading = line.replace("= = =", "===").replace("= =", "==").strip()
    return heading.startswith("= ") and heading.endswith(" =")


def title_starts(text: str) -> list[int]:
    """Return where the articles of a text begin, or nothing if it is not made of articles.

    It is if it begins with a title and has others, or has at least `ARTICLES` titles: single lines
    of this form also occur in other text. What precedes the first title is an article of its own,
    unless it is blank.
    """
    found = [line.start() for line in TITLE.finditer(text) if is_title(line[0])]
    begins_with_one = bool(found) and not text[: found[0]].strip()
    if len(found) < (2 if begins_with_one else ARTICLES):
        return []
    return [0, *(found[1:] if begins_with_one else found)]


def _bounds(text: str) -> Iterator[int]:
    """Yield the ends of the parts of a text."""
    shortest = -(-len(text) // PARTS)  # rounded up, so that there are never more than PARTS
    start = 0
    while start < len(text):
        end = min(start + shortest, len(text))
        if "\n" in text:
            # Extend to the end of the line; `end - 1` so that a part may end exactly here.
            end = text.find("\n", end - 1) + 1 or len(text)
        yield end
        start = end


def last_word(record: Record) -> list[Passage]:
    """Score the last word together with the white space before it.

    It counts as one word; its bytes and characters are those of the word alone. White space at the
    end of the text is stripped.
    """
    text = record.text.rstrip()
    match = LAST_WORD.search(text)
    start = match.start() if match else 0
    return [Passage(record.index, text, (Part(start, len(text), units(text[start:].strip())),))]


def after_last_blank(record: Record) -> list[Passage]:
    """Score whatever follows the last space, together with the white space before it.

    It counts as one word, and nothing is stripped. lm-evaluation-harness 0.4.13 splits passages
    this way in its task lambada_openai, where single spaces separate the words.
    """
    context, blank, word = record.text.rpartition(" ")
    start = len(context.rstrip()) if blank else 0
    part = Part(start, len(record.text), replace(units(word), words=1))
    return [Passage(record.index, record.text, (part,))]


def choices(record: Record, *, to_the_end: bool) -> list[Passage]:
    """Make one passage per option, with the option in place of the blank.

    The scored span begins at the space before the option and ends at the end of the text, or at
    the end of the option if `to_the_end` is false. Radford et al. 2019, section 3.2: "the
    probability of each choice and the rest of the sentence conditioned on this choice".
    """
    start = record.text.index(BLANK)
    # White space before the blank belongs to the span: GPT-2's tokens begin with their space.
    begin = start - record.text[start - 1 : start].isspace()
    passages = []
    for number, option in enumerate(record.options):
        text = record.text.replace(BLANK, option)
        end = len(text) if to_the_end else start + len(option)
        part = Part(begin, end, units(text[start:end]))
        passages.append(Passage(record.index, text, (part,), number, option == record.answer))
    return passages


ASK: Mapping[str, Callable[[Record], list[Passage]]] = {
    "everything": everything,
    "last_word": last_word,
    "last_token": last_word,  # the same span, of which the planner scores the last token only
    "after_last_blank": after_last_blank,
    "choices": partial(choices, to_the_end=True),
    "candidate": partial(choices, to_the_end=False),
}


def ask(how: str, record: Record, *, alone: bool) -> list[Passage]:
    """Return the passages of a record.

    Only a text that is `alone`, the task's only record, is cut into parts: otherwise the record is
    the unit of every later step.
    """
    return everything(record, alone=alone) if how == "everything" else ASK[how](record)
