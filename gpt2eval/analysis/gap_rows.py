"""The rows of a gap report: bits of two models for the same published bytes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GapRow:
    """A set of published bytes, and the bits that two models need for them.

    Attributes:
        name: The kind, the group, the document or the literal.
        count: Segments, or for a document 1.
        bytes: Published bytes.
        first_bits: Bits of the first model, the baseline.
        second_bits: Bits of the second model.
        share: Share of the difference of all bytes; None if that is zero.
        interval: 95 % interval of the difference in bits per byte; None if none can be trusted.
        p: Two-sided p of no difference, of kinds and of groups adjusted for their number (Holm);
            None without an interval.
    """

    name: str
    count: int
    bytes: int
    first_bits: float
    second_bits: float
    share: float | None
    interval: tuple[float, float] | None = None
    p: float | None = None

    @property
    def bits(self) -> float:
        """Bits of the second model minus bits of the first: negative if the second is better."""
        return self.second_bits - self.first_bits

    def per_byte(self, bits: float) -> float | None:
        """Return bits per byte of the row; None without bytes."""
        return bits / self.bytes if self.bytes else None


@dataclass(frozen=True, slots=True)
class GapPlace:
    """A segment, or the occurrence of a literal with the largest difference, with its surroundings.

    Attributes:
        row: Its bits.
        kind: Its kind of segment, or "" for a document.
        record: Its record.
        begin: Offset of its first byte in the record's published text.
        text: The text of the row.
        before: Text before it.
        after: Text after it.
        first_tokens: The first model's tokens that overlap it, as published.
        second_tokens: The second model's.
    """

    row: GapRow
    kind: str
    record: int
    begin: int
    text: str
    before: str = ""
    after: str = ""
    first_tokens: tuple[str, ...] = ()
    second_tokens: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Both:
    """The largest losses and gains of the second model against the first, the largest first."""

    losses: tuple[GapPlace, ...]
    gains: tuple[GapPlace, ...]


@dataclass(frozen=True, slots=True)
class GapReport:
    """Where the second model loses or gains bits against the first, on one task.

    Attributes:
        task: Name of the task.
        models: Names of the two models.
        signatures: Their signatures.
        total: All scored published bytes.
        kinds: A row per kind of segment; together they have the bits of the total.
        group: What a document is: `article`, `document`, `record`, or a part of one text.
        groups: Number of documents.
        by: What groups the documents, as `column NAME`; "" if the text has no groups.
        by_group: A row per group of documents; together they have the bits of the total.
        documents: Documents.
        segments: Single segments.
        literals: Texts of segments that occur at least twice.
        resampled: What the intervals take to be independent.
        resampled_units: Its number.
        without_bytes: Bits of both models for passages without published bytes; they are in the
            models' results, and in no row.
        unscored: Scored bytes that each model does not score, but the other one does: their windows
            differ, and the rows have the bits of one model only.
    """

    task: str
    models: tuple[str, str]
    signatures: tuple[str, str]
    total: GapRow
    kinds: tuple[GapRow, ...]
    group: str
    groups: int
    by: str
    by_group: tuple[GapRow, ...]
    documents: Both
    segments: Both
    literals: Both
    resampled: str
    resampled_units: int
    without_bytes: tuple[float, float]
    unscored: tuple[int, int] = (0, 0)
