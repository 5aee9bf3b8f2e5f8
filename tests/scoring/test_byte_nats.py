"""Nats spread over published bytes, against a loop over the bytes."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval.scoring.byte_nats import CHOICES, ByteNats, Layout
from gpt2eval.scoring.token_table import TokenTable


class Token(NamedTuple):
    record: int
    begin: int
    end: int
    nats: float
    weight: float = 1.0


def table_of(tokens: Sequence[Token]) -> TokenTable:
    count = len(tokens)
    return TokenTable(
        record=np.array([token.record for token in tokens], np.int32),
        choice=np.zeros(count, np.int16),
        is_right=np.ones(count, np.bool_),
        id=np.arange(count, dtype=np.int32),
        begin=np.array([token.begin for token in tokens], np.int64),
        end=np.array([token.end for token in tokens], np.int64),
        logprob=np.array([-token.nats for token in tokens], np.float32),
        is_greedy=np.zeros(count, np.bool_),
        is_tied=np.zeros(count, np.bool_),
        context=np.ones(count, np.int32),
        weight=np.array([token.weight for token in tokens], np.float32),
    )


@st.composite
def tokenizations(draw: st.DrawFn, *, gaps: bool = True) -> list[Token]:
    """Tokens of some passages: empty ones, long ones, and with bytes that no token stands for."""
    tokens: list[Token] = []
    for record in draw(st.lists(st.integers(0, 3), max_size=4)):
        record += tokens[-1].record + 1 if tokens else 0
        place = draw(st.integers(0, 5))
        for _ in range(draw(st.integers(1, 8))):
            place += draw(st.sampled_from([0, 0, 0, 2])) if gaps else 0
            size = draw(st.sampled_from([0, 1, 2, 3, 5]))
            nats = draw(st.integers(0, 64)) / 8
            weight = draw(st.sampled_from([1.0, 1.0, 0.5]))
            tokens.append(Token(record, place, place + size, nats, weight))
            place += size
    return tokens


def naive(tokens: Sequence[Token]) -> tuple[dict[tuple[int, int], float], float]:
    """Return the nats of each byte, and those of passages without bytes."""
    per_byte: dict[tuple[int, int], float] = {}
    lost = 0.0
    for number, token in enumerate(tokens):
        nats = token.nats * token.weight
        same = [n for n, other in enumerate(tokens) if other.record == token.record]
        full = [n for n in same if tokens[n].end > tokens[n].begin]
        before = [n for n in full if n <= number]
        after = [n for n in full if n > number]
        if not full:
            lost += nats
            continue
        holder = tokens[before[-1] if before else after[0]]
        for byte in range(holder.begin, holder.end):
            key = (token.record, byte)
            per_byte[key] = per_byte.get(key, 0.0) + nats / (holder.end - holder.begin)
    return per_byte, lost


@given(tokenizations(), tokenizations())
def test_every_range_of_bytes_has_the_sum_of_its_bytes(
    first: list[Token], second: list[Token]
) -> None:
    tables = [table_of(first), table_of(second)]
    layout = Layout.of(tables)
    for tokens, table in zip((first, second), tables, strict=True):
        spread = ByteNats.of(table, layout)
        per_byte, lost = naive(tokens)
        assert spread.without_bytes == pytest.approx(lost)
        sums = [0.0]
        for record, begin, size in zip(layout.record, layout.begins, layout.sizes, strict=True):
            sums += [per_byte.get((record, byte), 0.0) for byte in range(begin, begin + size)]
        found = spread.before(np.arange(layout.starts[-1] + 1))
        assert found == pytest.approx(np.cumsum(sums))
        total = math.fsum(token.nats * token.weight for token in tokens)
        assert found[-1] + spread.without_bytes == pytest.approx(total)


@given(tokenizations(gaps=False), st.data())
def test_smaller_pieces_with_the_same_nats_per_byte_change_nothing(
    tokens: list[Token], data: st.DataObject
) -> None:
    pieces: list[Token] = []
    for token in tokens:
        cuts = data.draw(st.sets(st.integers(token.begin, token.end), max_size=3))
        bounds = sorted({token.begin, token.end, *cuts})
        size = token.end - token.begin
        if size:
            pieces += [
                token._replace(begin=a, end=b, nats=token.nats * (b - a) / size)
                for a, b in pairwise(bounds)
            ]
        else:
            pieces.append(token)
    layout = Layout.of([table_of(tokens)])
    places = np.arange(layout.starts[-1] + 1)
    coarse, fine = (ByteNats.of(table_of(each), layout) for each in (tokens, pieces))
    # An empty token's nats go to the token before it, which is smaller now: compare without them.
    if all(token.end > token.begin or not token.nats for token in tokens):
        assert fine.before(places) == pytest.approx(coarse.before(places), abs=1e-5)
    assert fine.before(places)[-1:] == pytest.approx(coarse.before(places)[-1:], abs=1e-5)


@given(tokenizations(gaps=False))
def test_tokens_of_a_range_are_those_that_overlap_it(tokens: list[Token]) -> None:
    layout = Layout.of([table_of(tokens)])
    spread = ByteNats.of(table_of(tokens), layout)
    for begin in range(int(layout.starts[-1])):
        rows = spread.tokens(begin, begin + 1)
        overlapping = [
            row for row in range(len(tokens)) if spread.begin[row] <= begin < spread.end[row]
        ]
        assert [*range(rows.start, rows.stop)] == overlapping


def test_a_layout_numbers_the_passages_of_both_tables() -> None:
    first = table_of([Token(0, 0, 3, 1), Token(2, 4, 6, 1)])
    second = table_of([Token(1, 0, 1, 1), Token(2, 3, 5, 1)])
    layout = Layout.of([first, second])
    assert layout.record.tolist() == [0, 1, 2]
    assert layout.begins.tolist() == [0, 0, 3]
    assert layout.starts.tolist() == [0, 3, 4, 7]
    assert layout.passages(second).tolist() == [1, 2]
    assert (layout.choice == 0).all()
    assert (layout.keys % CHOICES == 0).all()
