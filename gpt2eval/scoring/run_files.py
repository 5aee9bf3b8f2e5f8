"""What is kept of a finished run beside its chunks: tallies, clusters, token table, start loss.

Each file is derived from the chunks or measured once, and is named by the journal's key.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from gpt2eval.scoring import tally_columns
from gpt2eval.scoring.array_files import has_rows, read_arrays, write_arrays, write_rows
from gpt2eval.scoring.token_rows import TokenRows
from gpt2eval.scoring.token_table import TokenTable
from gpt2eval.types import Tally


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of a finished run in a journal's folder; each is absent or complete."""

    folder: Path
    key: str

    def path(self, kind: str) -> Path:
        """Return the path of a file: `tallies`, `clusters`, `tokens`, `starts` or `start`."""
        return self.folder / f"{self.key}.{kind}"

    def write_tallies(self, tallies: Sequence[Tally]) -> None:
        """Write the tallies of the run: one row per part of a stream, or per record."""
        write_arrays(self.path("tallies"), tally_columns.columns(tallies))

    def read_tallies(self) -> list[Tally] | None:
        """Return the tallies of the run, or None if they are absent, corrupt or incomplete."""
        arrays = read_arrays(self.path("tallies"))
        return None if arrays is None else tally_columns.tallies(arrays)

    def write_clusters(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Write what the tallies' interval takes to be independent; see `clusters.Clusters`."""
        write_arrays(self.path("clusters"), arrays)

    def read_clusters(self) -> Mapping[str, np.ndarray] | None:
        """Return what `write_clusters` wrote, or None if it is absent or corrupt."""
        return read_arrays(self.path("clusters"))

    def write_tokens(self, tokens: TokenTable) -> None:
        """Write one row per scored token."""
        write_arrays(self.path("tokens"), tokens.arrays())

    def write_token_rows(self, rows: TokenRows) -> None:
        """Write one row per scored token, block by block."""
        write_rows(self.path("tokens"), rows.types(), rows.count(), rows.blocks())

    def has_tokens(self) -> bool:
        """Return whether `read_tokens` would return a table."""
        return has_rows(self.path("tokens"), [field.name for field in fields(TokenTable)])

    def read_tokens(self) -> TokenTable | None:
        """Return the token table, or None if it is absent, corrupt or incomplete."""
        arrays = read_arrays(self.path("tokens"))
        return None if arrays is None else TokenTable.of(arrays)

    def write_word_starts(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Write, for each row of the token table, the mass of the tokens that begin a word."""
        write_arrays(self.path("starts"), arrays)

    def read_word_starts(self) -> Mapping[str, np.ndarray] | None:
        """Return what `write_word_starts` wrote; None if it is absent, corrupt or incomplete."""
        arrays = read_arrays(self.path("starts"))
        return arrays if arrays and arrays.keys() >= {"log_starts", "starts_word"} else None

    def write_start_loss(self, loss: float) -> None:
        """Write the nats per token that the model loses without its start token."""
        write_arrays(self.path("start"), {"loss": np.array([loss])})

    def read_start_loss(self) -> float | None:
        """Return the loss that an earlier run wrote, or None if it is absent or corrupt."""
        arrays = read_arrays(self.path("start"))
        return float(arrays["loss"][0]) if arrays else None
