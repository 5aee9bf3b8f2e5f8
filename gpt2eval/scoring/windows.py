"""Windows over a stream: which tokens a forward pass scores, given which before them; ours, and those of other tools.

It knows positions, not tokens, texts or models. Source of the regular ones: issue 2; of the others: issue 4.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple


class Window(NamedTuple):
    """Inputs of one forward pass (`context`), tokens it newly scores (`stride`), the first context token, and the kind."""

    context: int
    stride: int
    start: int | None
    kind: str = "regular"


class Span(NamedTuple):
    """A forward pass over a stream x: `x[first:end]` is scored given `x[left:first]`, and counts `weight` times."""

    left: int
    first: int
    end: int
    weight: float = 1.0


def regular(length: int, context: int, stride: int) -> Iterator[Span]:
    """Every token but the first exactly once: the first W of them, then S at a time; the last span is merely shorter.

    With W the context and S the stride, the first pass has inputs `x[0:W]` and scores `x[1:W+1]`; each later one has
    inputs `x[e-W:e]` and scores the last S of `x[e-W+1:e+1]`, for e = W+S, W+2S, ...
    """
    first, size = 1, context
    while first < length:
        yield Span(max(0, first - 1 + size - context), first, min(first + size, length))
        first, size = first + size, stride


def last_full(length: int, context: int, stride: int) -> Iterator[Span]:
    """The regular spans, but the last one's inputs reach back as far as the context allows.

    Source: `get_rolling_token_windows` of lm-evaluation-harness 0.4.13.
    """
    for span in regular(length, context, stride):
        yield span if span.end < length else span._replace(left=max(0, span.end - 1 - context))


def restart(length: int, context: int, stride: int) -> Iterator[Span]:
    """Windows `x[kS:kS+W]`, in which whatever an earlier window did not hold is scored, but for the window's own first token.

    A window that overlaps the one before gives as its mean over n tokens, counted n - 1 times: weight = (n - 1) / n.
    Source: the page "Perplexity of fixed-length models" of the transformers documentation.
    """
    held = 0
    for left in range(0, length, stride):
        end = min(left + context, length)
        first = max(held, left + 1)
        if first < end:
            yield Span(left, first, end, 1.0 if first > held else (end - first - 1) / (end - first))
        held = end
        if end == length:
            return


def second_half(length: int, context: int, _: int) -> Iterator[Span]:
    """Disjoint windows, of each only the later half scored, without the token in its middle; an unfinished one is left out.

    Source: `perplexity` of llama.cpp, tools/perplexity.
    """
    middle = context // 2
    for left in range(0, length - context + 1, context) if middle + 1 < context else ():
        yield Span(left, left + middle + 1, left + context)


SPANS: Mapping[str, Callable[[int, int, int], Iterator[Span]]] = {
    "regular": regular,
    "last_full": last_full,
    "restart": restart,
    "second_half": second_half,
}
