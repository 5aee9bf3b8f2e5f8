"""Records as one stream of tokens, packed into blocks, as the loaders of other tools pack them.

Knows token ids and positions. Does not know texts, models or task names.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np

from gpt2eval.scoring.plan import segments
from gpt2eval.scoring.windows import Window, spans
from gpt2eval.types import Encoded, Encoding, Ids, Passage


class Packing(NamedTuple):
    """How the tokens of records become one stream.

    Attributes:
        after: The token after each record; None for none.
        begin: The token before the text of each block; None for none.
        end: The token after the text of each block; None for none.
        block: Tokens of a block, with `begin` and `end`; None for no blocks.
        rows: Records of a batch, whose remainder forms no block; None for one batch of all.
        workers: Processes that share the records, each with its own batches.
    """

    after: int | None
    begin: int | None
    end: int | None
    block: int | None
    rows: int | None = None
    workers: int = 1


@dataclass(frozen=True, slots=True)
class KeptTokens:
    """How many of a text's tokens lie in some window, and how many there are."""

    kept: int
    total: int

    @property
    def share(self) -> float:
        """The kept tokens as a share of all."""
        return self.kept / self.total


def joined(passage: Passage, records: Sequence[Encoding], packing: Packing) -> Encoded:
    """Return the tokens of records as one stream.

    The segments of the stream are the batches of records. Inside each, the tokens `begin` and `end`
    surround as many tokens of text as a block has room for; the last block may hold fewer.

    Args:
        passage: The text of all records, of which each is one part.
        records: The tokens of each record.
        packing: The tokens to insert, and the batches.
    """
    after = np.array([] if packing.after is None else [packing.after], np.int32)
    ids: list[Ids] = [after[:0]]
    ends: list[Ids] = [after[:0]]
    for encoding, part in zip(records, passage.parts, strict=True):
        ids += [encoding.ids, after]
        ends += [encoding.ends + part.start, np.full(len(after), part.end, np.int32)]
    counts = [len(encoding.ids) + len(after) for encoding in records]
    bounds = [0, *accumulate(counts)]
    batches = [range(len(records))]
    if packing.rows is not None:
        batches = [*loader_batches(len(records), packing.rows, packing.workers)]
    parts = [range(bounds[batch.start], bounds[batch.stop]) for batch in batches]
    stream = Encoded(passage, np.concatenate(ids), np.concatenate(ends).astype(np.int32))
    return _packed(stream, parts, packing)


def loader_batches(records: int, rows: int, workers: int) -> Iterator[range]:
    """Yield the batches of records of a parallel loader.

    Each worker has a contiguous shard, and the first shards have one record more where the number
    does not divide evenly. There are never more workers than records. Source: `Dataset.map` and
    `Dataset.shard(contiguous=True)` of datasets 4.

    >>> [*loader_batches(7, 2, 3)]
    [range(0, 2), range(2, 3), range(3, 5), range(5, 7)]
    """
    workers = max(min(workers, records), 1)
    each, more = divmod(records, workers)
    for worker in range(workers):
        start = each * worker + min(worker, more)
        stop = start + each + (worker < more)
        for first in range(start, stop, rows):
            yield range(first, min(first + rows, stop))


def _packed(stream: Encoded, batches: Sequence[range], packing: Packing) -> Encoded:
    """Return a stream with `begin` and `end` inserted around the text of each block."""
    begin = np.array([] if packing.begin is None else [packing.begin], np.int32)
    end = np.array([] if packing.end is None else [packing.end], np.int32)
    size = packing.block or max(len(stream.ids), 1)
    room = size - len(begin) - len(end)
    text_ends = np.concatenate([np.zeros(1, np.int32), stream.ends])  # before each token
    ids: list[Ids] = [begin[:0]]
    ends: list[Ids] = [begin[:0]]
    is_inserted: list[np.ndarray] = [np.zeros(0, np.bool_)]
    bounds = [0]
    for batch in batches:
        length = bounds[-1]
        for first in range(batch.start, batch.stop, room):
            last = min(first + room, batch.stop)
            ids += [begin, stream.ids[first:last], end]
            ends += [
                np.full(len(begin), text_ends[first], np.int32),
                stream.ends[first:last],
                np.full(len(end), text_ends[last], np.int32),
            ]
            marks = np.zeros(len(begin) + last - first + len(end), np.bool_)
            marks[: len(begin)] = True
            marks[len(marks) - len(end) :] = True
            is_inserted.append(marks)
            length += len(marks)
        bounds.append(length)
    return Encoded(
        stream.passage,
        np.concatenate(ids),
        np.concatenate(ends),
        tuple(range(start, stop) for start, stop in pairwise(bounds)),
        np.concatenate(is_inserted),
    )


def kept_tokens(encoded: Encoded, window: Window) -> KeptTokens:
    """Return how many tokens of a text lie in some window, and how many there are."""
    before = int(window.start is not None and not window.replaces)
    kept = 0
    for segment in segments(encoded):
        last = max((span.end for span in spans(before + len(segment), window)), default=0)
        kept += _texts(encoded, range(segment.start, segment.start + max(last - before, 0)))
    return KeptTokens(kept, _texts(encoded, range(len(encoded.ids))))


def _texts(encoded: Encoded, tokens: range) -> int:
    """Return how many of some tokens stand for text."""
    if encoded.inserted is None:
        return len(tokens)
    return int((~encoded.inserted[tokens.start : tokens.stop]).sum())
