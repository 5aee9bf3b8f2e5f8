"""Results: the numbers of one task on one model, and everything that decided them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from gpt2eval.types import Tally


class Metric(NamedTuple):
    """A number: its name, value, 95 % interval (None where there are too few parts), the unit and how many there were."""

    name: str
    value: float
    low: float | None
    high: float | None
    unit: str
    units: int


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric with its signature."""

    metric: Metric
    signature: str


class Figures(NamedTuple):
    """Published figures of one metric: who published them, and a value per row of their table."""

    source: str
    metric: str
    rows: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Result:
    """One task measured on one model: the numbers, the sums they come from, and everything that decided them.

    `nll_sha256` is over all scored tokens' log-probabilities (float32, little-endian, in the order of the texts);
    `row` is the model's row in the published table, where the shape of its weights is that of a published model.
    """

    task: str
    variant: str
    title: str
    metrics: tuple[Measured, ...]
    tally: Tally
    nll_sha256: str
    model: Mapping[str, str]
    data: Mapping[str, str | bool]
    detokenizer: Mapping[str, int | str]
    protocol: Mapping[str, str | int | None]
    published: tuple[Figures, ...]
    row: str
    version: str

    @property
    def full_name(self) -> str:
        """`task` or `task/variant`."""
        return f"{self.task}/{self.variant}" if self.variant else self.task

    def figure(self, metric: str, row: str) -> tuple[float, str] | None:
        """The published figure of a metric in a row, and its source: the first that has it."""
        return next(
            (
                (f.rows[row], f.source)
                for f in self.published
                if f.metric == metric and row in f.rows
            ),
            None,
        )
