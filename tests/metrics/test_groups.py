"""Groups of documents: closed forms, sums, macro averages and their intervals."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2eval.errors import UsageError
from gpt2eval.metrics.clusters import Clusters
from gpt2eval.metrics.groups import Groups, macro_average, measure_groups
from gpt2eval.metrics.intervals import student
from gpt2eval.metrics.metrics import measure
from gpt2eval.types import Tally, Units

METRICS = ("ppl", "nats_per_token", "bpb")
DOCUMENT = Clusters("document")


def document(nats: float, words: int, size: int | None = None, tokens: int = 1) -> Tally:
    size = words * 5 if size is None else size
    return Tally(nats, tokens, Units(words=words, bytes=size, chars=size), records=1)


def grouped(names: Sequence[str], tallies: Sequence[Tally]) -> Groups:
    known = sorted({*names})
    numbers = np.array([known.index(name) for name in names])
    return measure_groups("folder", known, numbers, tallies, DOCUMENT, METRICS, "word")


def sample(seed: int, count: int, rate: float) -> list[Tally]:
    random = np.random.default_rng(seed)
    words = random.integers(5, 50, count).tolist()
    nats = random.gamma(8, rate / 8, count).tolist()
    return [document(n * w, w, tokens=2 * w) for n, w in zip(nats, words, strict=True)]


entries = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.floats(0.1, 50),
        st.integers(1, 40),
        st.integers(1, 60),
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=20)
@given(entries)
def test_groups_add_up_and_each_is_a_task_of_its_documents_alone(
    rows: list[tuple[str, float, int, int]],
) -> None:
    names = [name for name, *_ in rows]
    tallies = [document(nats, words, tokens=tokens) for _, nats, words, tokens in rows]
    groups = grouped(names, tallies)
    assert [group.name for group in groups.rows] == sorted({*names})
    total = Tally.total([group.tally for group in groups.rows])
    assert total.nats == pytest.approx(Tally.total(tallies).nats, rel=1e-14)
    assert (total.units, total.tokens, total.records) == (
        Tally.total(tallies).units,
        Tally.total(tallies).tokens,
        len(tallies),
    )
    for group in groups.rows:
        own = [tally for name, tally in zip(names, tallies, strict=True) if name == group.name]
        alone = {name: measure(name, own, "word", DOCUMENT) for name in METRICS}
        assert group.metrics == alone
        assert group.bits == pytest.approx(alone["bpb"].value * group.tally.units.bytes)
    assert groups.micro == {name: measure(name, tallies, "word", DOCUMENT) for name in METRICS}
    for name in METRICS:
        values = [group.metrics[name].value for group in groups.rows]
        assert groups.macro[name].value == pytest.approx(sum(values) / len(values), rel=1e-12)
        assert groups.macro[name].units == len(values)


@settings(max_examples=20)
@given(st.randoms(use_true_random=False))
def test_the_order_of_documents_and_groups_changes_no_value(random: "np.random.Generator") -> None:
    rows = [("a", t) for t in sample(1, 40, 2.0)] + [("b", t) for t in sample(2, 35, 3.0)]
    before = grouped(*zip(*rows, strict=True))
    random.shuffle(rows)  # type: ignore[arg-type]  # a random.Random shuffles a list
    after = grouped(*zip(*rows, strict=True))
    for one, other in zip(before.rows, after.rows, strict=True):
        assert one.name == other.name
        assert one.tally == other.tally
    for name in METRICS:
        assert before.macro[name].value == pytest.approx(after.macro[name].value, rel=1e-14)


def test_one_group_has_equal_averages() -> None:
    groups = grouped(["a"] * 40, sample(3, 40, 2.0))
    for name in METRICS:
        micro, macro = groups.micro[name], groups.macro[name]
        assert (macro.value, macro.interval) == (micro.value, micro.interval)
        assert macro.interval is not None


def test_equal_documents_have_exact_intervals() -> None:
    groups = grouped(["a", "b"] * 40, [document(8 * math.log(2) * 50, 10)] * 80)
    macro = groups.macro["bpb"]
    assert macro.value == pytest.approx(8, rel=1e-14)
    assert macro.interval == (pytest.approx(8, rel=1e-12), pytest.approx(8, rel=1e-12))


@pytest.mark.parametrize("name", METRICS)
def test_the_interval_of_a_macro_average_is_that_of_the_delta_method(name: str) -> None:
    """With many documents the bootstrap agrees with the textbook's stratified error."""
    members = [sample(seed, count, rate) for seed, count, rate in ((1, 400, 2.0), (2, 300, 4.0))]
    macro = macro_average(name, "word", members, DOCUMENT)
    assert macro is not None
    assert macro.interval is not None
    variance = 0.0
    for tallies in members:
        units = np.array([t.tokens if name == "nats_per_token" else t.units.words for t in tallies])
        units = units * (5 if name == "bpb" else 1)
        nats = np.array([t.nats for t in tallies])
        rate = nats.sum() / units.sum()
        slope = {"ppl": math.exp(rate), "bpb": 1 / math.log(2), "nats_per_token": 1.0}[name]
        size = len(tallies)
        spread = ((nats - rate * units) ** 2).sum() * size / (size - 1)
        variance += (slope / 2 / units.sum()) ** 2 * spread
    half = (macro.interval[1] - macro.interval[0]) / 2
    assert half == pytest.approx(student(500) * math.sqrt(variance), rel=0.08)


def test_an_interval_needs_the_freedom_of_thirty_documents() -> None:
    few = macro_average("bpb", "word", [sample(1, 12, 2.0), sample(2, 10, 3.0)], DOCUMENT)
    assert few is not None
    assert few.interval is None
    assert few.why_no_interval.endswith("documents in effect; no interval can be trusted below 30")
    # The few documents of a group count if the other groups' spread decides.
    many = [sample(seed, 3, 2.0) for seed in range(30)]
    found = macro_average("bpb", "word", many, DOCUMENT)
    assert found is not None
    assert found.interval is not None
    single = macro_average("bpb", "word", [*many, sample(99, 1, 2.0)], DOCUMENT)
    assert single is not None
    assert single.interval is None
    assert single.why_no_interval == ("1 document in a group; no interval can be trusted below 30")


def test_a_group_without_units_is_left_out_of_the_macro_average() -> None:
    groups = grouped(["a", "b", "b"], [document(3.0, 0, 0, 0), document(4.0, 2), document(4.0, 2)])
    assert groups.group("a").metrics == {}
    assert groups.macro["ppl"].units == 1
    assert groups.macro["ppl"].value == pytest.approx(math.exp(2))
    with pytest.raises(UsageError, match="unknown group 'c'"):
        groups.group("c")


def test_an_infinite_group_makes_the_mean_infinite() -> None:
    groups = grouped(["a", "b"], [document(1e4, 3), document(4.0, 2)])
    assert groups.macro["ppl"].value == math.inf
    assert groups.macro["ppl"].interval is None


@pytest.mark.slow
def test_intervals_of_macro_averages_cover_the_truth() -> None:
    """Five groups of unlike sizes and rates; the true macro average is known."""
    rates, sizes = (2.0, 2.5, 3.0, 4.0, 1.5), (60, 25, 200, 80, 40)
    truth = {"bpb": sum(rates) / 5 / 5 / math.log(2), "ppl": sum(map(math.exp, rates)) / 5}
    hits = {"bpb": 0, "ppl": 0}
    for trial in range(400):
        members = [
            sample(1000 * trial + number, size, rate)
            for number, (size, rate) in enumerate(zip(sizes, rates, strict=True))
        ]
        for name, expected in truth.items():
            found = macro_average(name, "word", members, DOCUMENT)
            assert found is not None
            assert found.interval is not None
            hits[name] += found.interval[0] <= expected <= found.interval[1]
    assert all(0.92 < number / 400 < 0.98 for number in hits.values()), hits
