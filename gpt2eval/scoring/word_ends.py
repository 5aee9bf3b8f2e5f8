"""The word-start correction: the probability of a word, instead of that of the tokens that spell it.

Most vocabularies mark where a word begins: its first token begins with a space. The product of the
tokens' probabilities then includes that the word before it ended, and leaves out that this one
ends. The probability of the word is

    p(word) = p(tokens) * B(after the word) / B(before the word)

where B is the probability that the next token begins a word or ends the text.
Sources: Pimentel and Meister 2024, EMNLP, 18358-18375 (arXiv 2406.14561); Oh and Schuler 2024,
arXiv 2406.10851.

B after the word needs a place after its last token. `closed` adds a token there, which is read but
not scored: it never affects B in its own place.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gpt2eval.scoring.sheet import Sheet
from gpt2eval.types import Encoded, Scored


def closed(encoded: Encoded) -> Encoded:
    """Return a passage with one more token, which stands for no text: its last token again.

    A passage without a token stays as it is.
    """
    ids = np.append(encoded.ids, encoded.ids[-1:])
    inserted = np.arange(len(ids)) == len(encoded.ids)
    return replace(
        encoded, ids=ids, ends=np.append(encoded.ends, encoded.ends[-1:]), inserted=inserted
    )


def corrections(sheet: Sheet, ranges: Sequence[range]) -> NDArray[np.float64]:
    """Return ln B(before) - ln B(after) of the scored word of each passage, to add to its nats.

    A word that does not begin with a token that begins a word, such as the first one of a text, is
    not divided by B(before the word).

    Args:
        sheet: Scores with those of word starts.
        ranges: The tokens of each word; the place after them is filled, too.
    """
    first = np.array([sheet.starts[i] + tokens.start for i, tokens in enumerate(ranges)])
    after = np.array([sheet.starts[i] + tokens.stop for i, tokens in enumerate(ranges)])
    before = np.where(sheet.starts_word[first], sheet.log_starts[first], 0.0)
    return before - sheet.log_starts[after]


def corrected(scored: Scored, correction: float) -> Scored:
    """Return the scores of a passage whose last part is a word, with its correction."""
    return replace(scored, nats=np.append(scored.nats[:-1], scored.nats[-1] + correction))
