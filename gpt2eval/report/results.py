"""A list of results that a person can read and a program can index."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

from gpt2eval.config.catalog import PAPER
from gpt2eval.config.loader import load_suite
from gpt2eval.errors import UsageError, unknown
from gpt2eval.metrics.result import Result
from gpt2eval.report.escape import visible

if TYPE_CHECKING:
    import pandas as pd

    from gpt2eval.report.comparison.compare import Comparison
    from gpt2eval.report.measured import Measured


class Results(Sequence[Result]):
    """Results in the order of measurement: a sequence that task names index too.

    `print(results)` shows the table, with the published figures below; a notebook shows it as HTML.

    Examples:
        >>> from gpt2eval import demo, evaluate
        >>> results = evaluate("toy:uniform-bytes", "text8", data=demo.data())
        >>> round(results["text8"].bpc, 9)
        8.0
    """

    def __init__(
        self,
        results: Iterable[Result],
        *,
        paths: Sequence[Path | None] = (),
        suite: str = PAPER,
        include: Sequence[Path] = (),
    ) -> None:
        """Store results.

        Args:
            results: The results.
            paths: The file of each result, None for one that has none; by default none has.
            suite: Suite whose columns the table has.
            include: Folders with your own suites.
        """
        self._results = tuple(results)
        self._paths = tuple(paths) or (None,) * len(self._results)
        self._suite = suite
        self._include = tuple(include)

    def __len__(self) -> int:
        return len(self._results)

    @overload
    def __getitem__(self, key: int | str) -> Result: ...
    @overload
    def __getitem__(self, key: slice) -> "Results": ...
    def __getitem__(self, key: int | str | slice) -> "Result | Results":
        """Return a result by its position or its task, such as `wikitext103/s32`.

        Raises UsageError for a task that was not measured, and for one measured on several models.
        """
        if isinstance(key, slice):
            return Results(
                self._results[key],
                paths=self._paths[key],
                suite=self._suite,
                include=self._include,
            )
        if isinstance(key, int):
            return self._results[key]
        matches = [result for result in self if result.full_name == key]
        if not matches:
            raise unknown("task", key, {result.full_name for result in self})
        if len(matches) > 1:
            raise UsageError(f"{key}: {len(matches)} results; expected a position instead")
        return matches[0]

    def __contains__(self, item: object) -> bool:
        """Return whether a result, or a task of that name, is among the results."""
        return item in self._results or any(result.full_name == item for result in self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Results) and self._results == other._results

    __hash__ = None  # type: ignore[assignment]

    def measured(self) -> "list[Measured]":
        """Return each result with what the journal beside its file keeps of its records.

        Raises:
            UsageError: A result is not from a file, or its journal is absent.
        """
        from gpt2eval.report.measured import read_measured

        found: list[Measured] = []
        for result, path in zip(self, self.paths, strict=True):
            if path is None:
                raise UsageError(
                    f"{result.full_name}, {result.model.name}: its records are not on disk; "
                    "expected results of read_results(FOLDER), or of evaluate(..., out=FOLDER)"
                )
            found += read_measured(path)
        return found

    def compare(
        self,
        *others: "Results",
        margin: str | None = None,
        tasks: str | Sequence[str] = (),
        metrics: str | Sequence[str] = (),
    ) -> "Comparison":
        """Compare other models with this one, the baseline, record by record on the same text.

        Needs the files that a run writes beside its results. No model runs.

        Args:
            others: Results of one other model each.
            margin: Largest difference without importance, such as `1%` or `1%,0.5pt`.
            tasks: Only these tasks, or this one; by default all that the models have in common.
            metrics: Only these metrics, or this one; by default a task's first and its first
                accuracy.

        Raises:
            UsageError: The protocols or the data of two results differ, there is no task in
                common, or the records of a result are not on disk.

        Examples:
            >>> import tempfile
            >>> from gpt2eval import demo, evaluate
            >>> with tempfile.TemporaryDirectory() as out:
            ...     bytes_, letters = (
            ...         evaluate(f"toy:{name}", "text8", data=demo.data(), out=out)
            ...         for name in ("uniform-bytes", "unigram")
            ...     )
            ...     bytes_.compare(letters).duels[0].verdict
            'better'
        """
        from gpt2eval.report.comparison.compare import compare

        tasks = [tasks] if isinstance(tasks, str) else tasks
        metrics = [metrics] if isinstance(metrics, str) else metrics
        return compare([self, *others], margin=margin, tasks=tasks, metrics=metrics)

    @property
    def paths(self) -> tuple[Path | None, ...]:
        """The file of each result; None for a result that is not on disk."""
        return self._paths

    def to_frame(self) -> "pd.DataFrame":
        """Return a tidy pandas table: one row per model, task and metric."""
        from gpt2eval.report.tidy import tidy

        return tidy(self)

    def groups(self) -> "pd.DataFrame":
        """Return a pandas table of the groups of all results: a row per group and average.

        `kind` is `group`, `micro` (all documents together) or `macro` (the groups' unweighted
        mean). It is empty if no result has groups.
        """
        from gpt2eval.report.group_rows import group_frame

        return group_frame(self)

    def _rendered(self, form: str) -> str:
        from gpt2eval.report.table import render

        return render(self, load_suite(self._suite, self._include), form, mixed=True)

    def __str__(self) -> str:
        """Return the table: in terminal layout if stdout is a terminal, else as Markdown."""
        from gpt2eval.report.table import default_format

        return self._rendered(default_format()) if self else "no results"

    def __repr__(self) -> str:
        return f"<Results: {', '.join(visible(r.full_name) for r in self) or 'none'}>"

    def _repr_html_(self) -> str:
        """Return the table as HTML for a notebook, with the signatures and notes below it."""
        from gpt2eval.report.table import page

        return page(self, load_suite(self._suite, self._include)) if self else "<p>no results</p>"
