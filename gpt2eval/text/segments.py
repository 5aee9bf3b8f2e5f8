"""Cut text into segments of a kind: words, numbers, addresses, punctuation and white space.

The segments tile the text, so that sums over them are sums over the text. Knows no models.
"""

from array import array
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import regex
from numpy.typing import NDArray

# What a segment is. Every character belongs to exactly one segment, and it to one kind.
KINDS = {
    "word": "letters from a to z with their marks; inner apostrophes and hyphens join letters",
    "capitalised word": "a word that begins with one of A to Z",
    "non-ASCII word": "a word with at least one character that is not ASCII",
    "number": "digits; inner . , : / and - join digits",
    "URL": "http://, https:// or www. and all up to the next white space",
    "punctuation": "a run of all other ASCII characters",
    "non-ASCII symbol": "a run of all other characters, undecodable bytes included",
    "line end": "line breaks, with the white space between and before them",
    "indentation": "white space at the beginning of a line, unless it is a single space",
    "blank run": "other white space, unless it is a single space",
}
NAMES = tuple(KINDS)
WORD, CAPITALISED, NON_ASCII_WORD, NUMBER, URL, PUNCTUATION, SYMBOL = range(7)
LINE_END, INDENT, BLANK = range(7, len(NAMES))

BREAKS = r"\n\r\v\f\x1c-\x1e\x85\u2028\u2029"
GAPS = r" \t\x1f\xa0\u1680\u2000-\u200a\u202f\u205f\u3000"  # white space inside a line
BREAK, GAP = f"[{BREAKS}]", f"[{GAPS}]"
# The order of the groups is that of precedence. White space comes first, so that of a single space
# only those remain that precede something visible.
GROUPS = {
    LINE_END: rf"(?:{GAP}*+{BREAK})+",
    INDENT: rf"(?:(?<={BREAK})|\A)(?:{GAP}{{2,}}|(?! ){GAP})",
    BLANK: rf"{GAP}{{2,}}|(?! ){GAP}| \Z",
    URL: rf" ?(?:https?://|www\.)[^{BREAKS}{GAPS}]+",
    NUMBER: r" ?\p{N}+(?:[.,:/-]\p{N}+)*",
    WORD: r" ?[\p{L}\p{M}_]+(?:['’-][\p{L}\p{M}_]+)*",
    PUNCTUATION: r" ?[!-/:-@\[-^`{-~\x00-\x08\x0e-\x1b\x7f]+",
    SYMBOL: r" ?[^\p{L}\p{M}\p{N}\s\x00-\x7f]+",
}
SEGMENT = regex.compile("|".join(f"({pattern})" for pattern in GROUPS.values()))
KIND_OF_GROUP = np.array([-1, *GROUPS], np.int8)


class Segments(NamedTuple):
    """The segments of a text: the end of each, in characters, and the number of its kind."""

    ends: NDArray[np.int64]
    kinds: NDArray[np.int8]


def segments(texts: Iterable[str]) -> Segments:
    r"""Return the segments of texts laid end to end; each begins where the one before it ends.

    No segment crosses the end of a text. A single space belongs to the segment that it precedes, as
    it does in the tokens of most vocabularies. `KINDS` defines the kinds.

    Examples:
        >>> text = "At 9.30 the  café\n"
        >>> ends, kinds = segments([text])
        >>> [text[a:b] for a, b in zip([0, *ends], ends)]
        ['At', ' 9.30', ' the', '  ', 'café', '\n']
        >>> [NAMES[kind] for kind in kinds][:4]
        ['capitalised word', 'number', 'word', 'blank run']
    """
    ends = array("q")
    groups = array("b")
    joined: list[str] = []
    size = 0
    for text in texts:
        for match in SEGMENT.finditer(text):
            ends.append(size + match.end())
            groups.append(match.lastindex or 0)
        joined.append(text)
        size += len(text)
    bounds = np.array(ends, np.int64)
    kinds = KIND_OF_GROUP[np.array(groups, np.int8)]
    _tell_words_apart("".join(joined), bounds, kinds)
    return Segments(bounds, kinds)


def _tell_words_apart(text: str, ends: NDArray[np.int64], kinds: NDArray[np.int8]) -> None:
    """Change the kind of words that begin with a capital, or have characters beyond ASCII."""
    if not len(ends):
        return
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    starts = np.concatenate([[0], ends[:-1]])
    is_word = kinds == WORD
    first = codes[np.minimum(starts + (codes[starts] == ord(" ")), len(codes) - 1)]
    is_beyond = np.maximum.reduceat(codes, starts) > 127
    kinds[is_word & (first >= ord("A")) & (first <= ord("Z"))] = CAPITALISED
    kinds[is_word & is_beyond] = NON_ASCII_WORD
