"""The keys of a suite file: a published table, its columns, tolerances and models."""

from pydantic import Field

from gpt2eval.config.schema import MetricName
from gpt2eval.config.source_schema import Strict


class Column(Strict):
    """A column of a suite's table."""

    title: str
    task: str
    metric: MetricName


class Tolerance(Strict):
    """The accepted distance from a target: absolute, or as a share of the target."""

    absolute: float | None = None
    relative: float | None = None

    def about(self, target: float) -> float:
        """Return the accepted distance from a target: absolute + relative * target."""
        return (self.absolute or 0.0) + (self.relative or 0.0) * target


class Known(Strict):
    """A cell of the published table that cannot be reproduced, and the reason.

    A variant of the task has the cell, too, if its published figure is the same one.
    """

    task: str
    metric: MetricName
    row: str
    figure: float
    reason: str


class Suite(Strict):
    """A published table.

    Attributes:
        models: Its rows: the published name, and the shape of the weights that identifies a model.
        others: Its rows of other models, which no shape identifies.
        tolerances: The tolerance of each metric.
        known: Cells that cannot be reproduced.
    """

    name: str
    title: str
    citation: str
    columns: tuple[Column, ...]
    models: dict[str, str] = Field(default_factory=dict)
    others: tuple[str, ...] = ()
    tolerances: dict[MetricName, Tolerance] = Field(default_factory=dict)
    known: tuple[Known, ...] = ()
