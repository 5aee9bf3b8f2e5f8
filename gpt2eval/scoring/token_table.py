"""One row per scored token of a task: its score, and the published bytes that it stands for.

Built from the scores of a finished run, so that everything that compares, exports or shows tokens
needs neither the model nor its tokenizer.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from gpt2eval.scoring.sheet import Sheet
from gpt2eval.types import Ids

BITS = 1 / math.log(2)  # in a nat


@dataclass(frozen=True, slots=True)
class TokenTable:
    """The scored tokens of a task, in order of records, choices and text; arrays of equal length.

    Attributes:
        record: Index of the record.
        choice: Number of a question's choice; 0 elsewhere.
        is_right: Whether the passage is the record's text, or a question's right choice.
        id: Token id.
        begin: Offset of the token's first byte in the record's published text, encoded in UTF-8; a
            question's text has the choice in place of its blank.
        end: Offset after its last byte. The tokens of a passage tile its published bytes; what a
            detokenizer deletes belongs to the token that follows, and a token that spells only what
            a detokenizer inserts is empty.
        logprob: Natural logarithm of the token's probability.
        is_greedy: Whether the token is the model's most likely one.
        is_tied: Whether several tokens share the highest logit.
        context: Tokens that the model saw before it, the start token included.
        weight: How often the token counts; 1, unless a protocol averages windows.
    """

    record: NDArray[np.int32]
    choice: NDArray[np.int16]
    is_right: NDArray[np.bool_]
    id: Ids
    begin: NDArray[np.integer]
    end: NDArray[np.integer]
    logprob: NDArray[np.float32]
    is_greedy: NDArray[np.bool_]
    is_tied: NDArray[np.bool_]
    context: NDArray[np.int32]
    weight: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.logprob)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the columns by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def select(self, rows: NDArray[np.bool_] | NDArray[np.int64] | slice) -> "TokenTable":
        """Return some of the rows."""
        return TokenTable(**{name: column[rows] for name, column in self.arrays().items()})

    def passages(self) -> Iterator[slice]:
        """Yield the rows of each passage: of each record, or of each choice of a question."""
        changes = (np.diff(self.record) != 0) | (np.diff(self.choice) != 0)
        bounds = [0, *(np.flatnonzero(changes) + 1).tolist(), len(self)]
        for first, last in pairwise(bounds):
            if last > first:
                yield slice(first, last)

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "TokenTable | None":
        """Return the table with these columns, or None if a column is missing."""
        names = [field.name for field in fields(cls)]
        if not arrays.keys() >= set(names):
            return None
        return cls(**{name: arrays[name] for name in names})


def word_start_rows(
    ranges: Sequence[range], sheet: Sheet, *, closed: bool = False
) -> dict[str, np.ndarray]:
    """Return `log_starts` and `starts_word` of the rows of `token_table`, and `log_after`.

    `log_after` is `log_starts` in the place after the last row of a `closed` passage, and not a
    number elsewhere.
    """
    rows = np.concatenate(
        [
            sheet.starts[number] + np.arange(tokens.start, tokens.stop)
            for number, tokens in enumerate(ranges)
        ]
    )
    rows = rows[sheet.weights[rows] > 0]
    after = np.full(len(rows), np.nan, np.float32)
    if closed:
        last = np.cumsum([len(tokens) for tokens in ranges]) - 1
        after[last] = sheet.log_starts[rows[last] + 1]
    return {
        "log_starts": sheet.log_starts[rows].astype(np.float32),
        "starts_word": sheet.starts_word[rows],
        "log_after": after,
    }


def byte_offsets(text: str) -> np.ndarray:
    """Return the UTF-8 byte offset of every position of a text, as an array of `len(text) + 1`.

    An undecodable byte (a surrogate escape) counts as one.

    >>> byte_offsets("a\\u00e9b").tolist()
    [0, 1, 3, 4]
    """
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    is_escape = (codes >= 0xDC80) & (codes <= 0xDCFF)
    sizes = 1 + (codes >= 0x80) + (codes >= 0x800) + (codes >= 0x10000)
    sizes[is_escape] = 1
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
