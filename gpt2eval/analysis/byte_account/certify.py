"""Certify the bytes of a scored task: window by window, token by token.

Compares three things that are computed apart from each other: the bytes that each token stands for,
the bytes of the published text, and the token table, which says which bytes each token has.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from gpt2eval.analysis.byte_account.account import (
    ByteAccount,
    Fault,
    RuleTotal,
    Special,
    Unscored,
    WindowBytes,
)
from gpt2eval.analysis.byte_account.rows import (
    published_bounds,
    published_size,
    sum_problem,
    unscored_size,
    wrong_row,
)
from gpt2eval.analysis.byte_account.rules import rule_totals, text_totals
from gpt2eval.analysis.byte_account.spelled import Problem, Spelled, spelled
from gpt2eval.analysis.byte_account.table import expected_columns, wrong_columns
from gpt2eval.analysis.byte_account.windows import is_text, spans, window_bytes, windows_of_tokens
from gpt2eval.identity import Spelling
from gpt2eval.metrics.signature import signature
from gpt2eval.planning.task_plan import TaskPlan
from gpt2eval.scoring.execute import Outcome
from gpt2eval.scoring.token_table import TokenTable
from gpt2eval.types import Encoded
from gpt2eval.version import __version__

PER_BYTE = {"bpb", "byte_ppl"}  # metrics that divide by bytes
LISTED = 5  # unscored tokens that are named


class Certifier:
    """Checks the bytes of a scored task on a model, and accounts for them.

    Args:
        plan: The planned work of the task.
        outcome: Its scores.
        table: The token table to check.
        known: What each token stands for; empty if the model does not state it.
        unproven: Why `known` is empty, or "".
    """

    def __init__(
        self,
        plan: TaskPlan,
        outcome: Outcome,
        table: TokenTable,
        known: Mapping[int, Spelling],
        unproven: str = "",
    ) -> None:
        self._plan = plan
        self._table = table
        self._known = known
        self._unproven = unproven
        self._encoded = plan.work.encoded
        self._spans = spans(plan.work)
        self._windows, self._twice = windows_of_tokens(plan.work, self._spans)
        self._tokens = [np.flatnonzero(numbers) for numbers in self._windows]
        self._starts = np.concatenate([[0], np.cumsum([len(one) for one in self._tokens])])
        self._outcome = outcome
        self._spelled = [self._spell(one) for one in self._encoded]
        self._bounds = [published_bounds(one) for one in self._encoded]

    def account(self, facts: Sequence[tuple[str, str]] = ()) -> ByteAccount:
        """Return the account: its faults, its sums, and what other ways to count would say."""
        plan = self._plan
        right = [number for number, one in enumerate(self._encoded) if one.passage.right]
        is_complete = len(self._table) == self._starts[-1]
        scored_bytes = self._scored_bytes(right) if is_complete else 0
        text_bytes = sum(published_size(self._encoded[number].passage) for number in right)
        units = [part.units.bytes for n in right for part in self._encoded[n].passage.parts]
        has_unit = bool(PER_BYTE & {*plan.task.metrics})
        unit = f"byte@{scored_bytes}"
        unscored = [self._unscored(number) for number in right]
        unscored_bytes = sum(
            unscored_size(self._encoded[number], self._bounds[number], tokens)
            for number, tokens in zip(right, unscored, strict=True)
        )
        gap = sum_problem(scored_bytes, unscored_bytes, text_bytes)
        blanks = sum(self._spelled[number].blanks for number in right)
        if blanks:
            facts = [*facts, ("Blanks that the tokenizer adds", f"{blanks:,}; they count no byte")]
        return ByteAccount(
            task=plan.task.full_name,
            model=plan.identity.name,
            signature=signature(
                plan.task.full_name, plan.protocol.stated(), unit, plan.identity, __version__
            ),
            context=plan.window.context,
            stride=plan.window.stride,
            records=plan.records,
            text_bytes=text_bytes,
            tokens=sum(int(is_text(self._encoded[number]).sum()) for number in right),
            inserted=sum(int((~is_text(self._encoded[number])).sum()) for number in right),
            scored=sum(len(self._tokens[number]) for number in right),
            scored_bytes=scored_bytes,
            unscored=sum(map(len, unscored)),
            unscored_bytes=unscored_bytes,
            first_unscored=tuple(self._first(right, unscored)),
            unit_bytes=sum(units) if has_unit else 0,
            nats=math.fsum(self._outcome.passages[n].nats.sum() for n in right),
            windows=tuple(self._window_bytes() if is_complete else ()),
            faults=tuple(self._faults()),
            unproven=self._unproven or self._twice or gap,
            special=self._special(right),
            rules=tuple(self._rules(right)),
            facts=tuple(facts),
        )

    def _scored_bytes(self, right: Sequence[int]) -> int:
        """Return the bytes that the table gives the scored tokens of passages."""
        sizes = self._table.end.astype(np.int64) - self._table.begin
        return sum(int(sizes[self._starts[n] : self._starts[n + 1]].sum()) for n in right)

    def _special(self, right: Sequence[int]) -> Special:
        """Return the scored special tokens of passages, and their nats."""
        count = 0
        nats: list[float] = []
        sheet = self._outcome.sheet
        for number in right if self._known else ():
            tokens = self._tokens[number]
            own = self._encoded[number].ids[tokens].tolist()
            tokens = tokens[[self._known[id_].is_special for id_ in own]]
            count += len(tokens)
            places = sheet.starts[number] + tokens
            nats += (sheet.weights[places] * sheet.logprobs[places]).tolist()
        return Special(count, -math.fsum(nats))

    def _spell(self, encoded: Encoded) -> Spelled:
        if not self._known:
            return Spelled([], 0, None)
        return spelled(encoded, self._known.__getitem__)

    def _faults(self) -> list[Fault]:
        """Return the first fault of each passage, and of the table."""
        if fault := self._wrong_table():
            return [fault]
        faults = []
        for number, encoded in enumerate(self._encoded):
            tokens = self._tokens[number]
            problems = [self._spelled[number].problem]
            if len(tokens):
                problems.append(
                    wrong_row(encoded, self._bounds[number], self._rows(number), tokens)
                )
            found = [problem for problem in problems if problem]
            if found:
                first = min(found, key=lambda problem: problem.token)
                faults.append(self._fault(number, first))
        return faults

    def _rows(self, number: int) -> TokenTable:
        return self._table.select(slice(int(self._starts[number]), int(self._starts[number + 1])))

    def _wrong_table(self) -> Fault | None:
        """Return the first row of the table that is of another token, or has another score."""
        expected = expected_columns(self._encoded, self._tokens, self._outcome.sheet)
        found = wrong_columns(self._table, expected)
        if found is None:
            return None
        row, problem = found
        number = int(np.searchsorted(self._starts, row, "right")) - 1
        token = int(self._tokens[number][row - self._starts[number]])
        return self._fault(number, Problem(token, problem))

    def _fault(self, number: int, problem: Problem) -> Fault:
        encoded = self._encoded[number]
        token = problem.token
        has_token = token < len(encoded.ids)
        id_ = int(encoded.ids[token]) if has_token else -1
        return Fault(
            int(self._windows[number][token]) if has_token else 0,
            encoded.passage.record,
            encoded.passage.choice,
            token,
            id_,
            self._name(id_),
            problem.problem,
        )

    def _name(self, id_: int) -> str:
        return self._known[id_].name if id_ in self._known else f"token-{id_}"

    def _window_bytes(self) -> Iterator[WindowBytes]:
        """Yield the account of every window that scores a token."""
        for span in self._spans:
            tokens = self._tokens[span.passage]
            low, high = np.searchsorted(tokens, [span.first, span.stop]).tolist()
            if low < high:
                base = int(self._starts[span.passage])
                rows = self._table.select(slice(base + low, base + high))
                passage = self._encoded[span.passage].passage
                yield window_bytes(span, passage, int(tokens[low]), rows)

    def _unscored(self, number: int) -> NDArray[np.int64]:
        """Return the tokens of a passage's text that no window scores."""
        return np.flatnonzero((self._windows[number] == 0) & is_text(self._encoded[number]))

    def _first(
        self, right: Sequence[int], unscored: Sequence[NDArray[np.int64]]
    ) -> Iterator[Unscored]:
        """Yield the first unscored tokens, by name."""
        places = zip(right, unscored, strict=True)
        found = ((number, token) for number, tokens in places for token in tokens.tolist())
        for number, token in islice(found, LISTED):
            passage = self._encoded[number].passage
            id_ = int(self._encoded[number].ids[token])
            yield Unscored(passage.record, passage.choice, token, id_, self._name(id_))

    def _rules(self, right: Sequence[int]) -> list[RuleTotal]:
        """Return what other ways to count say of the scored tokens of the right passages."""
        if not self._known:
            return []
        scored = [(self._encoded[number], self._tokens[number]) for number in right]
        return [*rule_totals(scored, self._known), *text_totals(scored)]
