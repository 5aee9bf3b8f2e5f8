"""The columns for the share of a text's tokens that a protocol keeps.

Does not know how a table is written.
"""

from collections.abc import Mapping, Sequence

from gpt2eval.report.cells import Cell, Cells

KEPT_UNIT = "share of the text's tokens"


def kept_title(title: str) -> str:
    """Return the title of the column with the share of tokens that lie behind a column's numbers.

    >>> kept_title("PTB /mdlm")
    'PTB /mdlm kept'
    """
    return f"{title} kept"


def with_kept(titles: Sequence[str], cells: Cells) -> list[str]:
    """Return titles, each followed by that of its kept share if one of its numbers lacks tokens.

    A column that only repeats 100 % is left out.
    """
    shown: list[str] = []
    for title in titles:
        shown.append(title)
        if any(title in row and row[title].result.kept for row in cells.values()):
            shown.append(kept_title(title))
    return shown


def kept_shares(row: Mapping[str, Cell]) -> dict[str, float]:
    """Return the kept shares below 1 behind a row's numbers, by the title of their column."""
    return {
        kept_title(title): cell.result.kept.share for title, cell in row.items() if cell.result.kept
    }
