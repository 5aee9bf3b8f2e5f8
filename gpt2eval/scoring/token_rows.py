"""Form the rows of a token table block by block, from the scores of a run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields

import numpy as np
from numpy.typing import DTypeLike

from gpt2eval.scoring.large import BLOCK, files_of, release
from gpt2eval.scoring.sheet import Sheet
from gpt2eval.scoring.token_table import TokenTable, byte_offsets
from gpt2eval.types import Encoded


class TokenRows:
    """The rows of all scored tokens, formed block by block; `ranges` are each passage's tokens."""

    def __init__(self, encoded: Sequence[Encoded], ranges: Sequence[range], sheet: Sheet) -> None:
        self._encoded = encoded
        self._ranges = ranges
        self._sheet = sheet
        self._files = files_of(column for one in encoded for column in (one.ids, one.ends))

    def count(self) -> int:
        """Return the number of rows."""
        return sum(
            int(np.count_nonzero(self._sheet.weights[place] > 0))
            for number, tokens in enumerate(self._ranges)
            for _, place in self._sheet.blocks(number, tokens)
        )

    def types(self) -> dict[str, np.ndarray]:
        """Return each column without rows."""
        offset = max(
            (_offset_type(_published(one)) for one in self._encoded), default=np.dtype(np.int32)
        )
        kinds: dict[str, DTypeLike] = {"choice": np.int16, "begin": offset, "end": offset}
        kinds |= dict.fromkeys(("is_right", "is_greedy", "is_tied"), np.bool_)
        kinds |= dict.fromkeys(("logprob", "weight"), np.float32)
        names = (field.name for field in fields(TokenTable))
        return {name: np.zeros(0, kinds.get(name, np.int32)) for name in names}

    def blocks(self) -> Iterator[dict[str, np.ndarray]]:
        """Yield the columns of successive rows."""
        waiting: list[dict[str, np.ndarray]] = []
        count = 0
        for number, (one, tokens) in enumerate(zip(self._encoded, self._ranges, strict=True)):
            for rows in _passage_rows(number, one, tokens, self._sheet):
                waiting.append(rows)
                count += len(rows["weight"])
                if count >= BLOCK:
                    yield _rows_of(waiting)
                    waiting, count = [], 0
                    release(self._files)
        if waiting:
            yield _rows_of(waiting)


def _rows_of(blocks: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the rows of blocks whose tokens count."""
    columns = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    counts = columns["weight"] > 0
    return {name: column[counts] for name, column in columns.items()}


def token_table(encoded: Sequence[Encoded], ranges: Sequence[range], sheet: Sheet) -> TokenTable:
    """Return the rows of all scored tokens; `ranges` are the scored tokens of each passage."""
    rows = TokenRows(encoded, ranges, sheet)
    blocks = [rows.types(), *rows.blocks()]
    return TokenTable(**{n: np.concatenate([block[n] for block in blocks]) for n in blocks[0]})


def _published(encoded: Encoded) -> str:
    passage = encoded.passage
    return passage.published.text if passage.published else passage.text


def _offset_type(text: str) -> np.dtype[np.integer]:
    """Return the type of byte offsets in a text."""
    most = len(text) if text.isascii() else 4 * len(text)
    if most >= 1 << 31 and len(text.encode("utf-8", "surrogateescape")) >= 1 << 31:
        return np.dtype(np.int64)
    return np.dtype(np.int32)


def _passage_rows(
    number: int, encoded: Encoded, tokens: range, sheet: Sheet
) -> Iterator[dict[str, np.ndarray]]:
    passage = encoded.passage
    published = _published(encoded)
    kind = _offset_type(published)
    char = byte = 0
    for own, place in sheet.blocks(number, tokens):
        # A token begins where the previous one ends.
        positions = encoded.ends[max(own.start - 1, 0) : own.stop]
        if own.start == 0:
            positions = np.concatenate([np.zeros(1, np.int32), positions])
        if passage.published:
            positions = passage.published.origins(positions)
            if own.start == 0:
                positions[0] = 0
            if own.stop == len(encoded.ends):
                positions[-1] = len(published)
        bounds = positions
        if not published.isascii():
            last = int(positions[-1])
            bounds = byte + byte_offsets(published[char:last])[positions - char]
            char, byte = last, int(bounds[-1])
        bounds = bounds.astype(kind)
        count = own.stop - own.start
        yield {
            "record": np.full(count, passage.record, np.int32),
            "choice": np.full(count, passage.choice, np.int16),
            "is_right": np.full(count, passage.right),
            "id": np.asarray(encoded.ids[own], np.int32),
            "begin": bounds[:-1],
            "end": bounds[1:],
            "logprob": sheet.logprobs[place].astype(np.float32),
            "is_greedy": sheet.is_greedy[place],
            "is_tied": sheet.is_tied[place],
            "context": sheet.context[place],
            "weight": sheet.weights[place].astype(np.float32),
        }
