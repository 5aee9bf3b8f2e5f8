"""Where a task's published text comes from: the keys of `source` and `expect` in a task file."""

from typing import Annotated, Literal

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
        member: The file inside the archive; if absent, the download is the file itself, perhaps
            compressed.
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
