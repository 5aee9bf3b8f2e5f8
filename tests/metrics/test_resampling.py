"""Intervals of rates: closed form, invariance, coverage by simulation, and when there is none."""

import math
import time

import numpy as np
import pytest

from gpt2eval.metrics.clusters import Clusters, block_name
from gpt2eval.metrics.dependence import (
    Values,
    autoregression,
    clearly_dependent,
    independent_blocks,
    merged,
)
from gpt2eval.metrics.independent import cosines
from gpt2eval.metrics.intervals import student
from gpt2eval.metrics.metrics import measure
from gpt2eval.metrics.resampling import rate_interval
from gpt2eval.metrics.result import MetricValue
from gpt2eval.types import Tally, Units


def autoregressive(random: np.random.Generator, size: int, r: float, rows: int = 1) -> Values:
    """Return AR(1) processes of variance 1, as rows; a single one as a vector."""
    values = random.normal(size=(size + 400, rows))
    for i in range(1, len(values)):
        values[i] += r * values[i - 1]
    return values[400:].T.squeeze() * math.sqrt(1 - r**2)


@pytest.mark.parametrize(
    ("freedom", "expected"), [(3, 3.1824), (8, 2.3060), (29, 2.0452), (199, 1.9720)]
)
def test_students_quantiles_are_the_published_ones(freedom: int, expected: float) -> None:
    assert student(freedom) == pytest.approx(expected, rel=1e-2 if freedom < 8 else 2e-4)


def test_all_cosines_give_the_sample_variance() -> None:
    waves = cosines(40, 1)[:, :39]
    assert waves.T @ waves == pytest.approx(np.eye(39), abs=1e-12)
    values = np.random.default_rng(1).normal(size=40)
    assert ((values @ waves) ** 2).mean() == pytest.approx(values.var(ddof=1))


def test_the_error_of_independent_records_is_that_of_a_ratio() -> None:
    random = np.random.default_rng(2)
    units = random.integers(5, 50, 300).astype(float)
    nats = random.gamma(3 * units)
    found = rate_interval(nats, units, serial=False)
    residuals = nats - found.rate * units
    assert found.error == pytest.approx(math.sqrt((residuals**2).sum() * 300 / 299) / units.sum())
    assert found.error
    assert found.interval
    low, high = found.interval
    assert high - low == pytest.approx(2 * 1.96 * found.error, rel=0.12)


def test_the_entries_of_a_cluster_are_resampled_together() -> None:
    random = np.random.default_rng(3)
    sizes = random.integers(1, 9, 50)
    clusters = np.repeat(np.arange(50) * 3, sizes)
    nats, units = random.gamma(9, size=sizes.sum()), np.full(sizes.sum(), 2.0)
    found = rate_interval(nats, units, clusters, serial=False)
    starts = np.cumsum(sizes) - sizes
    nats, units = np.add.reduceat(nats, starts), np.add.reduceat(units, starts)
    assert found == rate_interval(nats, units, np.arange(50), serial=False)
    assert (found.resampled, found.in_blocks) == (50, False)


def test_the_interval_follows_the_scale_of_nats_and_units() -> None:
    random = np.random.default_rng(4)
    nats, units = random.gamma(9, size=400), random.integers(1, 5, 400).astype(float)
    for serial in (False, True):
        found = rate_interval(nats, units, serial=serial).interval
        scaled = rate_interval(8 * nats, 2 * units, serial=serial).interval
        assert found is not None
        assert scaled == pytest.approx([4 * bound for bound in found])


# -- dependence ------------------------------------------------------------------------------------


def test_an_autoregression_finds_its_coefficients() -> None:
    random = np.random.default_rng(5)
    values = autoregressive(random, 20000, 0.7)
    model = autoregression(values)
    assert model.coefficients[0] == pytest.approx(0.7, abs=0.03)
    assert model.variance == pytest.approx(0.51, abs=0.02)
    assert len(autoregression(np.zeros(100)).coefficients) == 0


@pytest.mark.parametrize("r", [0.5, 0.8, 0.95])
def test_the_blocks_of_an_autoregression_are_about_its_independent_units(r: float) -> None:
    random = np.random.default_rng(6)
    size = round(90 * (1 + r) / (1 - r))
    counts = [independent_blocks(values) for values in autoregressive(random, size, r, 40)]
    assert 60 <= np.median(counts) <= 180


def test_independence_is_not_taken_for_dependence() -> None:
    random = np.random.default_rng(7)
    for draw in (random.normal, random.standard_cauchy, random.lognormal):
        values = [draw(size=200) for _ in range(50)]
        assert sum(clearly_dependent(v - v.mean()) for v in values) <= 3
        assert np.mean([independent_blocks(v - v.mean()) == 200 for v in values]) > 0.7
    assert clearly_dependent(autoregressive(random, 300, 0.9))
    assert not clearly_dependent(np.zeros(300))


def test_blocks_are_adjacent_and_of_about_equal_length() -> None:
    values = merged(np.ones(103), 10)
    assert values.sum() == 103
    assert set(values) == {10, 11}


# -- coverage --------------------------------------------------------------------------------------

TRUE = 4.0


def coverage(texts: Values, *, articles: int = 0, serial: bool = False) -> float:
    """Return the share of intervals that contain the true rate, of texts with noise of mean 0."""
    covered = []
    random = np.random.default_rng(8)
    clusters = np.arange(texts.shape[1]) // articles if articles else None
    for noise in texts:
        units = random.integers(5, 40, len(noise)).astype(float)
        found = rate_interval(units * (TRUE + noise), units, clusters, serial=serial)
        if found.interval:
            covered.append(found.interval[0] <= TRUE <= found.interval[1])
    assert len(covered) > 0.75 * len(texts)
    return float(np.mean(covered))


def test_coverage_with_strong_article_effects() -> None:
    random = np.random.default_rng(9)
    effects = np.repeat(random.normal(size=(200, 60)), 10, axis=1)
    noise = effects + random.normal(size=effects.shape) / 4
    assert 0.9 <= coverage(noise, articles=10) <= 0.99


def test_coverage_of_an_autocorrelated_stream() -> None:
    random = np.random.default_rng(12)
    assert 0.88 <= coverage(autoregressive(random, 900, 0.9, 150), serial=True) <= 0.995


@pytest.mark.parametrize("size", [50, 200])
def test_coverage_of_heavy_tailed_records(size: int) -> None:
    random = np.random.default_rng(11)
    assert 0.89 <= coverage(random.lognormal(size=(150, size)) - math.exp(0.5)) <= 0.995


# -- when there is none ----------------------------------------------------------------------------


def test_fewer_than_30_units_have_no_interval() -> None:
    random = np.random.default_rng(12)
    nats, units = random.gamma(9, size=600), np.ones(600)
    assert rate_interval(nats[:29], units[:29]).interval is None
    assert rate_interval(nats[:30], units[:30]).interval
    assert rate_interval(nats, units, np.arange(600) // 21, serial=False).interval is None
    stream = 9 + autoregressive(random, 300, 0.99)
    found = rate_interval(stream, np.ones(300), serial=True)
    assert (found.interval, found.in_blocks, found.resampled < 30) == (None, True, True)


def test_a_unit_that_outweighs_all_others_has_no_interval() -> None:
    nats = np.random.default_rng(13).normal(9, 1, 50)
    nats[7] = 1000
    assert rate_interval(nats, np.ones(50)).interval is None


def test_units_of_very_unequal_size_have_no_interval() -> None:
    random = np.random.default_rng(14)
    words = np.ones(200)
    words[:3] = 500  # as much as 3 units of equal size
    noise = random.normal(0, 1, 200)
    assert rate_interval(3 * words + np.sqrt(words) * noise, words).interval is None
    words = random.permutation(np.repeat([1.0, 500.0], [170, 30]))
    assert rate_interval(3 * words + np.sqrt(words) * noise, words).interval


def test_the_reason_is_stated() -> None:
    def reason(resampled: str, units: int, interval: tuple[float, float] | None = None) -> str:
        return MetricValue("ppl", 2, interval, "word", 9, "", resampled, units).why_no_interval

    assert reason("article", 12) == "12 articles; no interval can be trusted below 30"
    assert (
        reason("block of 9 lines", 4) == "4 blocks of 9 lines; no interval can be trusted below 30"
    )
    assert reason("document", 1) == "1 document; no interval can be trusted below 30"
    assert reason("record", 40) == "a few of 40 records outweigh all others; no interval"
    assert (reason("record", 40, (1, 3)), reason("", 0)) == ("", "")


# -- of tallies ------------------------------------------------------------------------------------


def stream_of(noise: Values) -> list[Tally]:
    return [
        Tally(10 * (4 + float(e)), 10, Units(10, 3, 60, 60), records=int(i == 0))
        for i, e in enumerate(noise)
    ]


def test_a_stream_is_resampled_in_blocks_and_records_one_by_one() -> None:
    random = np.random.default_rng(14)
    parts = stream_of(autoregressive(random, 1000, 0.8))
    estimate = measure("ppl", parts, "word")
    first, *_, lines = estimate.resampled.split()
    assert (first, lines) == ("block", "lines")
    length = int(estimate.resampled.split()[2])
    assert length * estimate.resampled_units == pytest.approx(3000, rel=0.1)
    assert estimate.interval
    # The same tallies as records that are known to be independent.
    records = measure("ppl", parts, "word", Clusters("record"))
    assert (records.resampled, records.resampled_units) == ("record", 1000)
    assert records.interval
    assert math.log(estimate.interval[1] / estimate.interval[0]) > 2 * math.log(
        records.interval[1] / records.interval[0]
    )


def test_accuracies_have_an_interval_for_any_number_of_records() -> None:
    estimate = measure("acc", [Tally(records=1, correct=1)] * 12, "word")
    assert estimate.interval
    assert (estimate.resampled, estimate.resampled_units) == ("record", 12)


def test_no_rate_is_below_zero() -> None:
    nats = np.random.default_rng(15).lognormal(0, 3, 40)
    estimate = measure("nats_per_token", [Tally(float(n), 1, records=1) for n in nats], "word")
    assert estimate.interval is None or estimate.interval[0] >= 0


@pytest.mark.parametrize(
    ("units", "serial", "expected"),
    [
        (Units(lines=60), True, "block of 2 lines"),
        (Units(chars=5000), True, "block of 167 characters"),
        (Units(), True, "block of 1 part"),
        (Units(lines=60), None, "block of 1 record"),
    ],
)
def test_blocks_are_named_by_what_they_are_made_of(
    units: Units, serial: bool | None, expected: str
) -> None:
    parts = [Tally(units=units, records=1), *[Tally()] * 29]
    assert block_name(Clusters("record", serial=serial), parts, 30) == expected


def test_ten_thousand_parts_take_little_time() -> None:
    random = np.random.default_rng(16)
    nats, units = random.gamma(9, size=10000), np.ones(10000)
    for serial in (False, True):
        begin = time.process_time()
        rate_interval(nats, units, serial=serial)
        assert time.process_time() - begin < 0.5


def test_one_unit_has_no_interval() -> None:
    found = rate_interval(np.array([3.0]), np.array([2.0]))
    assert (found.rate, found.interval) == (1.5, None)
