"""The page about results: what each section shows, and the budget of bytes."""

from collections.abc import Mapping, Sequence
from typing import Any

from gpt2eval.config.suite_schema import Suite
from gpt2eval.report.page.calibration import calibration_section
from gpt2eval.report.page.losses import loss_section
from gpt2eval.report.page.markup import document
from gpt2eval.report.page.sizes import size_section
from gpt2eval.report.page.sources import NO_SCORES, Group, Source, groups, overview
from gpt2eval.report.page.surprisal import FindTexts, surprisal_section
from gpt2eval.report.page.table_section import table_section
from gpt2eval.report.strict_json import finite
from gpt2eval.version import __version__

LARGEST = 5_000_000  # bytes of a page
MARGIN = 100_000  # of them, what is left for safety


def page(
    sources: Sequence[Source],
    suite: Suite,
    find_texts: FindTexts,
    *,
    sizes: Mapping[str, float] | None = None,
    title: str = "gpt2eval report",
    largest: int = LARGEST,
) -> str:
    """Return a self-contained HTML page about results; equal results give equal pages.

    Sections: the table with intervals and signatures; scores against sizes; the loss by position
    and by the frequency of tokens; how often answers of a probability are right; and the text,
    coloured by bits per byte. Passages fill what the other sections leave of the page.

    Args:
        sources: The results, from `sources.read_sources`.
        suite: The columns of the table, and the published figures.
        find_texts: Returns the published text of a result by record and choice; where it raises
            UsageError, the page lacks the text of that task and shows the error instead.
        sizes: Numbers of weights by the names of models, for models whose shape and name do not
            tell it.
        title: Title of the page.
        largest: Most bytes of the page, if it has room for the other sections.
    """
    shown = overview(sources, suite)
    tasks = groups(shown.sources, shown.titles)
    content: dict[str, Any] = {
        "title": title,
        "version": __version__,
        "suite": suite.title,
        "models": [*dict.fromkeys(one.label for one in shown.sources)],
        "table": table_section(shown, suite),
        "sizes": size_section(shown, suite, sizes or {}),
        "losses": loss_section(tasks),
        "calibration": calibration_section(tasks),
        "missing": _missing(tasks),
        "texts": [],
    }
    content = finite(content)
    used = len(document(title, content).encode())
    content["texts"] = surprisal_section(tasks, find_texts, largest - MARGIN - used)
    return document(title, content)


def _missing(tasks: Sequence[Group]) -> list[str]:
    """Return a line per model with the tasks that the page has in its table only."""
    titles: dict[str, list[str]] = {}
    for task in tasks:
        for label in task.missing:
            titles.setdefault(label, []).append(task.title)
    return [
        f"{label}, in the table only: {', '.join(listed)} ({NO_SCORES})"
        for label, listed in titles.items()
    ]
