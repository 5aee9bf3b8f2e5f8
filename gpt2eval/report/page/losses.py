"""Where the bits are lost: by position in the context, and by the frequency of the token."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpt2eval.report.page.sources import Group
from gpt2eval.scoring.token_table import TokenTable

LN2 = float(np.log(2.0))
Bin = dict[str, Any]


def loss_section(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Return the bins of every task and model; of a question's choices, only the right one."""
    return [
        {
            "name": group.name,
            "title": group.title,
            "whole": group.sources[0].source.result.protocol.ask == "everything",
            "models": [
                {
                    "label": one.label,
                    "position": by_position(one.source.tokens),
                    "frequency": by_frequency(one.source.tokens),
                }
                for one in group.sources
                if one.source.tokens is not None
            ],
        }
        for group in groups
        if group.sources
    ]


def by_position(tokens: TokenTable) -> list[Bin]:
    """Return the loss by the number of tokens that the model saw before, in powers of two."""
    scored = tokens.select(tokens.is_right)
    return _bins(scored, np.maximum(scored.context, 1))


def by_frequency(tokens: TokenTable) -> list[Bin]:
    """Return the loss by how often a token occurs among the scored tokens, in powers of two."""
    scored = tokens.select(tokens.is_right)
    _, which, counts = np.unique(scored.id, return_inverse=True, return_counts=True)
    return _bins(scored, counts[which])


def _bins(tokens: TokenTable, numbers: np.ndarray) -> list[Bin]:
    """Return the sums of the tokens whose number is in [2^k, 2^(k+1)), for every such k."""
    # frexp is exact where a logarithm could round across a power of two
    powers = np.frexp(numbers.astype(np.float64))[1] - 1
    size = int(powers.max(initial=0)) + 1
    weights = tokens.weight.astype(np.float64)

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(powers, weights=values * weights, minlength=size)

    bits = total(-tokens.logprob.astype(np.float64) / LN2)
    in_bytes = total((tokens.end - tokens.begin).astype(np.float64))
    scored = total(np.ones(len(tokens)))
    return [
        {
            "low": 2**power,
            "high": 2 ** (power + 1) - 1,
            "tokens": round(float(scored[power]), 3),
            "bytes": round(float(in_bytes[power]), 3),
            "bits": round(float(bits[power]), 3) if np.isfinite(bits[power]) else None,
        }
        for power in range(size)
        if scored[power] > 0
    ]
