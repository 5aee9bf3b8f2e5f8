"""A LaTeX table: booktabs, right-aligned numbers, a rule before the published rows.

The table is never wider than the text.
"""

from collections.abc import Sequence
from itertools import pairwise

from gpt2eval.report.escape import latex
from gpt2eval.report.rows import Row


def latex_table(
    rows: Sequence[Row], columns: Sequence[str], below: Sequence[str] = (), *, first: str = "model"
) -> str:
    """Return rows as a LaTeX table that shrinks to the width of the text, and lines below it.

    Numbers that are marked as the best are bold. `first` is the title of the column of labels.
    """
    head = [rf"\textbf{{{latex(first)}}}", *(_title(title) for title in columns)]
    lines = [
        r"% \usepackage{booktabs, adjustbox}",
        r"\begin{adjustbox}{max width=\textwidth}",
        rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
        r"\toprule",
        _line(head),
        r"\midrule",
    ]
    for row, following in pairwise([*rows, None]):
        assert row is not None
        lines.append(_line([latex(row.label), *(_number(row, title) for title in columns)]))
        if following is not None and (row.kind == "ours") != (following.kind == "ours"):
            lines.append(r"\midrule")
    notes = [rf"\par{{\footnotesize {latex(line)}\par}}" for line in below]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{adjustbox}", *notes])


def _number(row: Row, title: str) -> str:
    text = latex(row.values.get(title, ""))
    return rf"\textbf{{{text}}}" if title in row.best else text


def _title(title: str) -> str:
    """Return a column's title with a word per line, which keeps the column narrow."""
    words = [latex(word) for word in title.split()]
    if len(words) == 1:
        return words[0]
    return r"\shortstack[r]{" + r" \\ ".join(words) + "}"


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
