"""Record to passages: what is asked of a record, and in which units it is counted.

Everything here is done on published text, before any detokenizing; units are counted here and never again.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from gpt2eval.types import Part, Passage, Record, Units

BLANK = "XXXXX"
PARTS = 200  # a stream is cut into at most so many parts: the blocks that its interval is resampled from

LAST_WORD = re.compile(r"\s+\S+$")
WORD = re.compile(r"\S")
WORDS = re.compile(r"(?<!\S)\S")  # where a word begins
SPACES = re.compile(r"(?<!\s)\s")  # where white space begins


def units(text: str, start: int = 0, end: int | None = None) -> Units:
    """Count `text[start:end]` of a published text; the counts of adjacent stretches add up to those of the whole.

    words = those that begin in it; pieces = 1 (where the text begins) + white spaces that begin; blanks = " " between
    the first and the last word.
    """
    end = len(text) if end is None else end
    part = text[start:end]
    first, last = _words(text)
    return Units(
        words=sum(1 for _ in WORDS.finditer(text, start, end)),
        lines=part.count("\n"),
        bytes=len(part.encode("utf-8", "surrogateescape")),
        chars=len(part),
        pieces=sum(1 for _ in SPACES.finditer(text, start, end)) + (start == 0 < end),
        blanks=text.count(" ", max(start, first), min(end, last)),
    )


def _words(text: str) -> tuple[int, int]:
    """Where the first word begins, and the last one ends."""
    found, last = WORD.search(text), len(text)
    while last and text[last - 1].isspace():
        last -= 1
    return (found.start() if found else 0), last


def head(records: Sequence[Record], limit: int | None, *, stream: bool) -> Sequence[Record]:
    """The first `limit` records; of a stream its first lines, or its first thousands of characters if it has none."""
    if limit is None or not stream:
        return records[:limit]
    text = records[0].text
    end = len("\n".join(text.split("\n")[:limit])) + 1 if "\n" in text else 1000 * limit
    return [replace(records[0], text=text[:end])]


def everything(record: Record) -> list[Passage]:
    """The whole text, in up to `PARTS` parts that end at line ends (of equal length, where there are no lines).

    An empty text has one part, in which there is nothing.
    """
    bounds = list(_bounds(record.text)) or [0]
    parts = [
        Part(a, b, units(record.text, a, b)) for a, b in zip([0, *bounds], bounds, strict=False)
    ]
    return [Passage(record.index, record.text, tuple(parts))]


def _bounds(text: str) -> Iterator[int]:
    least, at = -(-len(text) // PARTS), 0
    while at < len(text):
        end = min(at + least, len(text))
        if "\n" in text:
            end = text.find("\n", end - 1) + 1 or len(text)
        yield end
        at = end


def last_word(record: Record) -> list[Passage]:
    """The last word with the white space before it; it counts as one word, and its bytes are those of the word alone."""
    text = record.text.rstrip()
    found = LAST_WORD.search(text)
    start = found.start() if found else 0
    return [Passage(record.index, text, (Part(start, len(text), units(text[start:].strip())),))]


def after_last_blank(record: Record) -> list[Passage]:
    """What follows the last blank, whatever it is, with the white space before it; it counts as one word, nothing is stripped.

    Source: lm-evaluation-harness 0.4.13, lambada_openai, whose words lie between single blanks.
    """
    context, blank, word = record.text.rpartition(" ")
    start = len(context.rstrip()) if blank else 0
    return [
        Passage(
            record.index,
            record.text,
            (Part(start, len(record.text), replace(units(word), words=1)),),
        )
    ]


def choices(record: Record, *, to_the_end: bool) -> list[Passage]:
    """The text once per option, the blank filled with it; scored from the option's leading space to the end, or to its end.

    Source: Radford et al. 2019, section 3.2: the choice and the rest of the sentence given the choice.
    """
    start = record.text.index(BLANK)
    passages = []
    for number, option in enumerate(record.options):
        text = record.text.replace(BLANK, option)
        end = len(text) if to_the_end else start + len(option)
        part = Part(start - text[start - 1 : start].isspace(), end, units(text[start:end]))
        passages.append(Passage(record.index, text, (part,), number, option == record.answer))
    return passages


ASK: Mapping[str, Callable[[Record], list[Passage]]] = {
    "everything": everything,
    "last_word": last_word,
    "last_token": last_word,
    "after_last_blank": after_last_blank,
    "choices": partial(choices, to_the_end=True),
    "candidate": partial(choices, to_the_end=False),
}
