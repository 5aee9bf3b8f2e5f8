"""The results that a page shows, with the label of each and what its journal keeps of it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from gpt2eval.config.suite_schema import Suite
from gpt2eval.errors import UsageError
from gpt2eval.metrics.result import Result
from gpt2eval.notices import notify
from gpt2eval.report import store
from gpt2eval.report.cells import Cells, column_titles, place
from gpt2eval.report.escape import visible, visible_in
from gpt2eval.report.labels import RowName, short_names
from gpt2eval.report.measured import Measured, read_measured
from gpt2eval.scoring.token_table import TokenTable

OWN_TEXT = "text"  # the task of a text of one's own; its variant is its name and a digest
# What the page says; the notice has the path, which is nobody else's business.
NO_SCORES = "no scores of tokens in the journal; repeat the 'gpt2eval run' with the same --out"


class Source(NamedTuple):
    """A result, and its token table; without a table, the reason.

    `result` is for people: its unseen characters are escaped.
    """

    result: Result
    measured: Measured | None
    tokens: TokenTable | None
    missing: str


class Labelled(NamedTuple):
    """A source and the label of its model, which names a row of the table."""

    label: str
    source: Source


class Overview(NamedTuple):
    """The cells of the table, its columns, its row labels, and the sources in the order of rows."""

    cells: Cells
    titles: Sequence[str]
    label: Callable[[RowName], str]
    sources: Sequence[Labelled]


def read_sources(*places: Path | str) -> list[Source]:
    """Read results from files and folders, in the order given.

    A result whose journal has no scores is kept for the table; one notice says so.

    Raises:
        UsageError: A place has no result, or a result cannot be read.
    """
    paths: dict[Path, None] = {}
    for found in map(Path, places):
        paths |= dict.fromkeys(store.paths_in(found))
    sources = [_read(path) for path in paths]
    incomplete = [path for path, source in zip(paths, sources, strict=True) if source.missing]
    if incomplete:
        number = f"{len(incomplete)} result{'' if len(incomplete) == 1 else 's'}"
        notify(f"{number} in the table only, such as {incomplete[0]}: {NO_SCORES}")
    return sources


def _read(path: Path) -> Source:
    result = visible_in(store.read_result(path))
    try:
        (measured,) = read_measured(path)
        return Source(result, measured, measured.tokens(), "")
    except UsageError:
        return Source(result, None, None, NO_SCORES)


def overview(sources: Sequence[Source], suite: Suite) -> Overview:
    """Place results in the table; copies of one measurement share a cell, and one source."""
    results = [source.result for source in sources]
    cells = place(results, suite)
    short_of = short_names([result.model for result in results])
    names = {visible(name): visible(label) for name, label in short_of.items()}

    def label(name: RowName) -> str:
        return name.text(names)

    by_result = {id(source.result): source for source in sources}
    shown: dict[int, Labelled] = {}
    for name, row in cells.items():
        for cell in row.values():
            key = id(cell.result)
            shown.setdefault(key, Labelled(label(name), by_result[key]))
    return Overview(cells, column_titles(cells, suite), label, [*shown.values()])


class Group(NamedTuple):
    """The results of one task on one text: those with token tables, and the labels of others."""

    name: str
    title: str
    sources: Sequence[Labelled]
    missing: Sequence[str]

    @property
    def is_whole(self) -> bool:
        """Whether the complete text is scored, and not only an answer or a choice."""
        return self.sources[0].source.result.protocol.ask == "everything"


def groups(sources: Sequence[Labelled], titles: Sequence[str]) -> list[Group]:
    """Return the results of each task and text, in the order of the table's columns."""
    by_text: dict[tuple[str, str, int | None], list[Labelled]] = {}
    for one in sources:
        result = one.source.result
        key = (result.full_name, result.data.sha256, result.protocol.limit)
        by_text.setdefault(key, []).append(one)
    shown = {key: _title(members[0].source.result) for key, members in by_text.items()}
    digests: dict[str, set[str]] = {}
    for key, title in shown.items():
        digests.setdefault(title, set()).add(key[1])
    made: list[Group] = []
    for key, members in by_text.items():
        name, digest, limit = key
        title = shown[key]
        # What distinguishes a text from the others of its title.
        parts = [digest[:8]] if len(digests[title]) > 1 else []
        parts += [f"first {limit}"] if limit and [*shown.values()].count(title) > 1 else []
        note = ", ".join(parts)
        made.append(
            Group(
                name,
                f"{title} ({note})" if note else title,
                [one for one in members if one.source.tokens is not None],
                [one.label for one in members if one.source.missing],
            )
        )
    return sorted(made, key=lambda group: _rank(group.title, titles))


def _title(result: Result) -> str:
    """Return the title of a task with its variant; a text of one's own has its file's name."""
    is_plain = not result.variant or result.task == OWN_TEXT
    return result.title if is_plain else f"{result.title} /{result.variant}"


def _rank(title: str, titles: Sequence[str]) -> int:
    """Return the number of the first column whose title begins with a task's title."""
    numbers = (number for number, column in enumerate(titles) if column.startswith(title))
    return next(numbers, len(titles))
