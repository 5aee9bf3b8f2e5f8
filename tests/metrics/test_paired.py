"""Paired differences: by hand, exact enumeration, symmetry, agreement, and small simulations."""

import math
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2eval.metrics import resampling
from gpt2eval.metrics.dependence import Values
from gpt2eval.metrics.independent import Independent, independent_units
from gpt2eval.metrics.intervals import Z80, student
from gpt2eval.metrics.paired import PairedDifference, compare_rates, compare_shares
from gpt2eval.metrics.sign_flips import sign_flips


def of(change: Values, units: Values | None = None, **more: object) -> PairedDifference:
    """Compare a model with one that needs `change` nats more."""
    change = np.asarray(change, np.float64)
    units = np.ones(len(change)) if units is None else units
    return compare_rates(np.zeros(len(change)), change, units, **more)  # type: ignore[arg-type]


def by_enumeration(change: Values) -> float:
    """Return the p of all sign flips of a few differences."""
    sums = [abs(float(np.dot(signs, change))) for signs in product((1, -1), repeat=len(change))]
    return float(np.mean([total >= sums[0] - 1e-9 for total in sums]))


def independent(nats: Values, units: Values) -> Independent:
    return independent_units(nats, units, serial=False)


def excludes_0(found: PairedDifference) -> bool:
    assert found.interval
    return not found.interval[0] <= 0 <= found.interval[1]


# -- by hand ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "p"),
    [
        ([2.0], 1.0),
        ([1.0, 3.0], 0.5),  # |1 + 3| = 4, |1 - 3| = 2
        ([1.0, 1.0, 1.0], 0.25),  # 3, 1, 1, 1
        ([-1.0, 2.0, 4.0], 0.5),  # 5; 7, 1, 3
        ([0.0, 0.0], 1.0),
    ],
)
def test_sign_flips_by_hand(change: list[float], p: float) -> None:
    assert of(np.array(change)).p == p


def test_rates_and_duels_by_hand() -> None:
    found = compare_rates([10, 20, 30, 40], [9, 25, 30, 30], [1, 2, 3, 4])
    assert found[:3] == (10, 9.4, pytest.approx(-0.6))
    assert (found.wins, found.losses, found.ties, found.entries) == (2, 1, 1, 4)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-9, 9), min_size=1, max_size=8))
def test_few_units_are_enumerated(change: list[int]) -> None:
    assert of(np.array(change)).p == pytest.approx(by_enumeration(np.array(change)))


def test_random_flips_agree_with_all_flips() -> None:
    random = np.random.default_rng(1)
    for size in (15, 16):
        change = random.standard_t(3, size) + 0.5
        exact = by_enumeration(change)
        flips = sign_flips(independent(change, np.ones(size)))
        assert flips.permutations == 9999
        assert flips.p == pytest.approx(exact, abs=4 * math.sqrt(exact / 9999))


def test_all_flips_agree_with_random_flips_of_correlated_units() -> None:
    random = np.random.default_rng(2)
    nats, units = random.normal(0.5, 1, 14), random.integers(1, 9, 14).astype(float)
    taken = independent_units(nats, units, np.arange(14))
    every, some = sign_flips(taken), sign_flips(taken, 8000)
    assert (every.permutations, some.permutations) == (8191, 8000)
    assert some.p == pytest.approx(every.p, abs=0.02)
    assert some.critical == pytest.approx(every.critical, rel=0.05)


@pytest.mark.parametrize("size", [6, 9, 12])
def test_the_interval_has_the_rates_that_the_flips_do_not_reject(size: int) -> None:
    random = np.random.default_rng(size)
    units = random.integers(1, 9, size).astype(float)
    nats = units + random.standard_t(3, size)
    interval = sign_flips(independent(nats, units)).interval
    assert interval
    for rate in np.linspace(-2, 4, 61):
        p = by_enumeration(nats - rate * units)
        assert (p > 0.05) == (interval[0] <= rate <= interval[1])


def test_too_few_flips_are_an_error() -> None:
    with pytest.raises(ValueError, match="expected at least 19"):
        of(np.ones(40), permutations=10)


def test_arrays_of_different_lengths_are_an_error() -> None:
    with pytest.raises(ValueError, match="one length"):
        compare_rates([1, 2], [1], [1, 1])
    with pytest.raises(ValueError, match="one unit"):
        compare_rates([1, 2], [1, 2], [0, 0])
    with pytest.raises(ValueError, match="one record"):
        compare_shares(np.zeros(0, bool), np.zeros(0, bool))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_an_error(value: float) -> None:
    nats = np.ones(20)
    nats[3] = value
    for pair in ((nats, np.ones(20)), (np.ones(20), nats), (nats, nats)):
        with pytest.raises(ValueError, match="finite"):
            compare_rates(*pair, np.ones(20))


@pytest.mark.parametrize(
    "change",
    [[2, 3, 0, -1, 4, 0, 0, 2, 1], [2, 0, -3, 4, 3, 0, -1, 0, 3], [3, 1, 0, 4, 0, 4, 1, -1, 3, 0]],
)
def test_a_statistic_at_the_critical_value_is_not_rejected(change: list[int]) -> None:
    """Other flips give the same statistic, so that p is above 5 % and the interval ends at 0."""
    nats = np.array(change, np.float64)
    for signed in (nats, -nats):
        found = of(signed, clusters=np.arange(len(change)), serial=False)
        assert found.p == 0.0625
        assert not excludes_0(found)


# -- identity, symmetry, invariance ----------------------------------------------------------------

KINDS = {
    "records": {"serial": False},
    "clusters": {"clusters": np.arange(120) // 4, "serial": False},
    "stream": {"serial": True},
}


def text(seed: int, shift: float = 0.0) -> tuple[Values, Values, Values]:
    """Return the nats of two models, and the units, of 120 entries."""
    random = np.random.default_rng(seed)
    units = random.integers(5, 40, 120).astype(float)
    first = units * random.gamma(4, size=120)
    return first, first + units * (shift + random.standard_t(3, 120)), units


@pytest.mark.parametrize("kind", KINDS)
def test_equal_models_have_no_difference(kind: str) -> None:
    nats, _, units = text(3)
    found = compare_rates(nats, nats, units, **KINDS[kind])
    assert (found.difference, found.interval, found.p, found.mde80) == (0, (0, 0), 1, 0)
    assert (found.wins, found.losses, found.ties) == (0, 0, 120)


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_difference_is_certain(kind: str) -> None:
    nats, _, units = text(4)
    found = compare_rates(nats, nats + 2 * units, units, **KINDS[kind])
    assert found.interval == pytest.approx((2, 2))
    assert found.p is not None
    assert found.p < 0.001
    assert found.error == 0


@pytest.mark.parametrize("kind", KINDS)
def test_swapped_models_have_the_opposite_difference(kind: str) -> None:
    for seed in range(5):
        first, second, units = text(seed, 0.2)
        found = compare_rates(first, second, units, **KINDS[kind])
        other = compare_rates(second, first, units, **KINDS[kind])
        assert found.interval
        assert other.interval == pytest.approx((-found.interval[1], -found.interval[0]))
        assert (other.difference, other.p) == (-found.difference, pytest.approx(found.p))
        assert (other.first, other.second) == (found.second, found.first)
        assert (other.wins, other.losses) == (found.losses, found.wins)


@pytest.mark.parametrize("kind", KINDS)
def test_units_only_scale_the_difference(kind: str) -> None:
    first, second, units = text(5, 0.1)
    found = compare_rates(first, second, units, **KINDS[kind])
    scaled = compare_rates(4 * first, 4 * second, 2 * units, **KINDS[kind])
    assert found.interval
    assert scaled.interval == pytest.approx([2 * bound for bound in found.interval])
    assert scaled.p == pytest.approx(found.p)


def test_the_order_of_independent_records_does_not_matter() -> None:
    change = np.array([0.3, -1.2, 2.5, 0.7])
    assert {of(np.array(order)).p for order in permutations(change)} == {of(change).p}
    first, second, units = text(6, 0.2)
    found = compare_rates(first, second, units, serial=False)
    order = np.random.default_rng(6).permutation(120)
    other = compare_rates(first[order], second[order], units[order], serial=False)
    assert other == found
    # Above 5,000 records some are drawn together.
    more = [np.tile(values, 50) for values in (first, second, units)]
    order = np.random.default_rng(7).permutation(6000)
    first, second, units = more
    found = compare_rates(first, second, units, serial=False)
    assert compare_rates(first[order], second[order], units[order], serial=False) == found


def test_entries_of_a_cluster_count_once() -> None:
    random = np.random.default_rng(7)
    change = random.normal(0.3, 1, 40)
    # Each cluster is one difference, spread over three entries.
    spread = np.repeat(change / 3, 3)
    found = of(spread, np.ones(120), clusters=np.repeat(np.arange(40), 3), serial=False)
    whole = of(change, np.full(40, 3.0), clusters=np.arange(40), serial=False)
    assert found.interval == pytest.approx(whole.interval)
    assert found.p == pytest.approx(whole.p)
    assert (found.entries, found.resampled) == (120, 40)


def test_more_clusters_than_are_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(8)
    change = random.normal(0, 1, 400)
    found = of(change, clusters=np.arange(400), serial=False)
    monkeypatch.setattr(resampling, "MOST_UNITS", 200)
    fewer = of(change, clusters=np.arange(400), serial=False)
    assert found.interval
    assert found.error
    assert fewer.interval == pytest.approx(found.interval, abs=0.3 * found.error)


# -- the test and the interval ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_p_is_below_5_percent_where_the_interval_excludes_0(kind: str) -> None:
    found = [
        compare_rates(*text(seed, shift), **KINDS[kind])
        for seed in range(12)
        for shift in (0, 0.25)
    ]
    assert [one.p is not None and one.p <= 0.05 for one in found] == [
        excludes_0(one) for one in found
    ]
    assert {excludes_0(one) for one in found} == {True, False}


def test_skewed_differences_are_not_taken_for_symmetric_ones() -> None:
    # The second model is mostly a little better, and seldom far worse.
    random = np.random.default_rng(9)
    change = random.lognormal(0, 1, 40) - math.exp(0.5) - 0.3
    found = of(change, serial=False)
    assert found.p is not None
    assert found.p > sign_flips(independent(change, np.ones(40))).p


def test_the_smallest_detectable_difference_in_closed_form() -> None:
    found = of(np.random.default_rng(10).normal(size=20), serial=False)
    assert found.error
    # Published quantiles of Student's t with 19 degrees of freedom.
    assert found.mde80 == pytest.approx((2.0930 + 0.8610) * found.error, rel=1e-3)


@pytest.mark.parametrize(("freedom", "expected"), [(3, 0.9785), (10, 0.8791), (60, 0.8477)])
def test_80_percent_quantiles_are_the_published_ones(freedom: int, expected: float) -> None:
    assert student(freedom, Z80) == pytest.approx(expected, rel=1e-3)


def test_the_smallest_detectable_difference_is_found_8_times_in_10() -> None:
    random = np.random.default_rng(11)
    true = 2.8016 / math.sqrt(100)
    found = [of(random.normal(true, 1, 100), serial=False, permutations=999) for _ in range(150)]
    assert np.mean([one.mde80 or 0 for one in found]) == pytest.approx(true, rel=0.05)
    assert 0.7 < np.mean([excludes_0(one) for one in found]) < 0.9


# -- when there is none ----------------------------------------------------------------------------


def test_few_records_have_a_p_but_no_interval() -> None:
    found = of(np.arange(1.0, 9.0))
    assert (found.interval, found.error, found.mde80, found.p) == (None, None, None, 2 / 2**8)
    assert of(np.arange(1.0, 10.0)).interval


def test_a_short_text_has_neither() -> None:
    random = np.random.default_rng(12)
    for change in (random.normal(size=29), np.cumsum(random.normal(size=300))):
        found = of(change, serial=True)
        assert (found.interval, found.p, found.permutations) == (None, None, 0)
    assert of(random.normal(size=30), serial=True).interval


def test_a_record_that_outweighs_all_others_has_no_interval() -> None:
    change = np.random.default_rng(13).normal(size=50)
    change[7] = 1000
    found = of(change, serial=False)
    assert found.interval is None
    assert found.p is not None


# -- simulations -----------------------------------------------------------------------------------


def share_found(texts: list[PairedDifference]) -> tuple[float, float]:
    """Return the share of intervals that contain 0, and the share of p <= 5 %."""
    given = [one for one in texts if one.interval]
    assert len(given) > 0.9 * len(texts)
    false = np.mean([one.p is not None and one.p <= 0.05 for one in texts])
    return float(np.mean([not excludes_0(one) for one in given])), float(false)


@pytest.mark.parametrize("size", [20, 100])
def test_heavy_tailed_records(size: int) -> None:
    random = np.random.default_rng(14)
    losses = random.lognormal(size=(150, 2, size))
    units = np.ones(size)
    found = [
        compare_rates(one, other, units, serial=False, permutations=999) for one, other in losses
    ]
    coverage, false = share_found(found)
    assert 0.92 <= coverage <= 0.985
    assert false <= 0.08


def test_clusters_do_not_reject_as_single_records_do() -> None:
    random = np.random.default_rng(15)
    clusters = np.arange(600) // 20
    change = random.normal(size=(150, 600)) + random.normal(size=(150, 30))[:, clusters]
    by_cluster = [of(one, clusters=clusters, serial=False, permutations=999) for one in change]
    coverage, false = share_found(by_cluster)
    assert 0.91 <= coverage <= 0.985
    assert false <= 0.09
    single = [of(one, serial=False, permutations=99) for one in change[:50]]
    assert share_found(single)[1] > 0.3


def test_autocorrelated_streams() -> None:
    random = np.random.default_rng(16)
    noise = random.normal(size=(150, 700))
    for i in range(1, 700):
        noise[:, i] += 0.8 * noise[:, i - 1]
    coverage, false = share_found([of(one[100:], serial=True, permutations=999) for one in noise])
    assert 0.9 <= coverage <= 0.985
    assert false <= 0.1
