"""A result together with what its journal keeps of it: tallies, clusters and tokens.

Everything that compares, exports or shows results in more detail than a table begins here. No model
runs, and no text is read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpt2eval.data.grouping import Grouping, read_grouping
from gpt2eval.errors import UsageError
from gpt2eval.metrics.clusters import Clusters
from gpt2eval.metrics.result import Result
from gpt2eval.report.result_file import paths_in, read_result
from gpt2eval.scoring import journal
from gpt2eval.scoring.run_files import RunFiles
from gpt2eval.scoring.token_table import TokenTable
from gpt2eval.types import Tally
from gpt2eval.version import __version__


@dataclass(frozen=True, slots=True)
class Measured:
    """A result, its tallies (one per record, or per part of a single text) and their clusters.

    `path` is the result's file.
    """

    result: Result
    parts: Sequence[Tally]
    independent: Clusters
    path: Path
    files: RunFiles

    def tokens(self) -> TokenTable:
        """Return one row per scored token. Raises UsageError if the journal lacks them."""
        table = self.files.read_tokens()
        if table is None:
            raise UsageError(f"{self.path}: no token table in its journal; {_remedy(self.result)}")
        return table

    def grouping(self) -> Grouping | None:
        """Return the group of each record, if the text has groups."""
        return read_grouping(self.files)

    def word_starts(self) -> Mapping[str, np.ndarray] | None:
        """Return `log_starts` and `starts_word` of each token, if the run kept them.

        `log_starts` is the log-probability, in the token's place, of all tokens that begin a word;
        `starts_word` is whether the token is one of them.
        """
        return self.files.read_word_starts()


def _remedy(result: Result) -> str:
    """Return how to get what the journal of a result lacks.

    A journal belongs to one version, so another version's run scores the text again.
    """
    remedy = "repeat its 'gpt2eval run' with the same --out"
    if result.version == __version__:
        return f"{remedy}; no token is scored again"
    return f"{remedy}; {__version__} scores again what {result.version or 'another'} has scored"


def tallies(path: Path, result: Result) -> list[Tally] | None:
    """Return the tallies of the result in a file; None if its journal lacks them or has others."""
    files = _files(path)
    found = files and files.read_tallies()
    return found if found and Tally.total(found) == result.tally else None


def _files(path: Path) -> RunFiles | None:
    """Return what the journal beside a result's file keeps; None without a journal."""
    run_journal = journal.of_folder(path.parent / "journal")
    return run_journal and run_journal.files


def read_measured(*places: Path | str) -> list[Measured]:
    """Read results with their tallies and clusters from files and folders, in the order given.

    Args:
        places: result.json files, or folders with such files at any depth.

    Raises:
        UsageError: A place has no result, a result cannot be read, or its journal is absent, or is
            that of another run.
    """
    paths: dict[Path, None] = {}
    for place in map(Path, places):
        paths |= dict.fromkeys(paths_in(place))
    return [_measured(path) for path in paths]


def _measured(path: Path) -> Measured:
    result = read_result(path)
    files = _files(path)
    parts = tallies(path, result)
    arrays = files and files.read_clusters()
    independent = Clusters.of(arrays) if arrays else None
    if files is None or parts is None or independent is None:
        reason = "its journal has no scores of its records"
        raise UsageError(f"{path}: {reason}; {_remedy(result)}")
    return Measured(result, parts, independent, path, files)
