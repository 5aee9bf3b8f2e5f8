"""How far two models of the same tokenizer agree, token by token."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class TokenAgreement(NamedTuple):
    """Agreement of two models on the same tokens.

    Attributes:
        correlation: Pearson correlation of the log-probabilities; None if one is constant.
        mean_change: Mean of |p_second - p_first|, the probabilities of the text's tokens.
        top1: Share of tokens at which both or neither have the text's token as the most likely.
        tokens: Number of tokens.
    """

    correlation: float | None
    mean_change: float
    top1: float
    tokens: int


def token_agreement(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    first_greedy: NDArray[np.bool_],
    second_greedy: NDArray[np.bool_],
) -> TokenAgreement:
    """Return the agreement of two models' log-probabilities of the same tokens."""
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    varies = bool(np.ptp(one)) and bool(np.ptp(other))
    return TokenAgreement(
        float(np.corrcoef(one, other)[0, 1]) if varies else None,
        float(np.mean(abs(np.exp(other) - np.exp(one)))),
        float(np.mean(first_greedy == second_greedy)),
        len(one),
    )
