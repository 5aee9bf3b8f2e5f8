"""Check the rows of a token table: each must have the published bytes that its token stands for.

The rows of a passage must tile its published text, and each must have the bytes that its characters
come from, as following the detokenizer's edits shows.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt2eval.analysis.byte_account.spelled import Problem
from gpt2eval.scoring.token_table import TokenTable, byte_offsets
from gpt2eval.text.walked import Walked, walked
from gpt2eval.types import Encoded, Passage


def published_text(passage: Passage) -> str:
    """Return the published text of a passage."""
    return passage.published.text if passage.published else passage.text


def published_size(passage: Passage) -> int:
    """Return the bytes of the published text of a passage; an undecodable byte counts as one."""
    return len(published_text(passage).encode("utf-8", "surrogateescape"))


class Bounds(NamedTuple):
    """Where the tokens of a passage begin and end in the bytes of its published text.

    Token n has the bytes `offsets[n]` to `offsets[n + 1]`. `problem` is the first token whose
    characters are not the published ones, or None.
    """

    offsets: NDArray[np.int64]
    problem: Problem | None

    def size(self, tokens: NDArray[np.int64]) -> int:
        """Return how many bytes some tokens have."""
        return int((self.offsets[tokens + 1] - self.offsets[tokens]).sum())


def published_bounds(encoded: Encoded) -> Bounds:
    """Return the bounds of a passage's tokens, by following the edits of its text."""
    published = published_text(encoded.passage)
    origin = walked(encoded.passage)
    if origin is None:
        problem = "its place in the published text is unknown"
        return Bounds(np.zeros(len(encoded.ids) + 1, np.int64), Problem(0, problem))
    places = np.concatenate([[0], origin.ends])[np.concatenate([[0], encoded.ends])]
    places[0] = 0
    places[-1] = len(published)  # what is deleted at the end belongs to the last token
    return Bounds(byte_offsets(published)[places], _other_character(encoded, origin, published))


def unscored_size(encoded: Encoded, bounds: Bounds, unscored: NDArray[np.int64]) -> int:
    """Return the bytes of a passage's unscored tokens, or of a text without tokens."""
    return bounds.size(unscored) if len(encoded.ids) else published_size(encoded.passage)


def sum_problem(scored: int, unscored: int, total: int) -> str:
    """Return what is wrong if the scored and the unscored bytes are not all bytes, or ""."""
    if scored + unscored == total:
        return ""
    return f"{scored:,} scored and {unscored:,} unscored bytes; the text has {total:,}"


def wrong_row(
    encoded: Encoded, bounds: Bounds, rows: TokenTable, tokens: NDArray[np.int64]
) -> Problem | None:
    """Return the first token of a passage whose row is wrong, or None.

    `rows` are those of the scored tokens, whose indexes are `tokens`.
    """
    begin = rows.begin.astype(np.int64)
    end = rows.end.astype(np.int64)
    problems = [
        _wrong_order(begin, end, tokens),
        _wrong_outside(encoded, begin, end, tokens),
        bounds.problem or _wrong_bounds(bounds, begin, end, tokens),
    ]
    found = [problem for problem in problems if problem]
    return min(found, key=lambda problem: problem.token) if found else None


def _wrong_order(
    begin: NDArray[np.int64], end: NDArray[np.int64], tokens: NDArray[np.int64]
) -> Problem | None:
    """Return the first token that ends before it begins, or does not begin where the last ended."""
    last = np.concatenate([begin[:1], end[:-1]])
    follows = np.concatenate([[False], np.diff(tokens) == 1])
    is_wrong = (end < begin) | (begin < last) | (follows & (begin != last))
    if not is_wrong.any():
        return None
    row = int(np.argmax(is_wrong))
    if end[row] < begin[row]:
        problem = f"ends at byte {end[row]:,}, before its begin at byte {begin[row]:,}"
    else:
        problem = f"begins at byte {begin[row]:,}; the token before it ends at byte {last[row]:,}"
    return Problem(int(tokens[row]), problem)


def _wrong_outside(
    encoded: Encoded, begin: NDArray[np.int64], end: NDArray[np.int64], tokens: NDArray[np.int64]
) -> Problem | None:
    """Return the first or last token of a passage if bytes before or after it are lost."""
    size = published_size(encoded.passage)
    if tokens[0] == 0 and begin[0] != 0:
        return Problem(0, f"begins at byte {begin[0]:,}; the text begins at byte 0")
    is_last = tokens[-1] == len(encoded.ids) - 1
    if end[-1] > size or (is_last and end[-1] != size):
        problem = f"ends at byte {end[-1]:,}; the text ends at byte {size:,}"
        return Problem(int(tokens[-1]), problem)
    return None


def _wrong_bounds(
    bounds: Bounds, begin: NDArray[np.int64], end: NDArray[np.int64], tokens: NDArray[np.int64]
) -> Problem | None:
    """Return the first token whose bytes are not those of its characters."""
    first = bounds.offsets[tokens]
    last = bounds.offsets[tokens + 1]
    is_wrong = (begin != first) | (end != last)
    if not is_wrong.any():
        return None
    row = int(np.argmax(is_wrong))
    problem = (
        f"has bytes {begin[row]:,} to {end[row]:,} of the published text; its characters are bytes "
        f"{first[row]:,} to {last[row]:,}"
    )
    return Problem(int(tokens[row]), problem)


def _other_character(encoded: Encoded, origin: Walked, published: str) -> Problem | None:
    """Return the token of a character that no edit made, but that is another one than published.

    White space may stand for other white space: for the end of a line, or where a text begins.
    """
    here = _codes(encoded.passage.text)
    there = _codes(published)[np.maximum(origin.ends - 1, 0)]
    is_other = origin.is_kept & (here != there) & ~(_is_space(here) & _is_space(there))
    if not is_other.any():
        return None
    place = int(np.argmax(is_other))
    token = int(np.searchsorted(encoded.ends, place, "right"))
    problem = f"spells {chr(here[place])!r} where the published text has {chr(there[place])!r}"
    return Problem(token, problem)


def _codes(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _is_space(codes: NDArray[np.uint32]) -> NDArray[np.bool_]:
    return np.isin(codes, [ord(space) for space in " \t\n\v\f\r"])
