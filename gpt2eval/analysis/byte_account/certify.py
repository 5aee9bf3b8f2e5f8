"""Certify the bytes of a scored task: window by window, token by token.

Compares three things that are computed apart from each other: the bytes that each token stands for,
the bytes of the published text, and the token table, which says which bytes each token has.
"""

import math
from collections.abc import Mapping, Sequence

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
from gpt2eval.analysis.byte_account.rows import published_size, wrong_row
from gpt2eval.analysis.byte_account.rules import rule_totals, text_totals
from gpt2eval.analysis.byte_account.spelled import Problem, Spelled, spelled
from gpt2eval.analysis.byte_account.windows import Span, spans, windows_of_tokens
from gpt2eval.identity import Spelling
from gpt2eval.metrics.signature import signature
from gpt2eval.planning.task_plan import TaskPlan
from gpt2eval.scoring.execute import Outcome
from gpt2eval.scoring.token_table import TokenTable
from gpt2eval.types import Encoded
from gpt2eval.version import __version__

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

    def account(self, facts: Sequence[tuple[str, str]] = ()) -> ByteAccount:
        """Return the account: its faults, its sums, and what other ways to count would say."""
        plan = self._plan
        right = [number for number, one in enumerate(self._encoded) if one.passage.right]
        is_complete = len(self._table) == self._starts[-1]
        scored_bytes = self._scored_bytes(right) if is_complete else 0
        text_bytes = sum(published_size(self._encoded[number].passage) for number in right)
        units = [part.units.bytes for n in right for part in self._encoded[n].passage.parts]
        unit = f"byte@{sum(units)}"
        scored = sum(len(self._tokens[number]) for number in right)
        tokens = sum(len(self._encoded[number].ids) for number in right)
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
            tokens=tokens,
            scored=scored,
            scored_bytes=scored_bytes,
            unscored=tokens - scored,
            unscored_bytes=text_bytes - scored_bytes,
            first_unscored=tuple(self._unscored(right)),
            unit_bytes=sum(units),
            nats=math.fsum(self._outcome.passages[n].nats.sum() for n in right),
            windows=tuple(self._window_bytes() if is_complete else ()),
            faults=tuple(self._faults()),
            unproven=self._unproven or self._twice,
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
                problems.append(wrong_row(encoded, self._rows(number), tokens))
            found = [problem for problem in problems if problem]
            if found:
                first = min(found, key=lambda problem: problem.token)
                faults.append(self._fault(number, first))
        return faults

    def _rows(self, number: int) -> TokenTable:
        return self._table.select(slice(int(self._starts[number]), int(self._starts[number + 1])))

    def _wrong_table(self) -> Fault | None:
        """Return the first row of the table that is of another token, or has another score."""
        expected = self._expected_rows()
        count = min(len(self._table), len(expected["id"]))
        differs = np.zeros(count, np.bool_)
        for name, column in expected.items():
            differs |= getattr(self._table, name)[:count] != column[:count]
        if not differs.any() and len(self._table) == len(expected["id"]):
            return None
        row = int(np.argmax(differs)) if differs.any() else count
        found = f"{len(self._table):,} rows, expected {len(expected['id']):,}"
        if row < count:
            names = [n for n, c in expected.items() if getattr(self._table, n)[row] != c[row]]
            found = ", ".join(
                f"{name} {getattr(self._table, name)[row]}, expected {expected[name][row]}"
                for name in names
            )
        row = min(row, len(expected["id"]) - 1)
        number = int(np.searchsorted(self._starts, row, "right")) - 1
        token = int(self._tokens[number][row - self._starts[number]])
        return self._fault(number, Problem(token, f"the token table has {found}"))

    def _expected_rows(self) -> dict[str, NDArray[np.generic]]:
        """Return what the table must hold besides bytes: the scored tokens and their scores."""
        sheet = self._outcome.sheet
        counts = [len(tokens) for tokens in self._tokens]
        passages = [one.passage for one in self._encoded]
        places = [sheet.starts[number] + tokens for number, tokens in enumerate(self._tokens)]
        return {
            "record": np.repeat([passage.record for passage in passages], counts),
            "choice": np.repeat([passage.choice for passage in passages], counts),
            "id": np.concatenate(
                [one.ids[tokens] for one, tokens in zip(self._encoded, self._tokens, strict=True)]
            ),
            "logprob": sheet.logprobs[np.concatenate(places)].astype(np.float32),
        }

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

    def _window_bytes(self) -> list[WindowBytes]:
        """Return the account of every window; its tokens are adjacent."""
        return [window for span in self._spans if (window := self._window(span))]

    def _window(self, span: Span) -> WindowBytes | None:
        tokens = self._tokens[span.passage]
        low, high = np.searchsorted(tokens, [span.first, span.stop])
        if low == high:
            return None
        base = int(self._starts[span.passage])
        rows = self._table.select(slice(base + int(low), base + int(high)))
        passage = self._encoded[span.passage].passage
        logprobs = rows.logprob.astype(np.float64) * rows.weight
        return WindowBytes(
            number=span.window,
            record=passage.record,
            choice=passage.choice,
            context=span.context,
            first=int(tokens[low]),
            tokens=int(high - low),
            begin=int(rows.begin[0]),
            end=int(rows.end[-1]),
            bytes=int((rows.end.astype(np.int64) - rows.begin).sum()),
            nats=-math.fsum(logprobs.tolist()),
        )

    def _unscored(self, right: Sequence[int]) -> list[Unscored]:
        """Return the first tokens that no window scores."""
        found: list[Unscored] = []
        for number in right:
            encoded = self._encoded[number]
            for token in np.flatnonzero(self._windows[number] == 0)[: LISTED - len(found)].tolist():
                id_ = int(encoded.ids[token])
                passage = encoded.passage
                found.append(Unscored(passage.record, passage.choice, token, id_, self._name(id_)))
        return found

    def _rules(self, right: Sequence[int]) -> list[RuleTotal]:
        """Return what other ways to count say of the scored tokens of the right passages."""
        if not self._known:
            return []
        ids = []
        begins = []
        for number in right:
            own = self._encoded[number].ids
            is_special = np.array([self._known[id_].is_special for id_ in own.tolist()], np.bool_)
            follows = np.concatenate([[True], is_special[:-1]])[: len(own)]
            ids.append(own[self._tokens[number]])
            begins.append(follows[self._tokens[number]])
        totals = rule_totals(np.concatenate(ids), np.concatenate(begins), self._known.__getitem__)
        pairs = [(self._encoded[number], self._tokens[number]) for number in right]
        return [*totals, *text_totals(pairs)]
