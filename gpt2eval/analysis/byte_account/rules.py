"""Other ways to count the bytes of tokens, as programs use them that keep one number per token.

Each is right for some tokenizers and wrong for others. Sources: nanochat's `token_bytes` (its pull
request 693), the tables of openai/parameter-golf (its pull requests 1289 and 1734, its issue 897).
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt2eval.analysis.byte_account.account import RuleTotal
from gpt2eval.analysis.byte_account.rows import published_text
from gpt2eval.identity import Spelling
from gpt2eval.scoring.token_table import byte_offsets
from gpt2eval.types import Encoded

BLANK = "\u2581"  # how SentencePiece writes a blank
BYTE = re.compile("<0x[0-9A-Fa-f]{2}>")  # how it writes a byte that is no token of its own


class Rule(NamedTuple):
    """A way to count bytes; `count` gets a token, and whether it begins a text."""

    name: str
    explanation: str
    count: Callable[[Spelling, bool], int]


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def _decoded(token: Spelling, begins: bool) -> int:
    return 0 if token.is_special else _size(token.decoded)


def _as_written(token: Spelling, begins: bool) -> int:
    return _size(token.name)


def _own_bytes(token: Spelling, begins: bool) -> int:
    return 0 if token.is_special else len(token.raw)


def _all_bytes(token: Spelling, begins: bool) -> int:
    return len(token.raw)


def _is_byte(token: Spelling) -> bool:
    return BYTE.fullmatch(token.name) is not None


def _without_blank(token: Spelling, begins: bool) -> int:
    if token.is_special:
        return 0
    return 1 if _is_byte(token) else _size(token.name.removeprefix(BLANK))


def _has_blank(token: Spelling) -> bool:
    return token.name.startswith(BLANK)


def _blank_inside(token: Spelling, begins: bool) -> int:
    return _without_blank(token, begins) + (_has_blank(token) and not begins)


def _blank_twice(token: Spelling, begins: bool) -> int:
    return _blank_inside(token, begins) + _has_blank(token)


def _replaced_bytes(token: Spelling, begins: bool) -> int:
    return 0 if token.is_special else len(token.raw.decode("utf-8", "replace").encode())


RULES = (
    Rule("decode([id])", "the text of each token alone; U+FFFD counts 3 bytes", _decoded),
    Rule("vocabulary string", "as the vocabulary writes it: Ġ 2 bytes, ▁ 3, a byte 6", _as_written),
    Rule("byte table", "the bytes of each token, as tiktoken has them", _own_bytes),
)
PIECES = (
    Rule("▁ inside the text", "a leading ▁ is a blank, but not at the beginning", _blank_inside),
    Rule("▁ never", "a leading ▁ counts nothing", _without_blank),
    Rule("▁ twice", "a leading ▁ is in the table, and is added again", _blank_twice),
)
REPLACED = Rule(
    "bytes as U+FFFD", "the byte table, but what is no text alone is U+FFFD", _replaced_bytes
)
SPECIALS = Rule("with special tokens", "the byte table, special tokens by their names", _all_bytes)


Scored = Sequence[tuple[Encoded, NDArray[np.int64]]]  # texts, and their scored tokens' indexes


def rule_totals(scored: Scored, known: Mapping[int, Spelling]) -> list[RuleTotal]:
    """Return what each rule that fits the vocabulary counts for the scored tokens of texts."""
    keys, counts = np.unique(_tokens_and_begins(scored, known), return_counts=True)
    tokens = [(known[key // 2], bool(key % 2)) for key in keys.tolist()]
    spellings = [token for token, _ in tokens]
    return [
        RuleTotal(rule.name, rule.explanation, _total(rule, tokens, counts))
        for rule in _fitting(spellings)
    ]


def _tokens_and_begins(scored: Scored, known: Mapping[int, Spelling]) -> NDArray[np.int64]:
    """Return each scored token as 2 * id, plus 1 if it begins a text or follows a special token."""
    found = [np.empty(0, np.int64)]
    for encoded, tokens in scored:
        ids = encoded.ids.astype(np.int64)
        is_special = np.array([known[id_].is_special for id_ in ids.tolist()], np.bool_)
        begins = np.concatenate([[True], is_special[:-1]])[: len(ids)]
        found.append((2 * ids + begins)[tokens])
    return np.concatenate(found)


def _total(rule: Rule, tokens: Sequence[tuple[Spelling, bool]], counts: NDArray[np.integer]) -> int:
    return sum(
        rule.count(*token) * count for token, count in zip(tokens, counts.tolist(), strict=True)
    )


def _fitting(spellings: Iterable[Spelling]) -> list[Rule]:
    """Return the rules that say something of their own about a vocabulary."""
    tokens = list(spellings)
    rules = list(RULES)
    if any(_has_blank(token) and token.raw[:1] == b" " for token in tokens):
        rules += PIECES
    # Elsewhere the decoder itself replaces them, which is the first rule.
    if any(_replaced_bytes(token, False) != _decoded(token, False) for token in tokens):
        rules.append(REPLACED)
    if any(token.is_special for token in tokens):
        rules.append(SPECIALS)
    return rules


def text_totals(scored: Scored) -> list[RuleTotal]:
    """Return the size of the scored tokens' text in other measures: characters, detokenized bytes.

    The detokenized text is left out where it is the published one.
    """
    chars = encoded_bytes = 0
    for encoded, tokens in scored:
        ends = np.concatenate([[0], encoded.ends])
        offsets = byte_offsets(encoded.passage.text)
        chars += int((ends[tokens + 1] - ends[tokens]).sum())
        encoded_bytes += int((offsets[ends[tokens + 1]] - offsets[ends[tokens]]).sum())
    totals = [RuleTotal("characters", "the characters of the text instead of its bytes", chars)]
    if any(encoded.passage.text != published_text(encoded.passage) for encoded, _ in scored):
        explanation = "the bytes of the detokenized text instead of the published one"
        totals.append(RuleTotal("detokenized text", explanation, encoded_bytes))
    return totals
