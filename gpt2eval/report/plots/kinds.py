"""The kinds of plots: what each reads, and how it is drawn."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from gpt2eval.config.catalog import PAPER
from gpt2eval.config.loader import load_suite
from gpt2eval.errors import UsageError, unknown
from gpt2eval.notices import notify
from gpt2eval.report.comparison.compare import compare
from gpt2eval.report.measured import Measured, read_measured
from gpt2eval.report.model_sizes import parse_sizes
from gpt2eval.report.plots import curves, forest, profiles, sizes
from gpt2eval.report.score_by_size import columns_by_size
from gpt2eval.report.store import paths_in, read_result, read_results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Kind = Literal["size", "position", "frequency", "curve", "compare"]
Drawing = Callable[[], "Figure"]


def drawing(
    kind: str,
    places: Sequence[Path | str],
    *,
    suite: str = PAPER,
    include: Sequence[Path] = (),
    columns: Sequence[str] = (),
    mixed: bool = False,
    stated: Sequence[str] = (),
) -> Drawing:
    """Read results and return a function that draws them.

    Args:
        kind: size, position, frequency, curve or compare.
        places: result.json files, or folders with such files at any depth; for `compare` one for
            each model, the baseline first.
        suite: The suite with the columns and published rows of `size`.
        include: Folders with suites of your own.
        columns: Columns of `size`, or tasks of the other kinds; by default all.
        mixed: Allows numbers of different protocols in one panel of `size`.
        stated: Sizes of models as `MODEL=135M`.

    Raises:
        UsageError: The kind is unknown, a result cannot be read, or there is nothing to draw.
    """
    if kind not in get_args(Kind):
        raise unknown("kind of plot", kind, get_args(Kind))
    if kind == "size":
        shown = columns_by_size(
            read_results(*places),
            load_suite(suite, include),
            columns=columns,
            sizes=parse_sizes(stated),
            mixed=mixed,
        )
        return lambda: sizes.draw(shown)
    if kind == "curve":
        return _curves(places, columns)
    if kind == "compare":
        contest = compare([read_results(place) for place in places], tasks=columns)
        forest.panels(contest)  # so that nothing to draw is an error now
        return lambda: forest.draw(contest)
    return _profiles(kind, places, columns)


def _curves(places: Sequence[Path | str], tasks: Sequence[str]) -> Drawing:
    results = read_results(*places)
    names = _chosen([result.full_name for result in results], tasks)
    points = curves.points_of(result for result in results if result.full_name in names)
    if not points:
        raise UsageError(
            "no result states a training step; expected results of 'gpt2eval watch', or of models "
            "named like RUN/checkpoint-500"
        )
    return lambda: curves.draw(points)


def _profiles(kind: str, places: Sequence[Path | str], tasks: Sequence[str]) -> Drawing:
    profile = profiles.POSITION if kind == "position" else profiles.FREQUENCY
    measured = _with_scores(places)
    names = _chosen([one.result.full_name for one in measured], tasks)
    panels = profiles.panels([one for one in measured if one.result.full_name in names], profile)
    return lambda: profiles.draw(panels, profile)


def _with_scores(places: Sequence[Path | str]) -> list[Measured]:
    """Return the results whose journals have scores; a notice names the others.

    Raises:
        UsageError: A result cannot be read, or none has scores.
    """
    found: list[Measured] = []
    lacking: list[UsageError] = []
    for path in dict.fromkeys(path for place in map(Path, places) for path in paths_in(place)):
        read_result(path)
        try:
            found += read_measured(path)
        except UsageError as error:
            lacking.append(error)
    if not found and lacking:
        raise lacking[0]
    for error in lacking:
        notify(f"left out: {error}")
    return found


def _chosen(present: Sequence[str], tasks: Sequence[str]) -> set[str]:
    """Return the tasks to show; all by default. Raises UsageError for one without a result."""
    for name in tasks:
        if name not in present:
            raise unknown("task", name, {*present})
    return {*(tasks or present)}
