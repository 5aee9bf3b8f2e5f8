"""The passages of the surprisal view: which of them a page holds, and their tokens.

A page has room for some of the passages of a large task. They are, in turn, the most surprising
ones of each model, those with the largest gap between models, and a sample spread evenly over the
text, until the task's share of the page is used up.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np

from gpt2eval.errors import UsageError
from gpt2eval.notices import notify
from gpt2eval.report.measured import Measured
from gpt2eval.report.page.markup import embedded
from gpt2eval.report.page.pieces import Passages, Piece, Texts, pieces
from gpt2eval.report.page.sources import Group
from gpt2eval.scoring.token_table import BITS, TokenTable, byte_offsets

FindTexts = Callable[[Measured], Texts]
MODELS = 6  # whose tokens a page holds for one task
NO_TEXT = "its published text was not at hand; 'gpt2eval report --data {name}=PATH' adds it"
SURPRISING, GAP, SAMPLE = "surprising", "gap", "sample"
IMPOSSIBLE = 1e6  # bits of a token of probability 0, for the order of passages
REASONS = 40  # bytes of a comma and a passage's reasons


def surprisal_section(
    groups: Sequence[Group], find_texts: FindTexts, budget: int
) -> list[dict[str, Any]]:
    """Return the passages of every task within a budget of bytes, which the tasks share equally.

    What a small task leaves of its share is for the larger ones.
    """
    tasks = [_Task.of(group, find_texts) for group in groups if group.sources]
    budget -= sum(_size(task.document) for task in tasks)
    with_texts = sorted((task for task in tasks if task.texts), key=_Task.count_tokens)
    for number, task in enumerate(with_texts):
        budget -= task.fill(budget // (len(with_texts) - number))
    return [task.document for task in tasks]


@dataclass(frozen=True, slots=True)
class _Task:
    """A task of the page: what it shows, the token tables of its models, and its text."""

    document: dict[str, Any]
    tables: Sequence[TokenTable]
    texts: Texts

    @classmethod
    def of(cls, group: Group, find_texts: FindTexts) -> "_Task":
        """Return a task without passages."""
        shown = group.sources[:MODELS]
        document: dict[str, Any] = {
            "name": group.name,
            "title": group.title,
            "whole": group.is_whole,
            "models": [one.label for one in shown],
            "left_out": [one.label for one in group.sources[MODELS:]],
            "total": 0,
            "passages": [],
            "missing": "",
        }
        measured = shown[0].source.measured
        tables = [one.source.tokens for one in shown if one.source.tokens is not None]
        texts: Texts = {}
        try:
            if measured is not None:
                texts = find_texts(measured)
        except UsageError as error:
            notify(f"without the text of {group.name}: {error}")
            document["missing"] = NO_TEXT.format(name=group.name)
        return cls(document, tables, texts)

    def count_tokens(self) -> int:
        """Return the number of scored tokens of all models."""
        return sum(map(len, self.tables))

    def fill(self, budget: int) -> int:
        """Choose passages within a budget of bytes; return how many bytes they take."""
        models = [Passages.of(table) for table in self.tables]
        found = [piece for piece in pieces(models, self.texts) if piece.end > piece.begin]
        empty = _size(self.document)
        self.document["passages"] = _chosen(found, self.tables, self.texts, budget)
        self.document["total"] = len(found)
        return _size(self.document) - empty


class Rates(NamedTuple):
    """Bits per byte of every piece (rows) under every model (columns)."""

    values: np.ndarray

    @classmethod
    def of(cls, found: Sequence[Piece], tables: Sequence[TokenTable]) -> "Rates":
        """Compute the rates; a piece without scored bytes has 0."""
        values = np.zeros((len(found), len(tables)))
        for column, table in enumerate(tables):
            losses = np.minimum(-table.logprob.astype(np.float64) * BITS, IMPOSSIBLE)
            bits = np.concatenate([[0.0], np.cumsum(losses)])
            size = np.concatenate([[0], np.cumsum(table.end - table.begin)])
            first = np.array([piece.rows[column].start for piece in found], np.int64)
            last = np.array([piece.rows[column].stop for piece in found], np.int64)
            values[:, column] = (bits[last] - bits[first]) / np.maximum(size[last] - size[first], 1)
        # Rounded, so that equal rates stay in text order whatever was summed before them.
        return cls(np.round(values, 6))

    def most_surprising(self) -> Iterator[int]:
        """Yield the pieces by their rate, falling; in turn for each model."""
        orders = np.argsort(-self.values, axis=0, kind="stable")
        yield from orders.ravel().tolist()

    def largest_gaps(self) -> Iterator[int]:
        """Yield the pieces by the largest difference between two models' rates, falling."""
        yield from np.argsort(-np.ptp(self.values, axis=1), kind="stable").tolist()


def _chosen(
    found: Sequence[Piece], tables: Sequence[TokenTable], texts: Texts, budget: int
) -> list[dict[str, Any]]:
    """Return the passages that fit into a budget of bytes, in text order, with why each is here."""
    if not found:
        return []
    rates = Rates.of(found, tables)
    orders = {SURPRISING: rates.most_surprising()}
    if len(tables) > 1:
        orders[GAP] = rates.largest_gaps()
    orders[SAMPLE] = iter(spread(len(found)))
    passages: dict[int, dict[str, Any]] = {}
    for reason, order in cycle(orders.items()):
        if len(passages) == len(found):
            break
        # The sample is complete when all passages are chosen, so no order ends before that.
        number = next(order)
        if number not in passages:
            passage = _passage(found[number], number, tables, texts)
            budget -= _size(passage) + REASONS
            if budget < 0:
                break
            passages[number] = passage
        if reason not in passages[number]["why"]:
            passages[number]["why"].append(reason)
    return [passages[key] for key in sorted(passages)]


def spread(count: int) -> list[int]:
    """Return 0..count-1 in an order whose every beginning is spread evenly over the range.

    >>> spread(8)
    [0, 4, 2, 6, 1, 5, 3, 7]
    """
    width = max(count - 1, 1).bit_length()
    reversed_bits = (int(f"{number:0{width}b}"[::-1], 2) for number in range(2**width))
    return [number for number in reversed_bits if number < count]


def _passage(
    piece: Piece, number: int, tables: Sequence[TokenTable], texts: Texts
) -> dict[str, Any]:
    data = texts[piece.record, piece.choice][piece.before : piece.end]
    text = data.decode("utf-8", "surrogateescape")
    offsets = byte_offsets(text)
    units = _units_before(text)

    def place(positions: np.ndarray) -> np.ndarray:
        """Return the UTF-16 positions in the passage of byte positions in the record."""
        return units[np.searchsorted(offsets, positions - piece.before)]

    return {
        "number": number,
        "record": piece.record,
        "begin": piece.begin,
        "end": piece.end,
        "cut": 0 < piece.before < piece.begin,
        "before": int(place(np.array([piece.begin]))[0]),
        "text": text,
        "why": [],
        "models": [
            _tokens(table.select(rows), place)
            for table, rows in zip(tables, piece.rows, strict=True)
        ],
    }


def _tokens(rows: TokenTable, place: Callable[[np.ndarray], np.ndarray]) -> dict[str, Any]:
    """Return the tokens of a passage for the page's script.

    `lengths` are in UTF-16 units; a negative number skips unscored text. `bits` are in thousandths;
    null stands for a probability of 0. `hits` has a digit per token: 1 if it is the most likely
    one, plus 2 if several share the highest probability.
    """
    begins, ends = place(rows.begin), place(rows.end)
    lengths: list[int] = []
    at = None
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        if at is not None and begin > at:
            lengths.append(at - begin)
        lengths.append(end - begin)
        at = end
    bits = -rows.logprob.astype(np.float64) * BITS
    return {
        "from": int(begins[0]) if len(begins) else 0,
        "lengths": lengths,
        "bits": [round(1000 * value) if np.isfinite(value) else None for value in bits.tolist()],
        "hits": "".join(map(str, (rows.is_greedy + 2 * rows.is_tied.astype(np.int8)).tolist())),
    }


def _units_before(text: str) -> np.ndarray:
    """Return the UTF-16 units before every position of a text, as an array of `len(text) + 1`."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    return np.concatenate([[0], np.cumsum(1 + (codes >= 0x10000))]).astype(np.int64)


def _size(value: object) -> int:
    """Return the bytes of a value in the page."""
    return len(embedded(value).encode())
