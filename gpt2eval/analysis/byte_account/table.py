"""Check which tokens the rows of a token table are of, and their scores."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gpt2eval.scoring.sheet import Sheet
from gpt2eval.scoring.token_table import TokenTable
from gpt2eval.types import Encoded

Columns = Mapping[str, NDArray[np.generic]]


def expected_columns(
    encoded: Sequence[Encoded], tokens: Sequence[NDArray[np.int64]], sheet: Sheet
) -> Columns:
    """Return what a table must hold besides bytes: the scored tokens, and their scores.

    `tokens` are the indexes of the scored tokens of each passage.
    """
    counts = [len(one) for one in tokens]
    passages = [one.passage for one in encoded]
    places = np.concatenate([sheet.starts[n] + one for n, one in enumerate(tokens)])
    ids = [one.ids[scored] for one, scored in zip(encoded, tokens, strict=True)]
    return {
        "record": np.repeat([passage.record for passage in passages], counts),
        "choice": np.repeat([passage.choice for passage in passages], counts),
        "id": np.concatenate(ids),
        "logprob": sheet.logprobs[places].astype(np.float32),
        "weight": sheet.weights[places].astype(np.float32),
    }


def wrong_columns(table: TokenTable, expected: Columns) -> tuple[int, str] | None:
    """Return the first row that is not the expected one, and a problem; None if all are."""
    length = len(expected["id"])
    count = min(len(table), length)
    differs = np.zeros(count, np.bool_)
    for name, column in expected.items():
        differs |= getattr(table, name)[:count] != column[:count]
    if differs.any():
        row = int(np.argmax(differs))
        found = {name: getattr(table, name)[row] for name in expected}
        problems = [
            f"{name} {found[name]}, expected {column[row]}"
            for name, column in expected.items()
            if found[name] != column[row]
        ]
        return row, f"the token table has {'; '.join(problems)}"
    if len(table) == length:
        return None
    return (
        min(count, length - 1),
        f"the token table has {len(table):,} rows; the windows score {length:,} tokens",
    )
