"""The byte account of a task on a model: its windows, its faults, and other programs' totals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gpt2eval.errors import quoted


@dataclass(frozen=True, slots=True)
class Fault:
    """A token whose bytes are not those that the account gives it.

    `window` counts from 1; 0 is a token outside all windows. `token` is its index in the text of
    its record, and `problem` says what the account has, and what was expected.
    """

    window: int
    record: int
    choice: int
    token: int
    id: int
    name: str
    problem: str

    def __str__(self) -> str:
        place = f"window {self.window}" if self.window else "outside all windows"
        choice = f", choice {self.choice}" if self.choice else ""
        return (
            f"{place}, record {self.record}{choice}, token {self.token} "
            f"(id {self.id}, {quoted(self.name)}): {self.problem}"
        )


@dataclass(frozen=True, slots=True)
class WindowBytes:
    """What one forward pass scores: `tokens` tokens from `first` on, and their published bytes.

    `begin` and `end` are the offsets of the window's bytes in the record's published text, in
    UTF-8; `bytes` is the sum over its tokens, and `nats` their weighted negative log-likelihood.
    """

    number: int
    record: int
    choice: int
    context: int
    first: int
    tokens: int
    begin: int
    end: int
    bytes: int
    nats: float


@dataclass(frozen=True, slots=True)
class Unscored:
    """A token of the text that the protocol scores in no window."""

    record: int
    choice: int
    token: int
    id: int
    name: str


@dataclass(frozen=True, slots=True)
class RuleTotal:
    """What another way to count bytes says of the scored tokens."""

    name: str
    explanation: str
    bytes: int


class Special(NamedTuple):
    """The scored special tokens, which have no bytes, and their negative log-likelihood."""

    tokens: int
    nats: float


@dataclass(frozen=True, slots=True)
class ByteAccount:
    """The bytes of a text and of its scored tokens.

    Attributes:
        task: The task with its variant.
        model: The model's name.
        signature: The protocol and the model, in one line.
        context: Tokens in a window.
        stride: Tokens that a window newly scores.
        records: Records of the text.
        text_bytes: UTF-8 bytes of the published text of all records; of a question, with the right
            choice in its blank.
        tokens: Tokens of those texts.
        inserted: Tokens around blocks, which stand for no text.
        scored: Scored tokens, with those around blocks.
        scored_bytes: Their published bytes.
        unscored: Tokens of those texts that no window scores.
        unscored_bytes: Their published bytes.
        first_unscored: The first of them.
        unit_bytes: The bytes that the task's bits per byte divides by; 0 if it has none.
        nats: The negative log-likelihood of the scored tokens.
        special: The special tokens among them.
        windows: The windows, in order of the text; a question has one for each choice.
        faults: The first fault of each text that has one.
        unproven: Why nothing more can be proven, or "".
        rules: What other ways to count bytes say of the scored tokens.
        facts: What else there is to say, as label and text.
    """

    task: str
    model: str
    signature: str
    context: int
    stride: int
    records: int
    text_bytes: int
    tokens: int
    inserted: int
    scored: int
    scored_bytes: int
    unscored: int
    unscored_bytes: int
    first_unscored: tuple[Unscored, ...]
    unit_bytes: int
    nats: float
    special: Special
    windows: tuple[WindowBytes, ...]
    faults: tuple[Fault, ...]
    unproven: str
    rules: tuple[RuleTotal, ...]
    facts: tuple[tuple[str, str], ...] = ()

    @property
    def is_certified(self) -> bool:
        """Whether every token is proven to have its own bytes, and none is missing."""
        return not self.faults and not self.unproven

    @property
    def bits(self) -> float:
        """The negative log-likelihood in bits."""
        return self.nats / math.log(2)

    def bits_per(self, count: int) -> float:
        """Return the bits per byte that a count of bytes gives."""
        return self.bits / count if count else math.nan

    @property
    def verdict(self) -> str:
        """`certified`, or why not."""
        if self.faults:
            return f"not certified: {self.faults[0]}"
        return f"not certified: {self.unproven}" if self.unproven else "certified"


def percent_off(counted: int, exact: int) -> float:
    """Return by how many percent a count is too high; negative if it is too low.

    >>> round(percent_off(157_319_833, 151_073_604), 2)  # parameter-golf, pull request 1289
    4.13
    """
    return 100 * (counted - exact) / exact if exact else math.nan


def all_certified(accounts: Sequence[ByteAccount]) -> bool:
    """Return whether every account is certified."""
    return all(account.is_certified for account in accounts)
