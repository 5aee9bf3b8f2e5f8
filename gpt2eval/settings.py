"""Settings of a run: changes to a task's protocol, and how the numbers are computed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import Literal, NamedTuple, TypedDict, TypeGuard

from gpt2eval.errors import UsageError

BUDGETS = {"cpu": 1024, "cuda": 32768, "api": 16384}


class Worker(NamedTuple):
    """A worker process: computes chunks `rank`, `rank + world`, `rank + 2 world`, ..."""

    rank: int = 0
    world: int = 1


@dataclass(frozen=True, slots=True)
class Settings:
    """Changes to the tasks' protocols, and how numbers are computed.

    None keeps the task's own value.

    Attributes:
        limit: Use only the first records, or the first lines of a stream.
        context: Window length in tokens; at most the model's context.
        stride: Newly scored tokens per window.
        batch_size: Windows per forward pass, or `auto` for what a short trial finds fastest. By
            default a pass has 1,024 tokens on a CPU and 32,768 on a GPU.
        strict_data: Reject data whose checksum is not the published one.
        allow_lossy: Report bits per byte even if the tokens do not tile the bytes of the text.
        worker: Rank of this process and number of processes that share the work.
        tokens: Tokens per forward pass; takes precedence over `batch_size`.
        expected: Signature fields that the protocol must match.
        cache: Folder of the published data.
        max_size: Most bytes that a local file may have or unpack to; by default 2 GiB, or less for
            a small file.
        allow_kept: Accept a text of which the detokenizer keeps more than 5 % of the lines as they
            are; the signature then gives their number.
        word_starts: Also keep, for each token, the probability that a word begins in its place, for
            the surprisal of words. The numbers are the same; another run is scored for it.

    Examples:
        >>> from dataclasses import replace
        >>> replace(Settings(limit=10), stride=32).stride
        32
    """

    limit: int | None = None
    context: int | None = None
    stride: int | None = None
    batch_size: int | Literal["auto"] | None = None
    strict_data: bool = False
    allow_lossy: bool = False
    worker: Worker = field(default_factory=Worker)
    tokens: int | None = None
    expected: Mapping[str, str] | None = None
    cache: Path | None = None
    max_size: int | None = None
    allow_kept: bool = False
    word_starts: bool = False

    def budget(self, context: int, device: str) -> int:
        """Return the number of tokens in a forward pass."""
        if self.tokens:
            return self.tokens
        if self.batch_size == "auto":
            raise UsageError("--batch-size auto: expected a number here")
        if self.batch_size:
            return self.batch_size * context
        return max(context, BUDGETS.get(device.partition(":")[0], 1024))

    def check(self) -> None:
        """Raise UsageError for no whole number above 0, or for `auto` where workers must agree."""
        if self.batch_size == "auto" and self.worker.world > 1:
            raise UsageError(
                f"--batch-size auto: {self.worker.world} workers must use the same number; "
                "expected the one that a run without workers states in `batch:`"
            )
        for name in ("limit", "context", "stride", "batch_size", "tokens", "max_size"):
            value: object = getattr(self, name)
            if value is None or (name == "batch_size" and value == "auto"):
                continue
            if not _is_count(value):
                others = ", or auto" if name == "batch_size" else ""
                raise UsageError(
                    f"--{name.replace('_', '-')} {value!r:.40}: expected a whole number of 1 or "
                    f"more{others}"
                )
            if int(value) >= LARGEST:
                raise UsageError(
                    f"--{name.replace('_', '-')} {value!s:.40}: expected a whole number below 2**63"
                )


MOST_DIGITS = 18  # of a number below 2**63; Python refuses to read thousands of digits
LARGEST = 1 << 63  # a result with a larger number could not be read


def whole_number(text: str) -> int | None:
    """Return the number that decimal digits state; None for anything else, or over 18 digits.

    >>> whole_number("12"), whole_number("-1"), whole_number("9" * 5000)
    (12, None, None)
    """
    return int(text) if text.isdecimal() and len(text) <= MOST_DIGITS else None


def _is_count(value: object) -> TypeGuard[Integral]:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


class SettingsKeywords(TypedDict, total=False):
    """The fields of `Settings` as keywords of a function."""

    limit: int | None
    context: int | None
    stride: int | None
    batch_size: int | Literal["auto"] | None
    strict_data: bool
    allow_lossy: bool
    worker: Worker
    tokens: int | None
    expected: Mapping[str, str] | None
    cache: Path | None
    max_size: int | None
    allow_kept: bool
    word_starts: bool
