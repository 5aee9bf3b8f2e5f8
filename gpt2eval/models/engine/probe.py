"""Ids for a probe of a model, and the tolerance within which two of its scores are equal."""

import numpy as np
import torch

from gpt2eval.types import Ids

HALF = (torch.bfloat16, torch.float16)


def spread_ids(count: int, vocabulary: int) -> Ids:
    """Return ids that are spread over the vocabulary."""
    return (np.arange(1, count + 1, dtype=np.int64) * 7919 % vocabulary).astype(np.int32)


def tolerance(dtype: torch.dtype) -> float:
    """Return by how many nats two log-probabilities of one token may differ in a dtype."""
    return 0.3 if dtype in HALF else 1e-4
