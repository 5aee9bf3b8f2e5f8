"""The result of one task on one model: its metrics, and everything that decides them."""

from collections.abc import Mapping
from dataclasses import dataclass

from gpt2eval.metrics.protocol import ProtocolFields
from gpt2eval.types import ModelIdentity, Tally

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric before it has a signature: its value, 95 % interval, denominator and the denominator's count."""

    name: str
    value: float
    interval: Interval | None
    unit: str
    units: int

    def signed(self, signature: str) -> "MetricValue":
        """Return the metric with its signature."""
        return MetricValue(self.name, self.value, self.interval, self.unit, self.units, signature)


@dataclass(frozen=True, slots=True)
class MetricValue:
    """A metric of a result.

    `interval` is the 95 % interval, or None where there are too few parts to estimate one. `unit` is the
    denominator and `units` its count. `signature` states the protocol and the model in one line.
    """

    name: str
    value: float
    interval: Interval | None
    unit: str
    units: int
    signature: str


@dataclass(frozen=True, slots=True)
class Figures:
    """Published figures of one metric: their source, and a value per row of its table."""

    source: str
    metric: str
    rows: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class DataIdentity:
    """The text of a task: its SHA-256, whether that is the published one's, and where the text comes from."""

    sha256: str
    published: bool
    origin: str


@dataclass(frozen=True, slots=True)
class RoundTripCounts:
    """What the detokenizer did: lines read and changed, edits, edits dropped, and edits kept despite a failed round trip."""

    lines: int
    changed: int
    edits: int
    dropped: int
    kept: int


@dataclass(frozen=True, slots=True)
class Result:
    """One task measured on one model.

    `nll_sha256` is the hash of all scored tokens' log-probabilities (float32, little-endian, in text order).
    `row` is the model's row in the published table, or "" where its shape matches none.
    """

    task: str
    variant: str
    title: str
    metrics: Mapping[str, MetricValue]
    tally: Tally
    nll_sha256: str
    model: ModelIdentity
    data: DataIdentity
    detokenizer: RoundTripCounts
    protocol: ProtocolFields
    published: tuple[Figures, ...]
    row: str
    version: str

    @property
    def full_name(self) -> str:
        """`task` or `task/variant`."""
        return f"{self.task}/{self.variant}" if self.variant else self.task

    @property
    def primary(self) -> MetricValue:
        """The task's first metric."""
        return next(iter(self.metrics.values()))

    @property
    def signature(self) -> str:
        """The signature of the task's first metric."""
        return self.primary.signature

    def figure(self, metric: str, row: str) -> tuple[float, str] | None:
        """Return the first published figure of a metric in a row, with its source; None where none exists."""
        for figures in self.published:
            if figures.metric == metric and row in figures.rows:
                return figures.rows[row], figures.source
        return None
