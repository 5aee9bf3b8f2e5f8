"""The windows of planned work in order of the text, and which tokens of a passage they score."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt2eval.analysis.byte_account.account import WindowBytes
from gpt2eval.scoring.execute import TaskWork
from gpt2eval.scoring.token_table import TokenTable
from gpt2eval.types import Encoded, Passage


class Span(NamedTuple):
    """The tokens `first` to `stop` of a passage that a window scores, after `context` others."""

    window: int
    passage: int
    first: int
    stop: int
    context: int
    weight: float


def spans(work: TaskWork) -> list[Span]:
    """Return what each window scores, in order of the text; windows are numbered from 1."""
    items = [item for chunk in work.chunks for batch in chunk for item in batch]
    items.sort(key=lambda item: item.targets[0])
    return [
        Span(
            number,
            target.passage,
            target.first,
            target.first + len(branch),
            len(item.request.prefix),
            item.weight,
        )
        for number, item in enumerate(items, 1)
        for branch, target in zip(item.request.branches, item.targets, strict=True)
    ]


def windows_of_tokens(
    work: TaskWork, planned: Sequence[Span]
) -> tuple[list[NDArray[np.int64]], str]:
    """Return the window that scores each token of each passage, 0 for none, and a problem or "".

    A token that two windows score is a problem.
    """
    numbers = [np.zeros(len(one.ids), np.int64) for one in work.encoded]
    problem = ""
    for span in planned:
        place = numbers[span.passage][span.first : span.stop]
        if place.any() and not problem:
            record = work.encoded[span.passage].passage.record
            problem = f"record {record}: windows {place.max()} and {span.window} score one token"
        place[:] = span.window if span.weight else 0
    for one, tokens in zip(numbers, work.ranges, strict=True):
        one[: tokens.start] = 0
        one[tokens.stop :] = 0
    return numbers, problem


def window_bytes(span: Span, passage: Passage, first: int, rows: TokenTable) -> WindowBytes:
    """Return the account of a window: `rows` are those of its tokens, `first` is the first one."""
    logprobs = rows.logprob.astype(np.float64) * rows.weight
    return WindowBytes(
        number=span.window,
        record=passage.record,
        choice=passage.choice,
        context=span.context,
        first=first,
        tokens=len(rows),
        begin=int(rows.begin[0]),
        end=int(rows.end[-1]),
        bytes=int((rows.end.astype(np.int64) - rows.begin).sum()),
        nats=-math.fsum(logprobs.tolist()),
    )


def is_text(encoded: Encoded) -> NDArray[np.bool_]:
    """Return which tokens stand for text: all but those around blocks."""
    if encoded.inserted is None:
        return np.ones(len(encoded.ids), np.bool_)
    return ~encoded.inserted
