"""The keys of a task file, their types and defaults. Does no work."""

from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Strict(BaseModel):
    """A mapping in a file; an unknown key or a value of the wrong type is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Rows(Strict):
    """A selection of a split's rows: the last ones, or a random share in random order.

    Attributes:
        last: The number of rows at the end of the split.
        share: The share of the rows that `Dataset.train_test_split(test_size=share, seed=seed)`
            of the library datasets puts into its test split.
        seed: The seed of that split.
    """

    last: Annotated[int, Field(gt=0)] | None = None
    share: Annotated[float, Field(gt=0, lt=1)] | None = None
    seed: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _is_one_selection(self) -> "Rows":
        given = [self.last is not None, self.share is not None, self.seed is not None]
        if given not in ([True, False, False], [False, True, True]):
            raise ValueError("expected `last`, or `share` and `seed`")
        return self


class Hub(Strict):
    """A data set on the Hugging Face Hub; most keys are arguments of `datasets.load_dataset`.

    Attributes:
        column: The column that holds the text.
        part: The split holds only the scored part of the publisher's file, so its content cannot
            be checked against the file's hash.
        rows: Which rows of the split to read; by default all.
        restore: How to rebuild the publisher's file from the rows.
    """

    id: str
    config: str | None = None
    split: str
    column: str | None = None
    revision: str | None = None
    data_dir: str | None = None
    part: bool = False
    rows: Rows | None = None
    restore: Literal["text", "lines", "blank_lines", "padded_lines", "jsonl", "cbt"] = "text"


class Archive(Strict):
    """The publisher's download.

    Attributes:
        url: The URL of the download.
        sha256: The hash of the download.
        member: The file inside the archive; if absent, the download is the file itself.
        stream: Read a large .tar.gz while downloading instead of storing it: up to the member if
            the file has a hash of its own, otherwise to the end, to check the archive's hash.
    """

    url: str
    sha256: str | None = None
    member: str | None = None
    stream: bool = False


class File(Strict):
    """The publisher's file: its name, and the hashes and size that identify its content."""

    name: str
    sha256: str | None = None
    md5: str | None = None
    git_blob: str | None = None
    bytes: int | None = None

    @property
    def hash(self) -> str:
        """The strongest hash known for the content, or "" if there is none."""
        return self.sha256 or self.md5 or self.git_blob or ""


class Source(Strict):
    """Where to get the published text.

    The archive is tried after the Hub, or before it if the Hub holds only a part of the file.
    """

    hub: Hub | None = None
    archive: Archive | None = None
    file: File

    @model_validator(mode="after")
    def _archive_can_be_checked(self) -> "Source":
        archive = self.archive
        if archive is None:
            return self
        if archive.stream and not archive.member:
            raise ValueError("archive: stream: expected a member")
        checked_by_file = archive.stream and self.file.hash
        if archive.member and not (archive.sha256 or checked_by_file):
            raise ValueError("archive: expected its sha256")
        return self


class Expect(Strict):
    """Counts of the published file, checked if its hash matches."""

    records: int | None = None
    words: int | None = None
    lines: int | None = None
    bytes: int | None = None
    chars: int | None = None


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
    passport: dict[str, str] = {}
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
