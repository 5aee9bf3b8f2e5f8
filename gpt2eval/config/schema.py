"""The keys of a task file, their types and defaults. Does no work."""

from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from gpt2eval.config.source_schema import Expect, Source, Strict

MetricName = Literal["ppl", "acc", "bpb", "bpc", "byte_ppl", "nats_per_token", "acc_unfiltered"]


class PublishedFigures(Strict):
    """Published values of one metric of this task: the source, and a value per model."""

    source: str
    metric: MetricName
    rows: dict[str, float]


UnitName = Literal["word", "word+eol", "piece", "blank", "byte", "char", "token"]


class Filter(NamedTuple):
    """A stop-word filter: lower-case words that cannot be the answer, and the hash of the list."""

    name: str
    banned: frozenset[str]
    sha256: str


class Task(Strict):
    """One benchmark under one protocol.

    Attributes:
        name: The file's name.
        variant: The variant's name, or "" for the task itself.
        citation: The paper or page that introduces the data.
        licence: The licence of the data.
        note: What a reader must know about this protocol.
        version: Increase it when results change; it is part of every signature.
        source: Where to get the published text.
        format: How the file is split into records.
        encoding: `utf-8`, or `bytes` if the file may begin or end inside a character.
        layout: The form of the published lines; see `gpt2eval.data.restore`.
        ends: `line` if a file that stops inside a line is incomplete, otherwise `anywhere`.
        cut_last: Score only this many bytes at the end of a file that has `cut_whole` bytes.
        expect: Counts to check.
        passport: Where the figures of `source` and `expect` come from, by name.
        ask: Which span of a record is scored; see `gpt2eval.text.passages`.
        detokenizer: A detokenizer's name with options, such as `ptb+question`.
        lead: Replaces the white space at the beginning of a text; None keeps it.
        join: What replaces a newline in the scored text.
        start: `eot`: the model's start token (the tokenizer's own, else BOS, else end-of-text);
            `own`: the tokenizer's own, if any; `eot+own`: both, the second scored; `none`: none.
        specials: Whether `<unk>` and the like in a text are plain text or special tokens.
        context: The window in tokens, limited by the model's own.
        stride: The number of new tokens per window; None means disjoint windows.
        windows: How windows are placed; see `gpt2eval.scoring.windows`.
        normalize: `tokens` divides each choice's score by its number of tokens.
        filter: The list of stop words that cannot be the answer.
        unit: The denominator of perplexities.
        variants: The names of the task's variants.
    """

    name: str
    variant: str = ""
    title: str
    citation: str
    licence: str
    note: str = ""
    version: int
    source: Source
    format: Literal["stream", "lines", "pages", "documents", "lambada", "cbt"]
    encoding: Literal["utf-8", "bytes"] = "utf-8"
    layout: Literal["padded", "articles", "bare"] | None = None
    ends: Literal["line", "anywhere"] = "line"
    cut_last: int | None = None
    cut_whole: int | None = None
    expect: Expect = Expect()
    passport: dict[str, str] = Field(default_factory=dict)
    ask: Literal[
        "everything", "last_word", "last_token", "after_last_blank", "choices", "candidate"
    ]
    detokenizer: str | None = None
    lead: str | None = None
    join: Literal["newline", "space"] = "newline"
    start: Literal["eot", "none", "own", "eot+own"] = "eot"
    specials: Literal["text", "tokens"] = "text"
    context: Annotated[int, Field(gt=0)] = 1024
    stride: Annotated[int, Field(gt=0)] | None = None
    windows: Literal["regular", "once", "last_full", "restart", "second_half"] = "regular"
    normalize: Literal["none", "tokens"] = "none"
    filter: Literal["none", "nltk127", "nltk179", "spacy"] = "none"
    unit: UnitName
    metrics: tuple[MetricName, ...]
    published: tuple[PublishedFigures, ...] = ()
    variants: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """`task` or `task/variant`."""
        return f"{self.name}/{self.variant}" if self.variant else self.name
