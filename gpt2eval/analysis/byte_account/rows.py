"""Check the rows of a token table: each must have the published bytes that its token stands for.

The rows of a passage must tile its published text, and every character that no detokenizer made
must lie within the bytes of its own token.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from gpt2eval.analysis.byte_account.spelled import Problem
from gpt2eval.scoring.token_table import TokenTable, byte_offsets
from gpt2eval.text.joined import JoinedFrom
from gpt2eval.text.kept import KeptCharacters, kept_characters, unedited
from gpt2eval.text.origins import DetokenizedFrom
from gpt2eval.types import Encoded, Passage, Published


def published_text(passage: Passage) -> str:
    """Return the published text of a passage."""
    return passage.published.text if passage.published else passage.text


def published_size(passage: Passage) -> int:
    """Return the bytes of the published text of a passage; an undecodable byte counts as one."""
    return len(published_text(passage).encode("utf-8", "surrogateescape"))


def kept_of(passage: Passage) -> KeptCharacters | None:
    """Return the characters that a passage has from its published text; None if it cannot tell."""
    if passage.published is None:
        return unedited(len(passage.text))
    if isinstance(passage.published, JoinedFrom):
        return _kept_of_joined(passage.text, passage.published)
    return _kept_of_source(passage.text, passage.published)


def _kept_of_source(text: str, source: Published) -> KeptCharacters | None:
    if isinstance(source, DetokenizedFrom):
        return kept_characters(source, len(text))
    return unedited(len(text)) if text == source.text else None


def _kept_of_joined(text: str, joined: JoinedFrom) -> KeptCharacters | None:
    """Return the characters of passages that are joined, each from its own published text."""
    here = [np.empty(0, np.int64)]
    published = [np.empty(0, np.int64)]
    length = 0
    for source, (start, stop) in zip(joined.sources, pairwise(joined.starts), strict=True):
        kept = _kept_of_source(text[start:stop], source)
        if kept is None:
            return None
        here.append(kept.here + start)
        published.append(kept.published + length)
        length += len(source.text)
    return KeptCharacters(np.concatenate(here), np.concatenate(published))


def wrong_row(encoded: Encoded, rows: TokenTable, tokens: NDArray[np.int64]) -> Problem | None:
    """Return the first token of a passage whose row is wrong, or None.

    `rows` are those of the scored tokens, whose indexes are `tokens`.
    """
    begin = rows.begin.astype(np.int64)
    end = rows.end.astype(np.int64)
    problems = [
        _wrong_order(begin, end, tokens),
        _wrong_outside(encoded, begin, end, tokens),
        _wrong_characters(encoded, begin, end, tokens),
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


def _wrong_characters(
    encoded: Encoded, begin: NDArray[np.int64], end: NDArray[np.int64], tokens: NDArray[np.int64]
) -> Problem | None:
    """Return the first token that has a character of the published text outside its bytes."""
    kept = kept_of(encoded.passage)
    if kept is None:
        return None
    offsets = byte_offsets(published_text(encoded.passage))
    ends = np.concatenate([[0], encoded.ends])
    low = np.searchsorted(kept.here, ends[tokens])
    high = np.searchsorted(kept.here, ends[tokens + 1])
    has_text = np.flatnonzero(high > low)
    first = offsets[kept.published[low[has_text]]]
    last = offsets[kept.published[high[has_text] - 1] + 1]
    is_wrong = (begin[has_text] > first) | (end[has_text] < last)
    if not is_wrong.any():
        return None
    place = int(np.argmax(is_wrong))
    row = int(has_text[place])
    problem = (
        f"has bytes {begin[row]:,} to {end[row]:,} of the published text; its characters are bytes "
        f"{first[place]:,} to {last[place]:,}"
    )
    return Problem(int(tokens[row]), problem)
