"""The table of groups that `gpt2eval run` prints, and `gpt2eval table --groups`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from gpt2eval.cli.options import OUTPUT, option
from gpt2eval.cli.output import print_styled
from gpt2eval.errors import UsageError
from gpt2eval.notices import notify

if TYPE_CHECKING:
    from gpt2eval.metrics.result import Result

WithGroups = Annotated[
    bool,
    option(
        OUTPUT,
        "--groups",
        text="Also print every group of documents, for terminal and markdown.",
        default=False,
    ),
]


def check_groups(form: str | None, *, score_only: bool) -> None:
    """Raise UsageError for `--groups` with output that has no place for groups."""
    from gpt2eval.report.group_text import FORMATS

    if score_only or form not in (None, *FORMATS):
        other = "--score-only" if score_only else f"--format {form}"
        raise UsageError(
            f"--groups: not with {other}; expected terminal or markdown, or groups.csv beside a "
            "result"
        )


def print_groups(
    results: "Sequence[Result]",
    form: str | None,
    *,
    complete: bool = False,
    places: int | None = None,
) -> None:
    """Print the groups of results below their table, or where a format without them leaves them.

    `complete` prints all groups of a result, otherwise those with the most bits.
    """
    from gpt2eval.report import group_text
    from gpt2eval.report.table import default_format

    form = form or default_format()
    if form not in group_text.FORMATS:
        if any(result.groups for result in results):
            notify(f"--format {form} has no groups; they are in groups.csv beside result.json")
        return
    most = None if complete else group_text.MOST
    text = group_text.groups_text(results, form, most=most, places=places)
    if text and form == "terminal":
        print_styled(f"\n{text}")
    elif text:
        print(f"\n{text}")
