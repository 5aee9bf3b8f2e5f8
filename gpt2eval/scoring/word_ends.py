"""The word-start correction: the probability of a word instead of that of its tokens.

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


def corrected(
    passages: Sequence[Scored], sheet: Sheet, ranges: Sequence[range]
) -> tuple[list[Scored], NDArray[np.float64]]:
    """Return closed passages with the correction of their last part, a word, in its nats.

    Args:
        passages: Sums of the tokens' scores.
        sheet: The scores, with those of word starts, also in the place after each word.
        ranges: The tokens of each word.

    Returns:
        The passages, and the numbers that decide them: the log-probabilities of all scored tokens,
        then ln B(before the word) - ln B(after the word) of each passage. A word whose first token
        does not begin a word, as the first one of a text, is not divided by B(before the word).
    """
    first = np.array([sheet.starts[i] + tokens.start for i, tokens in enumerate(ranges)])
    after = np.array([sheet.starts[i] + tokens.stop for i, tokens in enumerate(ranges)])
    before = np.where(sheet.starts_word[first], sheet.log_starts[first], 0.0)
    corrections = before - sheet.log_starts[after]
    is_scored = sheet.scored.copy()
    is_scored[after] = False
    sums = [
        replace(scored, nats=np.append(scored.nats[:-1], scored.nats[-1] + correction))
        for scored, correction in zip(passages, corrections, strict=True)
    ]
    return sums, np.concatenate([sheet.logprobs[is_scored], corrections])
