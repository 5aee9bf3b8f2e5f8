"""What a task, suite or detokenizer file may say: every key, its type and its default; does no work."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Strict(BaseModel):
    """A mapping in a file: an unknown key, or a value of another type, is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Hub(Strict):
    """A data set on the Hub, and how its rows give back the publisher's file.

    `part`: they give only the part of it that is scored, so that no hash can tell whether it is right.
    """

    id: str
    config: str | None = None
    split: str
    column: str | None = None
    revision: str | None = None
    data_dir: str | None = None
    part: bool = False
    restore: Literal["text", "lines", "blank_lines", "padded_lines", "jsonl", "cbt"] = "text"


class Archive(Strict):
    """The publisher's archive: its address, its hash, and the file inside; without a `member` it is the file itself.

    `stream`: a .tar.gz too large to be kept is read as it comes: up to the member, where that has a hash of its own, else
    to its end, to know its hash.
    """

    url: str
    sha256: str | None = None
    member: str | None = None
    stream: bool = False


class File(Strict):
    """The publisher's file: its name, and what identifies its content."""

    name: str
    sha256: str | None = None
    md5: str | None = None
    git_blob: str | None = None
    bytes: int | None = None

    @property
    def hash(self) -> str:
        """What its content is known by, "" where nothing is."""
        return self.sha256 or self.md5 or self.git_blob or ""


class Source(Strict):
    """Where the published text comes from: `hub`, else `archive` (the other way where the Hub has only a part)."""

    hub: Hub | None = None
    archive: Archive | None = None
    file: File

    @model_validator(mode="after")
    def checked(self) -> "Source":
        if self.archive and self.archive.stream and not self.archive.member:
            raise ValueError("archive: stream: expected a member")
        if (
            self.archive
            and self.archive.member
            and not (self.archive.sha256 or (self.archive.stream and self.file.hash))
        ):
            raise ValueError("archive: expected its sha256")
        return self


class Expect(Strict):
    """Counts of the published file, checked when its hash matches."""

    records: int | None = None
    words: int | None = None
    lines: int | None = None
    bytes: int | None = None
    chars: int | None = None


MetricName = Literal["ppl", "acc", "bpb", "bpc", "byte_ppl", "nats_per_token", "acc_unfiltered"]


class PublishedFigures(Strict):
    """Figures that somebody published for one metric of this task."""

    source: str
    metric: MetricName
    rows: dict[str, float]


UnitName = Literal["word", "word+eol", "piece", "blank", "byte", "char", "token"]


class Task(Strict):
    """One benchmark under one protocol: the text, how it is made fair, what is asked, and in which units.

    `ends` says where the file may end: a file of lines that stops inside one was cut short, unless its task says
    `anywhere`. `passport` says where figures of `source` and `expect` come from, by their names.
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
    windows: Literal["regular", "last_full", "restart", "second_half"] = "regular"
    normalize: Literal["none", "tokens"] = "none"
    filter: Literal["none", "nltk127", "nltk179", "spacy"] = "none"
    filter_width: Annotated[int, Field(gt=0)] = 20
    filter_depth: Annotated[int, Field(gt=0)] = 6
    unit: UnitName
    metrics: tuple[MetricName, ...]
    published: tuple[PublishedFigures, ...] = ()
    variants: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """`task` or `task/variant`."""
        return f"{self.name}/{self.variant}" if self.variant else self.name


class Column(Strict):
    """A column of a suite's table."""

    title: str
    task: str
    metric: MetricName


class Tolerance(Strict):
    """How far a number may be from its target: by so much, or by a share of the target."""

    absolute: float | None = None
    relative: float | None = None


class Known(Strict):
    """Why a cell of the table is known not to be reached."""

    task: str
    metric: MetricName
    row: str
    reason: str


class Suite(Strict):
    """A published table: its columns in order, and the models whose rows it has, by the shape of their weights.

    `tolerances` are by metric; `known` says which cells cannot be expected to be reached, and why.
    """

    name: str
    title: str
    citation: str
    columns: tuple[Column, ...]
    models: dict[str, str] = {}
    tolerances: dict[MetricName, Tolerance] = {}
    known: tuple[Known, ...] = ()


class Rule(Strict):
    """One rule of a detokenizer: cut the captured groups out (`glue`), or put a text for each match (`swap`, `by`)."""

    glue: str | None = None
    swap: str | None = None
    by: str | None = None
    option: str | None = None

    @model_validator(mode="after")
    def one_kind(self) -> "Rule":
        if (self.glue is None) == (self.swap is None) or (self.swap is None) != (self.by is None):
            raise ValueError("expected either 'glue: REGEX' or 'swap: REGEX' with 'by: TEXT'")
        return self


class Example(Strict):
    """A published line and its fair form: a test."""

    published: str
    fair: str
    options: tuple[str, ...] = ()


class DetokenizerFile(Strict):
    """`detokenizers/NAME.yaml`: both directions of one tokenization scheme, side by side.

    Or `steps`: another tool's preparation of a whole text, swap after swap, which cannot be undone.
    """

    title: str
    version: int
    note: str = ""
    invertible: bool = True
    python: str | None = None
    options: dict[str, str] = {}
    do: tuple[Rule, ...] = ()
    undo: tuple[Rule, ...] = ()
    steps: tuple[Rule, ...] = ()
    examples: tuple[Example, ...] = ()

    @model_validator(mode="after")
    def one_way_steps(self) -> "DetokenizerFile":
        if self.steps and (self.do or self.undo or self.python or self.invertible):
            raise ValueError("steps go with 'invertible: false', and not with do, undo or python")
        return self
