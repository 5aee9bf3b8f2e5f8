"""Encode the texts of a task with a backend."""

from collections.abc import Sequence

import numpy as np

from gpt2eval.identity import EncodesMany
from gpt2eval.types import Encoded, EncodesSpecials, Encoding, Model, Passage


def encode_texts(model: Model, texts: Sequence[str], *, specials: bool) -> list[Encoding]:
    """Return the encoding of each text; with `specials`, `<unk>` and the like are read as tokens.

    Batches are sorted by length, so the first one needs the tokens of every text: nothing can be
    scored meanwhile. A backend that encodes many texts at once makes up for it.
    """
    if specials and isinstance(model, EncodesSpecials):
        return [model.encode_specials(text) for text in texts]
    if isinstance(model, EncodesMany):
        return model.encode_batch(texts)
    return [model.encode(text) for text in texts]


def with_token_before(passage: Passage, encoding: Encoding, token: int | None) -> Encoded:
    """Return a passage with its tokens, after a token that stands for no text, if there is one."""
    prefix = np.array([] if token is None else [token], np.int32)
    ids = np.concatenate([prefix, encoding.ids])
    return Encoded(passage, ids, np.concatenate([0 * prefix, encoding.ends]))
