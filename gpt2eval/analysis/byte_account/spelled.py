"""Check a text's tokens against their own bytes: laid end to end, they must be the text's bytes.

Follows the tokens one by one, independently of the tokenizer's wrapper, which computes ends.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gpt2eval.identity import Spelling
from gpt2eval.models.tokenization.tiling import STRAY
from gpt2eval.scoring.token_table import byte_offsets
from gpt2eval.text.joined import JoinedFrom
from gpt2eval.types import Encoded

SHOWN = 24  # bytes of a text in a message
Spell = Callable[[int], Spelling]


class Problem(NamedTuple):
    """What is wrong with a token of a text, given by its index."""

    token: int
    problem: str


class Spelled(NamedTuple):
    """Where each token ends by its own bytes: offsets in the text's UTF-8, up to the first fault.

    `blanks` counts the blanks that the tokenizer adds to the text, and that count for no token.
    """

    ends: list[int]
    blanks: int
    problem: Problem | None


def spelled(encoded: Encoded, spell: Spell) -> Spelled:
    """Lay the bytes of a text's tokens end to end, and compare them with the text's.

    An inserted token has no bytes, nor has a special one that covers no text. A tokenizer may add a
    blank before the text, or where its tokenizing starts anew: at the next record, after a special
    token or after a stray byte.
    """
    text = encoded.passage.text
    restarts = _record_starts(encoded) | _ends_of_strays(text)
    inserted = encoded.inserted
    raw = text.encode("utf-8", "surrogateescape")
    position = blanks = 0
    ends: list[int] = []
    starts_anew = True
    last = 0
    pairs = zip(encoded.ids.tolist(), encoded.ends.tolist(), strict=True)
    for number, (id_, end) in enumerate(pairs):
        token = spell(id_)
        own = token.raw
        if (token.is_special and end == last) or (inserted is not None and inserted[number]):
            own = b""
        elif starts_anew and own[:1] == b" " and not raw.startswith(own, position):
            own = own[1:]
            blanks += 1
        if not raw.startswith(own, position):
            found = raw[position : position + max(len(own), 1)][:SHOWN]
            return Spelled(
                ends,
                blanks,
                Problem(
                    number, f"spells {own[:SHOWN]!r}; the text has {found!r} at its byte {position}"
                ),
            )
        position += len(own)
        ends.append(position)
        starts_anew = token.is_special or (len(own) > 0 and position in restarts)
        last = end
    if position != len(raw):
        problem = f"the tokens spell {position:,} bytes; the text has {len(raw):,}"
        return Spelled(ends, blanks, Problem(max(len(ends) - 1, 0), problem))
    return Spelled(ends, blanks, _wrong_end(encoded, ends, len(raw)))


def _record_starts(encoded: Encoded) -> set[int]:
    """Return the bytes at which the records of a joined text begin."""
    joined = encoded.passage.published
    if not isinstance(joined, JoinedFrom):
        return set()
    return {*byte_offsets(encoded.passage.text)[[*joined.starts]].tolist()}


def _ends_of_strays(text: str) -> set[int]:
    """Return the bytes at which stray bytes end, those that are no UTF-8."""
    ends = [match.end() for match in STRAY.finditer(text)]
    return {*byte_offsets(text)[ends].tolist()} if ends else set()


def _wrong_end(encoded: Encoded, ends: list[int], size: int) -> Problem | None:
    """Return the first token that ends at another character than its bytes do."""
    offsets = byte_offsets(encoded.passage.text)
    if offsets[-1] != size:
        return Problem(0, f"the text's characters have {offsets[-1]:,} bytes; expected {size:,}")
    # A token inside a character ends where the character ends.
    expected = np.searchsorted(offsets, ends, "left")
    wrong = np.flatnonzero(expected != encoded.ends)
    if not len(wrong):
        return None
    number = int(wrong[0])
    return Problem(
        number,
        f"ends at character {int(encoded.ends[number]):,} of the text; its bytes end at character "
        f"{int(expected[number]):,}",
    )
