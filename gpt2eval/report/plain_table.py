"""Rows as an aligned table of plain text, for a terminal. Knows no results."""

import re
from collections.abc import Mapping, Sequence

from tabulate import tabulate

from gpt2eval.report.escape import visible

NUMBER = re.compile(r"[+-]?[\d,.]*(e[+-]\d+)?")


def plain_table(rows: Sequence[Mapping[str, object]]) -> str:
    """Return rows as a table; the keys of the first are its head. Unseen characters are escaped.

    Columns of numbers are aligned to the right.

    >>> print(plain_table([{"kind": "word", "bits": "+1.5"}, {"kind": "URL", "bits": "-10.25"}]))
    kind      bits
    ------  ------
    word      +1.5
    URL     -10.25
    """
    texts = [{key: visible(str(value)) for key, value in row.items()} for row in rows]
    align = [
        "right" if all(NUMBER.fullmatch(row[key]) for row in texts) else "left" for key in texts[0]
    ]
    return tabulate(texts, "keys", "simple", disable_numparse=True, colalign=align)
