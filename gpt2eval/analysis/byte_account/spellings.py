"""What the tokens of texts stand for, as their model states it."""

from collections.abc import Iterable, Mapping

import numpy as np

from gpt2eval.errors import UsageError
from gpt2eval.identity import EndsText, Spelling, SpellsTokens
from gpt2eval.models import identified
from gpt2eval.types import Ids, Model


def spellings(model: Model, ids: Iterable[Ids]) -> tuple[Mapping[int, Spelling], str]:
    """Return what each token of some texts stands for, and a problem or "".

    The tokens that begin and end a text count as special ones. The problem is that the model does
    not state the bytes of its tokens, or of one of them.

    Raises:
        UsageError: A backend states something else than a `Spelling`.
    """
    name = identified.identity_of(model).name
    if not isinstance(model, SpellsTokens):
        return (
            {},
            f"the backend of {name} has no spelling(), so the bytes of its tokens are unknown",
        )
    around = {model.start, model.end if isinstance(model, EndsText) else None}
    known: dict[int, Spelling] = {}
    used: list[int] = np.unique(np.concatenate([*ids, np.empty(0, np.int32)])).tolist()
    for token in used:
        spelling = model.spelling(token)
        if spelling is None:
            return {}, f"the tokenizer of {name} does not state the bytes of token {token}"
        if not isinstance(spelling, Spelling) or not isinstance(spelling.raw, bytes):
            raise UsageError(
                f"model {name}: its spelling({token}) returned {spelling!r:.60}; expected a "
                "gpt2eval.identity.Spelling, with its bytes, or None"
            )
        known[token] = spelling._replace(is_special=spelling.is_special or token in around)
    return known, ""
