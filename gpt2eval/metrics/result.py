"""The result of one task on one model: its metrics, and everything that determines them."""

from collections.abc import Mapping
from dataclasses import dataclass

from gpt2eval.errors import unknown
from gpt2eval.metrics.estimate import Estimate as Estimate
from gpt2eval.metrics.estimate import Interval as Interval
from gpt2eval.metrics.estimate import MetricValue as MetricValue
from gpt2eval.metrics.groups import Groups
from gpt2eval.metrics.protocol import ProtocolFields
from gpt2eval.scoring.streams import KeptTokens
from gpt2eval.types import ModelIdentity, Tally


@dataclass(frozen=True, slots=True)
class Figures:
    """Published figures of one metric: their source, and a value per row of its table."""

    source: str
    metric: str
    rows: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class DataIdentity:
    """The text of a task: SHA-256, whether it is the published text, and its origin."""

    sha256: str
    published: bool
    origin: str


@dataclass(frozen=True, slots=True)
class RoundTripCounts:
    """Counts of a detokenizer's round trip.

    Attributes:
        lines: Lines read.
        changed: Lines changed.
        edits: Edits made.
        dropped: Edits dropped because they could not be reversed.
        kept: Lines kept as published.
    """

    lines: int
    changed: int
    edits: int
    dropped: int
    kept: int


@dataclass(frozen=True, slots=True)
class Result:
    """One task measured on one model: its metrics, their sums, and all that determines them.

    Each metric's value is an attribute: `result.ppl`, `result.acc`. `result.metric("acc")` also
    has the interval, the unit and the signature.

    Attributes:
        task: Name of the task; `full_name` adds the variant.
        variant: Name of the variant, or "".
        title: The task's title in a table.
        metrics: The metrics by name, in the order of the task.
        tally: Sums over all records.
        nll_sha256: Hash of all scored tokens' log-probabilities (float32, little-endian,
            in text order).
        model: Identity of the model.
        data: Identity of the text.
        detokenizer: What the detokenizer changed.
        protocol: The protocol, in the order of a signature.
        published: Published figures of the task.
        row: The model's row in the published table, or "" if its shape matches none.
        version: Version of gpt2eval.
        start_loss: Nats per token of a fixed text that the model loses because the protocol leaves
            out its start token; None if it leaves out none, or if the loss is at most 0.5.
        kept: How many of the text's tokens lie in some window, and of how many; None if all do.
        groups: The sums of each group of documents; None if the text has no groups.

    Examples:
        >>> from gpt2eval import demo, evaluate
        >>> result = evaluate("toy:uniform-bytes", "text8", data=demo.data())[0]
        >>> round(result.bpc, 9), result.metric("bpc").unit
        (8.0, 'char')
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
    start_loss: float | None = None
    kept: KeptTokens | None = None
    groups: Groups | None = None

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

    def metric(self, name: str) -> MetricValue:
        """Return a metric. Raises UsageError for one that the task does not have."""
        if name not in self.metrics:
            raise unknown(f"metric of {self.full_name}", name, self.metrics)
        return self.metrics[name]

    def _value(self, name: str) -> float:
        if name not in self.metrics:
            known = ", ".join(self.metrics)
            raise AttributeError(f"{self.full_name} has no metric {name}; expected one of: {known}")
        return self.metrics[name].value

    @property
    def ppl(self) -> float:
        """Perplexity per unit of the task."""
        return self._value("ppl")

    @property
    def byte_ppl(self) -> float:
        """Perplexity per byte."""
        return self._value("byte_ppl")

    @property
    def bpb(self) -> float:
        """Bits per byte."""
        return self._value("bpb")

    @property
    def bpc(self) -> float:
        """Bits per character."""
        return self._value("bpc")

    @property
    def nats_per_token(self) -> float:
        """Nats per token."""
        return self._value("nats_per_token")

    @property
    def acc(self) -> float:
        """Accuracy in percent, with the task's stop-word filter if it has one."""
        return self._value("acc")

    @property
    def acc_unfiltered(self) -> float:
        """Accuracy in percent without the stop-word filter."""
        return self._value("acc_unfiltered")

    def figure(self, metric: str, row: str) -> tuple[float, str] | None:
        """Return the first published figure of a metric in a row and its source, or None."""
        found = (f for f in self.published if f.metric == metric and row in f.rows)
        return next(((figures.rows[row], figures.source) for figures in found), None)
