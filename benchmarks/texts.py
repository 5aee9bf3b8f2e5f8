"""Make requests and streams of given token lengths from any text, and count the work in them."""

import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import accumulate, takewhile
from typing import NamedTuple

from sides.timed import Request

from gpt2eval.scoring.flops import counts_of
from gpt2eval.text.passages import BLANK

Encode = Callable[[list[str]], list[list[int]]]
SEED = 2019
CBT_CONTEXT = (450, 600)  # tokens of a CBT context, in a window of 1,024
CBT_REST = 18  # maximum number of words after a choice
LAMBADA_CONTEXT = (60, 100)  # tokens of a LAMBADA passage, in the same window


class Words(NamedTuple):
    """The words of a text, used as an endless sequence that repeats from the start.

    `ends[i]` is the number of tokens up to the end of word i.
    """

    words: list[str]
    ends: list[int]

    @classmethod
    def from_text(cls, text: str, encode: Encode) -> "Words":
        """Split a text at white space and count tokens; words that contain a blank are left out."""
        words = [word for word in text.split() if BLANK not in word]
        if not words:
            raise SystemExit("the text has no words")
        distinct = sorted(set(words))
        encoded = encode([f" {word}" for word in distinct])
        lengths = {word: len(ids) for word, ids in zip(distinct, encoded, strict=True)}
        return cls(words, list(accumulate(lengths[word] for word in words)))

    def after(self, start: int, tokens: int) -> int:
        """Return the end of the longest run of words from `start` with at most `tokens` tokens.

        The run has at least one word.
        """
        laps, first = divmod(start, len(self.words))
        target = (self.ends[first - 1] if first else 0) + tokens  # counted from the lap's beginning
        more_laps, tokens_in_lap = divmod(target, self.ends[-1])
        stop = (laps + more_laps) * len(self.words) + bisect_right(self.ends, tokens_in_lap)
        return max(start + 1, stop)

    def piece(self, start: int, stop: int) -> list[str]:
        """Return the words from `start` up to `stop`."""
        return [self.words[i % len(self.words)] for i in range(start, stop)]


class Counted(NamedTuple):
    """The work of a task in numbers.

    Attributes:
        items: Questions, passages or windows.
        positions: Positions computed; a shared prefix counts once.
        keys: Keys that these positions attend to, summed over positions.
        positions_read: Positions at which a token is scored.
        keys_read: Keys that those positions attend to.
        scored: Tokens scored.
        besides: Tokens that only a tool without shared prefixes scores: the tokens after the
            context with which all choices begin.
    """

    items: int
    positions: int
    keys: int
    positions_read: int
    keys_read: int
    scored: int
    besides: int


class Branching(NamedTuple):
    """Token lengths of a prefix, of each branch after it, and of the prefix beyond the context."""

    prefix: int
    branches: list[int]
    besides: int = 0


def count_work(requests: Iterable[Branching], items: int) -> Counted:
    """Add up the work of requests.

    The last token of a branch is predicted but never an input; the first one is predicted at the
    last position of the prefix.
    """
    total = [0] * 6
    for prefix, branches, besides in requests:
        counts = counts_of(prefix, branches)
        inside = counts.tokens - prefix  # inputs after the prefix, each of which is read
        keys_inside = counts.pairs - prefix * (prefix + 1) // 2
        one = (
            counts.tokens,
            counts.pairs,
            1 + inside,
            prefix + keys_inside,
            counts.scored,
            besides * len(branches),
        )
        total = [a + b for a, b in zip(total, one, strict=True)]
    return Counted(items, *total)


def common(sequences: list[list[int]]) -> int:
    """Return the length of the longest common prefix."""
    alike = (len(set(column)) == 1 for column in zip(*sequences, strict=False))
    return sum(1 for _ in takewhile(bool, alike))


class _EncodedRequest(NamedTuple):
    """Token ids of a context and of each complete text, and the length of their shared prefix."""

    context: list[int]
    texts: list[list[int]]
    prefix: int


def _encode_request(encode: Encode, request: Request) -> _EncodedRequest:
    continued = [request.context + continuation for continuation in request.continuations()]
    context, *texts = encode([request.context, *continued])
    return _EncodedRequest(context, texts, common(texts) if len(texts) > 1 else len(context))


def branching(encode: Encode, request: Request) -> Branching:
    """Return the lengths of a request in tokens."""
    context, texts, prefix = _encode_request(encode, request)
    return Branching(prefix, [len(ids) - prefix for ids in texts], prefix - len(context))


def rolling(tokens: int, window: int, stride: int) -> list[Branching]:
    """Return the windows of a stream that follows a start token.

    The first window scores all its tokens, each later one `stride` new tokens.
    """
    first = min(tokens, window)
    later = max(0, tokens - window)
    prefix = window - stride + 1
    return [
        Branching(1, [first]),
        *(Branching(prefix, [min(stride, later - done)]) for done in range(0, later, stride)),
    ]


def cbt(words: Words, encode: Encode, items: int, window: int) -> list[Request]:
    """Make questions: a context of 450 to 600 tokens, ten of its words, the rest of a sentence.

    In a window smaller than 1,024 tokens the context is proportionally shorter.
    """
    draw = random.Random(SEED)
    return _collect(encode, items, lambda start: _question(words, start, window, draw))


def _question(
    words: Words, start: int, window: int, draw: random.Random
) -> tuple[Request | None, int]:
    """Make a question from the words at `start`, or none, and return where the next one begins."""
    end = words.after(start, draw.randint(*CBT_CONTEXT) * window // 1024)
    ending = words.piece(end + 1, end + 1 + draw.randint(0, CBT_REST))
    context = words.piece(start, end)
    candidates = sorted({word for word in context if word.isalpha() and len(word) > 2})
    stop = end + 1 + len(ending)
    if len(candidates) < 10:
        return None, stop
    rest_of_sentence = "".join(f" {word}" for word in ending)
    return Request(" ".join(context), draw.sample(candidates, 10), rest_of_sentence), stop


def lambada(words: Words, encode: Encode, items: int, window: int) -> list[Request]:
    """Make passages of 60 to 100 tokens (fewer in a smaller window) whose last word is scored."""
    draw = random.Random(SEED)

    def passage(start: int) -> tuple[Request, int]:
        end = words.after(start, draw.randint(*LAMBADA_CONTEXT) * window // 1024)
        return Request(" ".join(words.piece(start, end)), words.piece(end, end + 1), ""), end + 1

    return _collect(encode, items, passage)


def _collect(
    encode: Encode, items: int, make: Callable[[int], tuple[Request | None, int]]
) -> list[Request]:
    """Collect requests from consecutive words, keeping those that every side tokenizes alike."""
    requests: list[Request] = []
    start = 0
    attempts = 0
    while len(requests) < items:
        request, start = make(start)
        if request and _same_tokens(encode, request):
            requests.append(request)
        attempts += 1
        if attempts > 20 + 10 * items:
            raise SystemExit(
                f"only {len(requests)} of {items} requests can be made from this text; "
                "expected ordinary prose"
            )
    return requests


def _same_tokens(encode: Encode, request: Request) -> bool:
    """Return whether every text begins with the context's tokens and extends the shared prefix."""
    context, texts, prefix = _encode_request(encode, request)
    return all(ids[: len(context)] == context and len(ids) > prefix for ids in texts)


def stream(words: Words, encode: Encode, tokens: int) -> str:
    """Return a text of exactly `tokens` tokens.

    It consists of the words in order, followed by one word repeated for the missing tokens.
    """
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
        f"cannot make a text of exactly {tokens} tokens; expected a text with words of one token"
    )
