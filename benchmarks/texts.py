"""Requests and streams of given lengths in tokens, made of the words of any text; and how much computing is in them."""

import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import accumulate, takewhile
from typing import NamedTuple

from sides.timed import Request

from gpt2eval.text.passages import BLANK

Encode = Callable[[list[str]], list[list[int]]]
SEED = 2019
CBT_CONTEXT = (450, 600)  # tokens of a CBT context, in a window of 1,024
CBT_REST = 18  # most words after a choice
LAMBADA_CONTEXT = (60, 100)


class Words(NamedTuple):
    """A text's words between white space, and the number of tokens up to the end of each; they begin again at the end."""

    words: list[str]
    ends: list[int]

    @classmethod
    def of(cls, text: str, encode: Encode) -> "Words":
        """Split and count; the text's own blanks are taken out."""
        words = [word for word in text.split() if BLANK not in word]
        if not words:
            raise SystemExit("the text has no words")
        distinct = sorted(set(words))
        cost = dict(
            zip(
                distinct,
                (len(ids) for ids in encode([f" {word}" for word in distinct])),
                strict=True,
            )
        )
        return cls(words, list(accumulate(cost[word] for word in words)))

    def after(self, start: int, tokens: int) -> int:
        """The last word's number such that words `start` up to it have at most so many tokens (one word at the least)."""
        laps, at = divmod(start, len(self.words))
        target = (self.ends[at - 1] if at else 0) + tokens
        more, rest = divmod(target, self.ends[-1])
        return max(start + 1, (laps + more) * len(self.words) + bisect_right(self.ends, rest))

    def piece(self, start: int, stop: int) -> list[str]:
        """Words `start` up to `stop`."""
        return [self.words[i % len(self.words)] for i in range(start, stop)]


class Counted(NamedTuple):
    """Work in numbers: items; positions computed, each shared prefix once; keys that these see; those of both whose
    output is read; tokens scored; and tokens that a tool without shared prefixes scores besides, for nothing: those
    after the context that all choices begin with.
    """

    items: int
    positions: int
    keys: int
    positions_read: int
    keys_read: int
    scored: int
    besides: int


class Branching(NamedTuple):
    """Tokens of a prefix, of each branch after it, and of the prefix those that do not belong to the context."""

    prefix: int
    branches: list[int]
    besides: int = 0


def counted(requests: Iterable[Branching], items: int) -> Counted:
    """Add up requests. A branch's last token is only predicted; its first is predicted at the prefix's last."""
    total = [0] * 6
    for prefix, branches, besides in requests:
        inside = [branch - 1 for branch in branches]
        keys_after = sum(n * prefix + n * (n + 1) // 2 for n in inside)
        one = (
            prefix + sum(inside),
            prefix * (prefix + 1) // 2 + keys_after,
            1 + sum(inside),
            prefix + keys_after,
            sum(branches),
            besides * len(branches),
        )
        total = [a + b for a, b in zip(total, one, strict=True)]
    return Counted(items, *total)


def common(sequences: list[list[int]]) -> int:
    """Length of the longest common beginning."""
    alike = (len(set(column)) == 1 for column in zip(*sequences, strict=False))
    return sum(1 for _ in takewhile(bool, alike))


def branching(encode: Encode, request: Request) -> Branching:
    """A request's lengths in tokens."""
    context, *whole = encode(
        [request.context, *(request.context + each for each in request.continuations())]
    )
    prefix = common(whole) if len(whole) > 1 else len(context)
    return Branching(prefix, [len(ids) - prefix for ids in whole], prefix - len(context))


def rolling(tokens: int, window: int, stride: int) -> list[Branching]:
    """The windows of a stream after a start token: the first scores all its tokens, each later one `stride` new ones."""
    first, rest = min(tokens, window), max(0, tokens - window)
    prefix = window - stride + 1
    return [
        Branching(1, [first]),
        *(Branching(prefix, [min(stride, rest - at)]) for at in range(0, rest, stride)),
    ]


def cbt(words: Words, encode: Encode, items: int, window: int) -> list[Request]:
    """Questions: a context of 450 to 600 tokens (less in a smaller window), ten words out of it, the rest of a sentence."""
    draw = random.Random(SEED)
    return _taken(words, encode, items, lambda at: _question(words, at, window, draw))


def _question(
    words: Words, at: int, window: int, draw: random.Random
) -> tuple[Request | None, int]:
    end = words.after(at, draw.randint(*CBT_CONTEXT) * window // 1024)
    rest = words.piece(end + 1, end + 1 + draw.randint(0, CBT_REST))
    context = words.piece(at, end)
    candidates = sorted({word for word in context if word.isalpha() and len(word) > 2})
    stop = end + 1 + len(rest)
    if len(candidates) < 10:
        return None, stop
    return Request(
        " ".join(context), draw.sample(candidates, 10), "".join(f" {word}" for word in rest)
    ), stop


def lambada(words: Words, encode: Encode, items: int, window: int) -> list[Request]:
    """Passages of 60 to 100 tokens (less in a smaller window), whose last word is asked for."""
    draw = random.Random(SEED)

    def passage(at: int) -> tuple[Request, int]:
        end = words.after(at, draw.randint(*LAMBADA_CONTEXT) * window // 1024)
        return Request(" ".join(words.piece(at, end)), words.piece(end, end + 1), ""), end + 1

    return _taken(words, encode, items, passage)


def _taken(
    words: Words, encode: Encode, items: int, make: Callable[[int], tuple[Request | None, int]]
) -> list[Request]:
    """So many requests, one after the other; only such as every side cuts into the same tokens."""
    taken: list[Request] = []
    at = tried = 0
    while len(taken) < items:
        request, at = make(at)
        if request and _same_cut(encode, request):
            taken.append(request)
        tried += 1
        if tried > 20 + 10 * items:
            raise SystemExit(
                f"only {len(taken)} of {items} requests can be made of this text; expected ordinary prose"
            )
    return taken


def _same_cut(encode: Encode, request: Request) -> bool:
    """The context's tokens begin every whole, and no whole is the beginning of all others."""
    context, *whole = encode(
        [request.context, *(request.context + each for each in request.continuations())]
    )
    shared = common(whole) if len(whole) > 1 else len(context)
    return all(ids[: len(context)] == context and len(ids) > shared for ids in whole)


def stream(words: Words, encode: Encode, tokens: int) -> str:
    """A text of exactly so many tokens: words in order, and one word over and over for what is missing at the end."""
    stop = words.after(0, tokens)
    text = " ".join(words.piece(0, stop))
    while (missing := tokens - len(encode([text])[0])) < 0:
        stop -= 1
        text = " ".join(words.piece(0, stop))
    fillers = [f" {word}" for word, _ in Counter(words.words).most_common(200)] + ["."]
    for filler in fillers:
        if len(encode([text + filler * missing])[0]) == tokens:
            return text + filler * missing
    raise SystemExit(
        f"no text of exactly {tokens} tokens can be made; expected a text with words of one token"
    )
