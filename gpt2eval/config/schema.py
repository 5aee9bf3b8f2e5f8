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


class Pack(Strict):
    """The tokens around the text of each block: `eot` is a token of the model, `none` is none.

    Attributes:
        begin: Before the text; `eot` is the token that `start: eot` puts before a text.
        end: After the text; `eot` is the model's end-of-text token.
        score_end: Whether the token after the text is scored.
    """

    begin: Literal["eot", "none"] = "eot"
    end: Literal["eot", "none"] = "eot"
    score_end: bool = True


class Drop(Strict):
    """The tokens that a parallel loader drops: in each batch of rows, those that fill no block.

    The rows are divided into as many contiguous shards as there are workers, and each shard into
    batches. Source: `datasets.Dataset.map(batched=True, batch_size=rows, num_proc=workers)`.

    Attributes:
        rows: Rows of a batch.
        workers: Processes that share the rows.
    """

    rows: Annotated[int, Field(gt=0)] = 1000
    workers: Annotated[int, Field(gt=0)] = 1


class Draw(Strict):
    """Blocks drawn at random, each from a document that has at least as many tokens.

    Attributes:
        blocks: How many.
        seed: The seed of Python's generator.
    """

    blocks: Annotated[int, Field(gt=0)]
    seed: Annotated[int, Field(ge=0)] = 0


class Filter(NamedTuple):
    """A rule for answers: lower-case words that cannot be the answer, and the hash of the rule.

    `end`: the answer is the best word that ends the text with this token; None: the best word.
    """

    name: str
    banned: frozenset[str]
    sha256: str
    end: int | None = None


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
        join: `newline` or `space` replaces a newline in the scored text. `eot` and `none` make one
            stream of the tokens of all records: the end-of-text token follows each, or nothing.
        block: The stream is cut into blocks of so many tokens, limited by the model's context; the
            first token of a block is not scored.
        pack: Tokens around the text of each block; None for none.
        drop: What a parallel loader drops of the stream; None for nothing.
        draw: Score only blocks drawn at random from the records; None for all of the text.
        start: `eot`: the model's start token (the tokenizer's own, else BOS, else end-of-text);
            `own`: the tokenizer's own, if any; `eot+own`: both, the second scored; `replace`: as
            `eot`, but in place of the first token of each window; `none`: none.
        specials: Whether `<unk>` and the like in a text are plain text or special tokens.
        context: The window in tokens, limited by the model's own.
        stride: The number of new tokens per window; None means disjoint windows.
        windows: How windows are placed; see `gpt2eval.scoring.windows`.
        tail: `drop` leaves out the last window of the stream unless it is full.
        mean: What has equal weight in the mean of nats: `tokens`, `windows`, or `batches` of
            successive windows.
        batch: The number of windows of a batch, for `mean: batches`.
        normalize: `tokens` divides each choice's score by its number of tokens.
        filter: The list of stop words that cannot be the answer; or `terminated`: the answer is the
            best word that ends the text, see `gpt2eval.models.engine.terminated`.
        word_ends: `corrected` multiplies the probability of the scored word by that of its end and
            divides it by that of the word before it ending, see `gpt2eval.scoring.word_ends`.
        group: The key of a document's group, if documents are also summed by group.
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
    format: Literal["stream", "rows", "lines", "pages", "documents", "lambada", "cbt"]
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
    join: Literal["newline", "space", "eot", "none"] = "newline"
    block: Annotated[int, Field(gt=1)] | None = None
    pack: Pack | None = None
    drop: Drop | None = None
    draw: Draw | None = None
    start: Literal["eot", "none", "own", "eot+own", "replace"] = "eot"
    specials: Literal["text", "tokens"] = "text"
    context: Annotated[int, Field(gt=0)] = 1024
    stride: Annotated[int, Field(gt=0)] | None = None
    windows: Literal["regular", "once", "last_full", "restart", "second_half"] = "regular"
    tail: Literal["score", "drop"] = "score"
    mean: Literal["tokens", "windows", "batches"] = "tokens"
    batch: Annotated[int, Field(gt=0)] | None = None
    normalize: Literal["none", "tokens"] = "none"
    filter: Literal["none", "nltk127", "nltk179", "spacy", "terminated"] = "none"
    word_ends: Literal["none", "corrected"] = "none"
    group: str | None = None
    unit: UnitName
    metrics: tuple[MetricName, ...]
    published: tuple[PublishedFigures, ...] = ()
    variants: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """`task` or `task/variant`."""
        return f"{self.name}/{self.variant}" if self.variant else self.name

    @property
    def joins_tokens(self) -> bool:
        """Whether the tokens of all records form one stream."""
        return self.join in ("eot", "none")
