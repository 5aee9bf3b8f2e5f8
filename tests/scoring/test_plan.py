"""Windows, branches, batches and folding against naive implementations of their contracts."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval.errors import UsageError
from gpt2eval.scoring import plan
from gpt2eval.scoring.plan import PlannedRequest, Target, Window
from gpt2eval.scoring.requests import listed
from gpt2eval.scoring.rolled import Rolled, Stretch
from gpt2eval.scoring.sheet import Sheet, check_finite
from gpt2eval.types import Encoded, Ids, Part, Passage, Request, TokenScores, Units

START = 999_999


def ids(*tokens: int) -> Ids:
    return np.array(tokens, np.int32)


def encoded(
    tokens: Sequence[int], ends: Sequence[int], bounds: Sequence[int], *, record: int = 0
) -> Encoded:
    """Return a passage with adjacent parts between `bounds`, and its tokens."""
    parts = tuple(Part(a, b, Units()) for a, b in pairwise(bounds))
    return Encoded(Passage(record, "x" * max(ends, default=0), parts), ids(*tokens), ids(*ends))


def question(*choices: Sequence[int], first: int = 0, stop: int | None = None) -> list[Encoded]:
    """Return passages of one record, one character per token, scored from `first` on."""
    return [encoded(c, range(1, len(c) + 1), [first, stop or len(c)], record=7) for c in choices]


# -- windows -------------------------------------------------------------------------------------

windows = st.integers(1, 20).flatmap(
    lambda context: st.builds(
        Window,
        st.just(context),
        st.integers(1, context),
        st.sampled_from([None, START]),
        st.just("regular"),
        *[st.just(False)] * 4,
    )
)


def contract(x: list[int], context: int, stride: int) -> list[tuple[list[int], list[int]]]:
    """Return the inputs of each pass and the tokens it newly scores, by the definition."""
    passes = []
    end = context
    done = 1
    while done < len(x):
        inputs = x[max(0, end - context) : end]
        scored = [*x[end - context + 1 : end + 1]][done - (end - context + 1) :]
        passes.append((inputs[: len(x) - 1 - (end - context)], scored))
        done = end + 1
        end += stride
    return passes


@given(st.integers(0, 90), windows)
def test_windows_follow_the_definition(length: int, window: Window) -> None:
    x = [*([] if window.start is None else [START]), *range(length)]
    planned = [item.request for item in Rolled([Stretch(0, ids(*range(length)))], window)]
    passes = [
        ([*r.prefix.tolist(), *r.branches[0][:-1].tolist()], r.branches[0].tolist())
        for r in planned
    ]
    assert passes == contract(x, window.context, window.stride)


@given(st.integers(1, 90), windows)
def test_every_token_is_scored_once_given_the_tokens_before_it(length: int, window: Window) -> None:
    first = 0 if window.start == START else 1
    scored: list[int] = []
    for request, targets, _ in Rolled([Stretch(5, ids(*range(length)))], window):
        (branch,) = request.branches
        text = [t for t in [*request.prefix.tolist(), *branch.tolist()] if t != START]
        assert text == [*range(text[0], text[0] + len(text))], (
            "a window is a contiguous part of the text"
        )
        assert len(request.prefix) >= 1
        assert len(request.prefix) + len(branch) - 1 <= window.context
        assert len(request.prefix) >= min(branch[0] + 1 - first, window.context - window.stride + 1)
        assert targets == (Target(5, branch[0]),)
        scored += branch.tolist()
    assert scored == [*range(first, length)]


@given(st.integers(1, 90), windows)
def test_without_a_start_token_one_token_is_unscored_and_counted(
    length: int, window: Window
) -> None:
    stream = encoded(range(length), range(1, length + 1), [0, length])
    planned = [*Rolled([Stretch(0, stream.ids)], window)]
    sheet = Sheet([range(length)])
    for item in planned:
        sheet.fill([item], constant(item, -1.0))
    scored = sheet.fold(0, stream, plan.scored_range(stream))
    missing = 0 if window.start == START else 1
    assert (scored.unscored, scored.tokens.sum(), scored.nats.sum()) == (
        missing,
        length - missing,
        length - missing,
    )
    assert sheet.scored.tolist() == [i >= missing for i in range(length)]


@given(st.integers(0, 90), windows.filter(lambda window: window.start is not None))
def test_a_repeated_start_token_takes_the_place_of_the_oldest_token(
    length: int, window: Window
) -> None:
    stream = ids(*range(length))
    plain = [*Rolled([Stretch(3, stream)], window)]
    repeated = [*Rolled([Stretch(3, stream)], window._replace(repeats_start=True))]
    assert len(plain) == len(repeated)
    scored: list[int] = []
    for old, new in zip(plain, repeated, strict=True):
        assert new.request.prefix.tolist() == [START, *old.request.prefix[1:].tolist()]
        assert new.request.branches[0].tolist() == old.request.branches[0].tolist()
        assert (new.targets, new.weight) == (old.targets, old.weight)
        assert plan.tokens_fed(new.request) == plan.tokens_fed(old.request) <= window.context
        scored += new.request.branches[0].tolist()
    assert scored == [*range(length)]


@given(st.integers(0, 90), windows)
def test_once_has_the_windows_of_regular(length: int, window: Window) -> None:
    stream = ids(*range(length))
    once = [*Rolled([Stretch(0, stream)], window._replace(kind="once"))]
    regular = [*Rolled([Stretch(0, stream)], window)]
    assert [(i.request.prefix.tolist(), i.targets) for i in once] == [
        (i.request.prefix.tolist(), i.targets) for i in regular
    ]


# -- branches ------------------------------------------------------------------------------------

tokens = st.lists(st.integers(0, 2), min_size=1, max_size=12)


@given(
    tokens,
    st.lists(tokens, min_size=2, max_size=10),
    st.integers(1, 40),
    st.sampled_from([None, START]),
)
def test_choices_share_their_longest_common_prefix(
    before: list[int], options: list[list[int]], context: int, start: int | None
) -> None:
    texts = [before + option for option in options]
    common = next(
        (i for i, column in enumerate(zip(*texts, strict=False)) if len(set(column)) > 1),
        min(map(len, texts)),
    )
    common = min(common, *(len(t) - 1 for t in texts))  # each has its last token scored
    shared = [*([] if start is None else [start]), *texts[0][:common]]
    longest = max(len(t) - common for t in texts)
    group = question(*texts, first=len(before))
    if not shared or longest > context:
        with pytest.raises(UsageError, match="record 7"):
            plan.branching(3, group, Window(context, 1, start))
        return
    ranges, (request, targets, _) = plan.branching(3, group, Window(context, 1, start))
    prefix = request.prefix.tolist()
    assert [b.tolist() for b in request.branches] == [t[common:] for t in texts]
    assert ranges == [range(common, len(t)) for t in texts]
    assert targets == tuple(Target(3 + i, common) for i in range(len(texts)))
    assert prefix == shared[-len(prefix) :]
    assert len(prefix) == len(shared) or len(prefix) + longest - 1 == context, (
        "the prefix loses tokens only if the context is full"
    )


@given(tokens, st.lists(tokens, min_size=1, max_size=4), st.integers(8, 40))
def test_a_prefix_that_is_cut_keeps_a_repeated_start_token(
    before: list[int], options: list[list[int]], context: int
) -> None:
    group = question(*(before + option for option in options), first=len(before))
    window = Window(context, 1, START)
    try:
        ranges, plain = plan.branching(3, group, window)
    except UsageError:
        return
    again, repeated = plan.branching(3, group, window._replace(repeats_start=True))
    assert ranges == again
    assert plain.targets == repeated.targets
    assert repeated.request.prefix.tolist() == [START, *plain.request.prefix[1:].tolist()]


def test_a_single_passage_has_its_parts_or_its_last_token_scored() -> None:
    group = question([5, 6, 7, 8, 9], first=2)
    window = Window(10, 10, START)
    ranges, (request, *_) = plan.branching(0, group, window)
    assert (ranges, request.prefix.tolist(), request.branches[0].tolist()) == (
        [range(2, 5)],
        [START, 5, 6],
        [7, 8, 9],
    )
    ranges, (request, targets, _) = plan.branching(0, group, window, last_token=True)
    assert (request.prefix.tolist(), request.branches[0].tolist()) == ([START, 5, 6, 7, 8], [9])
    assert (ranges, targets) == ([range(4, 5)], (Target(0, 4),))


def test_a_choice_without_its_continuation_ends_with_its_part() -> None:
    _, (request, *_) = plan.branching(
        0, question([1, 2, 3, 9], [1, 4, 3, 9], first=1, stop=2), Window(10, 10, None)
    )
    assert [b.tolist() for b in request.branches] == [[2], [4]]


@pytest.mark.parametrize(("context", "fits"), [(3, True), (2, False)])
def test_the_scored_tokens_must_fit_into_the_context(context: int, fits: bool) -> None:
    group = question([1, 2, 3, 4], first=1)
    if fits:
        assert plan.branching(0, group, Window(context, 1, START))[1].request.prefix.tolist() == [1]
    else:
        with pytest.raises(
            UsageError, match=r"record 7: 3 tokens to score; expected at most the context of 2"
        ):
            plan.branching(0, group, Window(context, 1, START))


def test_a_choice_that_ends_inside_a_token_is_an_error() -> None:
    group = [encoded([1, 2], [1, 4], [1, 3], record=7), encoded([1, 3], [1, 3], [1, 3], record=7)]
    with pytest.raises(UsageError, match="record 7: no token ends in the scored text"):
        plan.branching(0, group, Window(8, 8, START))


def test_a_token_must_precede_the_scored_text() -> None:
    with pytest.raises(UsageError, match="record 7: nothing precedes"):
        plan.branching(0, question([1, 2, 3]), Window(8, 8, None))


# -- batches -------------------------------------------------------------------------------------

shapes = st.lists(
    st.tuples(st.integers(1, 6), st.lists(st.integers(1, 5), min_size=1, max_size=10)), max_size=30
)


def request_of(number: int, shape: tuple[int, list[int]]) -> PlannedRequest:
    branches = tuple(ids(*[number] * length) for length in shape[1])
    return PlannedRequest(
        Request(ids(*[0] * shape[0]), branches), tuple(Target(number, 0) for _ in branches)
    )


@given(shapes, st.integers(1, 30))
def test_batches_contain_each_request_once_longest_first(
    shape: list[tuple[int, list[int]]], budget: int
) -> None:
    planned = [request_of(i, s) for i, s in enumerate(shape)]
    batches = plan.batches(listed(planned), budget)
    flat = [item for batch in batches for item in batch]
    numbers = [item.targets[0].passage for item in flat]
    assert sorted(numbers) == [*range(len(planned))]
    keys = [
        (-plan.tokens_fed(item.request), number) for item, number in zip(flat, numbers, strict=True)
    ]
    assert keys == sorted(keys), "longest first, equal lengths in their original order"
    fed = [[plan.tokens_fed(item.request) for item in batch] for batch in batches]
    assert all(len(batch) == 1 or sum(batch) <= budget for batch in fed), (
        "a request above the budget forms its own batch"
    )
    assert all(sum(a) + b[0] > budget for a, b in pairwise(fed)), "no batch ends too early"


def test_the_last_token_of_a_branch_is_not_an_input() -> None:
    assert plan.tokens_fed(Request(ids(1, 2, 3), (ids(4), ids(5, 6)))) == 4


@given(shapes, st.integers(1, 30), st.integers(1, 90))
def test_chunks_contain_each_batch_once_in_order(
    shape: list[tuple[int, list[int]]], budget: int, size: int
) -> None:
    batches = plan.batches(listed([request_of(i, s) for i, s in enumerate(shape)]), budget)
    chunks = plan.chunks(batches, size)
    assert [batch for chunk in chunks for batch in chunk] == [*batches]
    for chunk in chunks:
        fed = sum(plan.tokens_fed(item.request) for batch in chunk for item in batch)
        assert len(chunk) == 1 or fed <= size


def test_batches_do_not_depend_on_the_order_of_records() -> None:
    planned = [request_of(i, (i + 1, [1])) for i in range(20)]
    forwards = plan.batches(listed(planned), 3)
    backwards = plan.batches(listed(planned[::-1]), 3)
    targets = [[item.targets for item in batch] for batch in forwards]
    assert targets == [[item.targets for item in batch] for batch in backwards]


# -- scores --------------------------------------------------------------------------------------


def constant(item: PlannedRequest, logprob: float) -> TokenScores:
    count = sum(len(b) for b in item.request.branches)
    return TokenScores(np.full(count, logprob, np.float32), np.zeros(count, np.bool_))


@pytest.mark.parametrize(("bad", "name"), [(np.nan, "nan"), (-np.inf, "-inf"), (np.inf, "inf")])
def test_a_score_that_is_not_finite_is_reported(bad: float, name: str) -> None:
    item = PlannedRequest(Request(ids(0), (ids(1, 1), ids(2, 2, 2))), (Target(0, 4), Target(1, 4)))
    passages = [encoded([1], [1], [0, 1], record=record) for record in (30, 31)]
    logprobs = np.array([-1, -1, -1, bad, -1], np.float32)
    with pytest.raises(
        UsageError, match=rf"record 31, token 5: the model's log-probability is {name};"
    ):
        check_finite([item], TokenScores(logprobs, np.zeros(5, np.bool_)), passages)


@st.composite
def folded(draw: st.DrawFn) -> tuple[Encoded, list[float], list[bool]]:
    """Draw a text in adjacent parts, tokens that tile it, and their scores.

    Several tokens may end at the same character.
    """
    ends = sorted(draw(st.lists(st.integers(1, 30), min_size=1, max_size=25)))
    cuts = draw(st.lists(st.integers(0, ends[-1]), min_size=2, max_size=6, unique=True))
    logprobs = draw(st.lists(st.floats(-20, 0), min_size=len(ends), max_size=len(ends)))
    greedy = draw(st.lists(st.booleans(), min_size=len(ends), max_size=len(ends)))
    return encoded(range(len(ends)), ends, sorted(cuts)), logprobs, greedy


@given(folded(), st.integers(0, 3))
def test_tokens_belong_to_the_part_in_which_they_end(
    case: tuple[Encoded, list[float], list[bool]], offset: int
) -> None:
    passage, logprobs, greedy = case
    sheet = Sheet([range(offset), range(len(logprobs))])
    item = PlannedRequest(Request(ids(0), (passage.ids,)), (Target(1, 0),))
    sheet.fill([item], TokenScores(np.array(logprobs), np.array(greedy)))
    scored = sheet.fold(1, passage, plan.scored_range(passage))

    ends, parts = passage.ends.tolist(), passage.passage.parts
    inside = [[i for i, end in enumerate(ends) if part.start < end <= part.end] for part in parts]
    assert scored.tokens.tolist() == [len(part) for part in inside]
    assert scored.greedy_tokens.tolist() == [sum(greedy[i] for i in part) for part in inside]
    assert scored.nats == pytest.approx(
        [-sum(logprobs[i] for i in part) for part in inside], abs=1e-9
    )
    in_any_part = [i for i, end in enumerate(ends) if parts[0].start < end <= parts[-1].end]
    assert scored.nats.sum() == pytest.approx(-sum(logprobs[i] for i in in_any_part), abs=1e-9)
    spans = [*zip([0, *ends], ends, strict=False)]
    assert scored.straddling == sum(
        any(a < bound < b for bound in (parts[0].start, parts[-1].end)) for a, b in spans
    )


def test_a_questions_tokens_before_its_part_count_to_the_part() -> None:
    passage = encoded([1, 2, 3], [3, 5, 9], [7, 9])
    sheet = Sheet([range(1, 3)])
    item = PlannedRequest(Request(ids(1), (ids(2, 3),)), (Target(0, 1),))
    sheet.fill([item], TokenScores(np.array([-1.0, -2.0]), np.array([True, False])))
    scored = sheet.fold(0, passage, range(1, 3))
    assert (scored.nats.tolist(), scored.tokens.tolist(), scored.greedy_tokens.tolist()) == (
        [3.0],
        [2],
        [1],
    )
    assert (scored.straddling, scored.unscored) == (1, 0)


def test_log_probabilities_are_summed_in_float64() -> None:
    count = 100_000
    passage = encoded(range(count), range(1, count + 1), [0, count])
    sheet = Sheet([range(count)])
    item = PlannedRequest(Request(ids(0), (passage.ids,)), (Target(0, 0),))
    sheet.fill([item], constant(item, -0.1))
    assert sheet.fold(0, passage, range(count)).nats[0] == pytest.approx(
        count * float(np.float32(0.1)), rel=1e-12
    )
