"""Encode the texts of a task with a backend."""

from collections.abc import Sequence

from gpt2eval.identity import EncodesMany
from gpt2eval.types import EncodesSpecials, Encoding, Model


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
