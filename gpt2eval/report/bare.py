"""The bare number of one result, for scripts: no table, no signature, no separators."""

from collections.abc import Sequence

from gpt2eval.config.suite_schema import Suite
from gpt2eval.errors import UsageError
from gpt2eval.metrics.result import Result
from gpt2eval.report.cells import choose, place
from gpt2eval.report.numbers import value_text

MOST_LISTED = 5


def bare_number(
    results: Sequence[Result],
    suite: Suite,
    *,
    columns: Sequence[str] = (),
    places: int | None = None,
) -> str:
    """Return the only number of a table, such as `23.11`; `inf` if it is infinite.

    Args:
        results: The results.
        suite: The suite with the columns of the table.
        columns: Titles or tasks to choose from; by default all.
        places: Its decimals; by default those of the table.

    Raises:
        UsageError: The table has several numbers, or none.
    """
    cells, _ = choose(place(results, suite), columns, suite)
    numbers = [
        (f"{title} of {name.text()}", cell.metric)
        for name, row in cells.items()
        for title, cell in row.items()
    ]
    if len(numbers) != 1:
        shown = ", ".join(name for name, _ in numbers[:MOST_LISTED])
        more = ", ..." if len(numbers) > MOST_LISTED else ""
        raise UsageError(
            f"--score-only: {len(numbers)} numbers: {shown}{more}; expected one; "
            "'gpt2eval table RESULTS --columns TITLE --score-only' chooses a column"
        )
    metric = numbers[0][1]
    if metric.value == float("inf"):
        return "inf"
    return value_text(metric.value, metric.name, places).replace(",", "")
