"""Windows over a stream: which tokens each forward pass scores, and which tokens precede them.

Implements this package's own windows and the windows of three other tools. Knows positions only,
not tokens, texts or models. The docs page "Protocols and windows" compares the kinds.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple


class Window(NamedTuple):
    """How a stream is cut into forward passes.

    `context` is the number of inputs of one pass, `stride` the number of tokens it newly scores,
    `start` the token that precedes the stream (None for none), `kind` a key of `SPANS`.
    `repeats_start`: every pass begins with the start token, which takes the place of the oldest
    token of its context. `replaces`: the start token does so, and does not precede the stream.
    `drops_tail`: the last pass is left out unless it is full. `ends_unscored`: the last token of
    every pass is not scored.
    """

    context: int
    stride: int
    start: int | None
    kind: str = "regular"
    repeats_start: bool = False
    replaces: bool = False
    drops_tail: bool = False
    ends_unscored: bool = False


class Span(NamedTuple):
    """One forward pass over a stream x: it scores `x[first:end]` given `x[left:first]`.

    Each scored token counts `weight` times.
    """

    left: int
    first: int
    end: int
    weight: float = 1.0


def regular(length: int, context: int, stride: int) -> Iterator[Span]:
    """Score every token except the first exactly once; only the last span may be shorter.

    With context W and stride S, the first pass has inputs `x[0:W]` and scores `x[1:W+1]`. Each
    later pass has inputs `x[e-W:e]` and scores the last S tokens of `x[e-W+1:e+1]`, for
    e = W+S, W+2S, ...
    """
    first = 1
    size = context
    while first < length:
        yield Span(max(0, first - 1 + size - context), first, min(first + size, length))
        first += size
        size = stride


def last_full(length: int, context: int, stride: int) -> Iterator[Span]:
    """Yield the regular spans, but give the last one as many inputs as the context allows.

    Source: `get_rolling_token_windows` of lm-evaluation-harness 0.4.13.
    """
    for span in regular(length, context, stride):
        yield span if span.end < length else span._replace(left=max(0, span.end - 1 - context))


def restart(length: int, context: int, stride: int) -> Iterator[Span]:
    """Form the windows `x[kS:kS+W]` and score the tokens that no earlier window contained.

    A window never scores its own first token. The source averages the loss of an overlapping
    window over one token fewer than it scores, so n such tokens get the weight (n - 1) / n.
    Source: the page "Perplexity of fixed-length models" of the transformers documentation.
    """
    covered = 0
    for left in range(0, length, stride):
        end = min(left + context, length)
        first = max(covered, left + 1)
        if first < end:
            count = end - first
            yield Span(left, first, end, 1.0 if first > covered else (count - 1) / count)
        covered = end
        if end == length:
            return


def second_half(length: int, context: int, _: int) -> Iterator[Span]:
    """Cut the stream into disjoint windows; score the second half of each but its first token.

    Omits an incomplete last window.
    Source: `perplexity` of llama.cpp, tools/perplexity.
    """
    middle = context // 2
    if middle + 1 >= context:
        return
    for left in range(0, length - context + 1, context):
        yield Span(left, left + middle + 1, left + context)


# Kinds whose windows hold `context` tokens with the scored ones; a window of the other kinds holds
# one token more, which is only a target.
CLOSED = {"restart", "second_half"}


def spans(length: int, window: Window) -> Iterator[Span]:
    """Yield the spans of a stream of `length` tokens, as the window says.

    >>> [span[:3] for span in spans(10, Window(4, 4, None, "restart"))]
    [(0, 1, 4), (4, 5, 8), (8, 9, 10)]
    >>> [span[:3] for span in spans(10, Window(4, 4, None, "restart", drops_tail=True))]
    [(0, 1, 4), (4, 5, 8)]
    """
    full = window.context + (window.kind not in CLOSED)
    for span in SPANS[window.kind](length, window.context, window.stride):
        if window.drops_tail and span.end - span.left < full:
            continue
        end = span.end - window.ends_unscored
        if span.first < end:
            yield span._replace(end=end)


# `once` has the spans of `regular`; only its start token differs, see `metrics.protocol.window`.
SPANS: Mapping[str, Callable[[int, int, int], Iterator[Span]]] = {
    "regular": regular,
    "once": regular,
    "last_full": last_full,
    "restart": restart,
    "second_half": second_half,
}
