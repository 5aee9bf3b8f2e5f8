"""Accuracies, several tests at once, verdicts, ranks and agreement, by hand and by other means."""

import math
from itertools import combinations

import numpy as np
import pytest

from gpt2eval.metrics.agreement import token_agreement
from gpt2eval.metrics.decisions import Verdict, duels_won, holm, rank_ranges, verdict
from gpt2eval.metrics.paired import PairedDifference, compare_rates, compare_shares
from gpt2eval.metrics.proportions import mcnemar, tango

# -- accuracies ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wins", "losses", "p"),
    [(0, 0, 1), (1, 0, 1), (5, 5, 1), (6, 0, 2 / 64), (0, 6, 2 / 64), (1, 9, 22 / 1024)],
)
def test_mcnemar_by_hand(wins: int, losses: int, p: float) -> None:
    assert mcnemar(wins, losses) == pytest.approx(p)


@pytest.mark.parametrize("wins", [0, 3, 40, 90, 101])
def test_mcnemar_sums_the_binomial_distribution(wins: int) -> None:
    losses = 180 - wins
    tail = sum(math.comb(180, k) for k in range(min(wins, losses) + 1)) / 2**180
    assert mcnemar(wins, losses) == pytest.approx(min(1, 2 * tail))


def test_mcnemar_of_many_records() -> None:
    # The normal approximation with its correction for continuity is close.
    z = (100_500 - 99_500 - 1) / math.sqrt(200_000)
    assert mcnemar(100_500, 99_500) == pytest.approx(math.erfc(z / math.sqrt(2)), rel=1e-3)


def score(difference: float, wins: int, losses: int, records: int) -> float:
    """Return the score statistic, with the most likely share of losses found on a grid."""
    q = np.linspace(max(0, -difference) + 1e-9, (1 - difference) / 2 - 1e-9, 200_001)
    likelihood = (
        wins * np.log(q + difference)
        + losses * np.log(q)
        + (records - wins - losses) * np.log(1 - 2 * q - difference)
    )
    best = q[likelihood.argmax()]
    variance = records * (2 * best + difference * (1 - difference))
    return (wins - losses - records * difference) / math.sqrt(variance)


@pytest.mark.parametrize(("wins", "losses", "records"), [(9, 1, 50), (12, 2, 50), (3, 7, 20)])
def test_the_score_test_just_rejects_the_bounds_of_the_interval(
    wins: int, losses: int, records: int
) -> None:
    bounds = tango(wins, losses, records)
    scores = [score(bound, wins, losses, records) for bound in bounds]
    assert scores == pytest.approx([1.96, -1.96], abs=1e-3)


def test_the_interval_of_equal_answers_is_not_empty() -> None:
    # |n d| <= z sqrt(n d (1 - d)), so d <= z^2 / (n + z^2).
    z2 = 1.959964**2
    assert tango(0, 0, 20) == pytest.approx((-z2 / (20 + z2), z2 / (20 + z2)))


@pytest.mark.parametrize("wins", [0, 1, 5, 9])
def test_the_interval_contains_the_difference_and_is_antisymmetric(wins: int) -> None:
    low, high = tango(wins, 1, 10)
    assert -1 <= low <= (wins - 1) / 10 <= high <= 1
    assert tango(1, wins, 10) == pytest.approx((-high, -low))


def answers(*counts: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the answers of which both, only the first, only the second, and none are right."""
    outcome = np.repeat(np.arange(4), counts)
    return outcome <= 1, outcome % 2 == 0


def test_shares_by_hand() -> None:
    found = compare_shares(*answers(10, 1, 9, 30))
    assert (found.wins, found.losses, found.ties, found.entries) == (9, 1, 40, 50)
    assert found[:3] == pytest.approx((11 / 50, 19 / 50, 8 / 50))
    assert (found.p, found.permutations) == (mcnemar(9, 1), 0)
    assert found.interval == tango(9, 1, 50)
    # The standard deviation of changes of +1, -1 and 0.
    changes = np.repeat([1.0, -1.0, 0.0], [9, 1, 40])
    assert found.error == pytest.approx(changes.std() / math.sqrt(50))
    assert found.mde80 == pytest.approx(2.8016 * changes.std() / math.sqrt(50), rel=1e-4)


def test_no_difference_below_six_contested_records_is_detected() -> None:
    assert compare_shares(*answers(10, 0, 0, 90)).mde80 == 0.06
    assert mcnemar(5, 0) > 0.05 >= mcnemar(6, 0)


def test_records_in_clusters_count_by_cluster() -> None:
    random = np.random.default_rng(1)
    one, other = random.random(60) < 0.4, random.random(60) < 0.6
    clusters = np.repeat(np.arange(60), 10)
    found = compare_shares(np.repeat(one, 10), np.repeat(other, 10), clusters)
    single = compare_shares(one, other)
    assert (found.difference, found.resampled, found.entries) == (single.difference, 60, 600)
    assert found.interval
    assert single.interval
    width, single_width = (high - low for low, high in (found.interval, single.interval))
    assert width == pytest.approx(single_width, rel=0.3)


# -- several tests ---------------------------------------------------------------------------------


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, None, 0.9]) == [1.0, None, 1.0]
    assert holm([]) == []
    assert holm([None]) == [None]


def test_holm_never_reorders_and_never_lowers() -> None:
    ps = np.random.default_rng(2).random(20).tolist()
    adjusted = holm(ps)
    pairs = [(p, q) for p, q in zip(ps, adjusted, strict=True) if q is not None]
    assert all(p <= q <= 1 for p, q in pairs)
    in_order = [q for _, q in sorted(pairs)]
    assert in_order == sorted(in_order)


# -- verdicts --------------------------------------------------------------------------------------


def difference(low: float, high: float) -> PairedDifference:
    found = compare_rates([1, 2], [1, 2], [1, 1])
    return found._replace(difference=(low + high) / 2, interval=(low, high), p=0.001)


@pytest.mark.parametrize(
    ("interval", "p", "margin", "lower", "higher"),
    [
        ((-0.3, -0.1), 0.01, None, "better", "worse"),
        ((0.1, 0.3), 0.01, None, "worse", "better"),
        ((0.1, 0.3), 0.06, None, "unresolved", "unresolved"),
        ((-0.1, 0.3), 0.01, None, "unresolved", "unresolved"),
        ((0.1, 0.3), None, None, "unresolved", "unresolved"),
        ((-0.1, 0.3), 0.5, 0.3, "equal", "equal"),
        ((-0.1, 0.3), 0.5, 0.29, "unresolved", "unresolved"),
        ((-0.4, 0.1), 0.5, 0.3, "unresolved", "unresolved"),
        ((0.1, 0.3), 0.01, 0.4, "equal", "equal"),  # certain, and too small to matter
        ((0.1, 0.5), 0.01, 0.4, "worse", "better"),
    ],
)
def test_verdicts(
    interval: tuple[float, float],
    p: float | None,
    margin: float | None,
    lower: Verdict,
    higher: Verdict,
) -> None:
    found = difference(*interval)
    assert verdict(found, p, lower_is_better=True, margin=margin) == lower
    assert verdict(found, p, lower_is_better=False, margin=margin) == higher


def test_without_an_interval_nothing_is_resolved() -> None:
    found = difference(0.1, 0.2)._replace(interval=None)
    assert verdict(found, 0.001, lower_is_better=True, margin=1) == "unresolved"


# -- ranks -----------------------------------------------------------------------------------------


def test_ranks_of_a_clear_order() -> None:
    # Model 2 is the best, then 0, then 1.
    verdicts: dict[tuple[int, int], Verdict] = {
        (0, 1): "worse",
        (0, 2): "better",
        (1, 2): "better",
    }
    assert rank_ranges(3, verdicts) == [(2, 2), (3, 3), (1, 1)]


def test_ranks_without_any_decision() -> None:
    undecided: dict[tuple[int, int], Verdict] = {
        (0, 1): "unresolved",
        (0, 2): "equal",
        (1, 2): "unresolved",
    }
    assert rank_ranges(3, undecided) == [(1, 3)] * 3


def test_rank_ranges_contain_the_true_ranks() -> None:
    # Five models, one nat apart in truth, and noise: a false range in at most 5 % of texts.
    random = np.random.default_rng(3)
    wrong = 0
    for _ in range(30):
        rates = random.normal(size=(5, 40)) * 2 + np.array([[1], [1.5], [2], [2.5], [3]])
        found = {
            (one, other): compare_rates(
                rates[one], rates[other], np.ones(40), serial=False, permutations=999
            )
            for one, other in combinations(range(5), 2)
        }
        adjusted = holm([each.p for each in found.values()])
        verdicts: dict[tuple[int, int], Verdict] = {
            pair: verdict(each, p, lower_is_better=True)
            for (pair, each), p in zip(found.items(), adjusted, strict=True)
        }
        ranges = rank_ranges(5, verdicts)
        wrong += any(not low <= rank <= high for rank, (low, high) in enumerate(ranges, 1))
    assert wrong <= 4


def test_shares_of_duels_by_hand() -> None:
    pairs = {
        (0, 1): compare_rates([1, 2, 3], [0, 2, 2], [1, 1, 1]),  # two wins and a tie
        (0, 2): compare_rates([1, 2, 3], [2, 3, 4], [1, 1, 1]),
        (1, 2): compare_rates([0, 2, 2], [2, 3, 4], [1, 1, 1]),
    }
    assert duels_won(3, pairs) == pytest.approx([3.5 / 6, 5.5 / 6, 0])
    assert sum(duels_won(3, pairs)) == pytest.approx(1.5)


# -- tokens ----------------------------------------------------------------------------------------


def test_agreement_by_hand() -> None:
    one, other = np.log([0.5, 0.25, 0.1], dtype=np.float32), np.log([0.25, 0.5, 0.1])
    greedy = np.array([True, False, False]), np.array([False, True, False])
    found = token_agreement(one, other.astype(np.float32), *greedy)
    assert found.mean_change == pytest.approx(0.5 / 3)
    assert (found.top1, found.tokens) == (pytest.approx(1 / 3), 3)
    assert found.correlation == pytest.approx(np.corrcoef(one, other)[0, 1])


def test_a_model_agrees_with_itself() -> None:
    logprobs = -np.random.default_rng(4).gamma(2, size=500).astype(np.float32)
    greedy = logprobs > -1
    assert token_agreement(logprobs, logprobs, greedy, greedy)[1:] == (0, 1, 500)
    assert token_agreement(logprobs, logprobs, greedy, greedy).correlation == pytest.approx(1)


def test_a_uniform_model_has_no_correlation() -> None:
    same = np.full(9, -5.5, np.float32)
    greedy = np.zeros(9, bool)
    assert token_agreement(same, same, greedy, greedy).correlation is None
