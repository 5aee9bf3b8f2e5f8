"""Count the 8-grams of a task's records, and those that occur in training text.

Does not know the metrics.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gpt2eval.config.schema import Task
from gpt2eval.overlap import ngrams
from gpt2eval.overlap.bloom import Bloom
from gpt2eval.text import passages
from gpt2eval.types import Record


class OverlapItem(NamedTuple):
    """A record, or a block of a stream: its 8-grams, and how many occur in the training text."""

    record: int
    part: int
    ngrams: int
    matches: int

    @property
    def share(self) -> float:
        """The share of 8-grams that occur in the training text; 0 for an item without 8-grams."""
        return self.matches / max(self.ngrams, 1)


class OverlapCounts(NamedTuple):
    """The 8-grams of a text and how many occur in the training text.

    The counts cover all occurrences, distinct 8-grams, and each item.
    """

    ngrams: int
    matches: int
    distinct: int
    distinct_matches: int
    items: tuple[OverlapItem, ...]


def count_overlap(task: Task, records: Sequence[Record], training: Bloom) -> OverlapCounts:
    """Count the 8-grams of a task's records. An 8-gram belongs to the item of its first word."""
    documents = [_items(task, record) for record in records]
    places = [
        (record.index, part)
        for record, items in zip(records, documents, strict=True)
        for part in range(len(items))
    ]
    batches = list(ngrams.grams(documents))
    hashes = np.concatenate([np.zeros(0, np.uint64), *(batch.hashes for batch in batches)])
    owners = np.concatenate([np.zeros(0, np.int64), *(batch.pieces for batch in batches)])
    # Look up each distinct 8-gram once, then copy the answers to all occurrences.
    distinct, inverse = np.unique(hashes, return_inverse=True)
    is_distinct_match = training.contains(distinct)
    is_match = is_distinct_match[inverse]
    totals = np.bincount(owners, minlength=len(places))
    matches = np.bincount(owners[is_match], minlength=len(places))
    items = tuple(
        OverlapItem(record, part, total, match)
        for (record, part), total, match in zip(
            places, totals.tolist(), matches.tolist(), strict=True
        )
    )
    return OverlapCounts(
        len(hashes), int(is_match.sum()), len(distinct), int(is_distinct_match.sum()), items
    )


def _items(task: Task, record: Record) -> list[str]:
    """Return the blocks of a stream, or else the record's text with the answer filled in."""
    if is_in_blocks(task):
        parts = passages.everything(record)[0].parts
        return [record.text[part.start : part.end] for part in parts]
    if record.options:
        return [record.text.replace(passages.BLANK, record.answer)]
    return [record.text]


def is_in_blocks(task: Task) -> bool:
    """Return whether a task scores one stream, whose items are blocks."""
    return task.format == "stream" and task.ask == "everything"
