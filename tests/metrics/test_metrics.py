"""Metrics in closed form, intervals against published values and simulation."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval import demo, pipeline
from gpt2eval.config.loader import load_task
from gpt2eval.data import corpus
from gpt2eval.metrics import intervals, metrics
from gpt2eval.metrics.intervals import wilson
from gpt2eval.metrics.metrics import count, measure, tallies
from gpt2eval.metrics.result import Result
from gpt2eval.text import passages
from gpt2eval.types import Part, Passage, Scored, Tally, Units

# -- closed form -----------------------------------------------------------------------------------


def run(model: str, task: str) -> Result:
    (result,) = pipeline.evaluate(model, task, data=dict(demo.data()))
    return result


def value(result: Result, name: str) -> float:
    return result.metrics[name].value


@pytest.mark.parametrize(("task", "metric"), [("enwik8", "bpb"), ("text8", "bpc")])
def test_uniform_bytes_cost_8_bits(task: str, metric: str) -> None:
    result = run("toy:uniform-bytes", task)
    assert value(result, metric) == pytest.approx(8, abs=1e-12)
    assert value(result, "nats_per_token") == pytest.approx(math.log(256), abs=1e-12)
    assert result.metrics[metric].interval == pytest.approx((8, 8), abs=1e-12)


@pytest.mark.parametrize(
    "task", ["wikitext2/no_detok", "wikitext103/no_detok", "ptb/no_detok", "lm1b/no_detok"]
)
def test_the_perplexity_of_uniform_bytes_is_256_to_the_bytes_per_unit(task: str) -> None:
    text = demo.data()[task.partition("/")[0]].read_text(encoding="utf-8")
    units = len(text.split()) + text.count("\n")
    result = run("toy:uniform-bytes", task)
    assert value(result, "ppl") == pytest.approx(256 ** (len(text.encode()) / units), rel=1e-12)
    assert result.metrics["ppl"].units == units
    assert result.tally.nats == pytest.approx(len(text.encode()) * math.log(256), rel=1e-12)


def test_the_perplexity_of_last_words_counts_the_blank_before_each() -> None:
    records = corpus.load_corpus(load_task("lambada/no_detok"), demo.data()["lambada"]).records
    size = sum(1 + len(record.text.split()[-1].encode()) for record in records)
    assert value(run("toy:uniform-bytes", "lambada/no_detok"), "ppl") == pytest.approx(
        256 ** (size / len(records)), rel=1e-12
    )


def test_all_choices_of_equal_length_tie_under_uniform_bytes_and_are_wrong() -> None:
    records = corpus.load_corpus(load_task("cbt_cn/no_detok"), demo.data()["cbt_cn"]).records
    alone = [r for r in records if all(len(o) > len(r.answer) for o in r.options if o != r.answer)]
    assert value(run("toy:uniform-bytes", "cbt_cn/no_detok"), "acc") == pytest.approx(
        100 * len(alone) / len(records)
    )


def test_a_unigram_models_nats_are_its_cross_entropy(tmp_path: Path) -> None:
    (tmp_path / "counts").write_bytes(b"ab" * 500 + bytes(range(128)))
    counts = 1 + np.bincount(
        np.frombuffer((tmp_path / "counts").read_bytes(), np.uint8), minlength=256
    )
    text = np.frombuffer(demo.data()["text8"].read_bytes(), np.uint8)
    expected = -np.log2(counts / counts.sum())[text].mean()
    assert value(run(f"toy:unigram:{tmp_path / 'counts'}", "text8"), "bpc") == pytest.approx(
        expected, rel=1e-12
    )


def test_each_metric_is_its_formula() -> None:
    parts = [Tally(30.0, 12, Units(4, 1, 40, 38), 1, 1), Tally(20.0, 8, Units(5, 0, 25, 25), 1, 0)]
    assert measure("ppl", parts, "word").value == pytest.approx(math.exp(50 / 9))
    assert measure("ppl", parts, "word+eol").value == pytest.approx(math.exp(50 / 10))
    assert measure("bpb", parts, "word").value == pytest.approx(50 / math.log(2) / 65)
    assert measure("bpc", parts, "word").value == pytest.approx(50 / math.log(2) / 63)
    assert measure("nats_per_token", parts, "word").value == pytest.approx(50 / 20)
    assert measure("acc", parts, "word").value == 50
    named = [
        (m.unit, m.units)
        for m in (measure(n, parts, "word") for n in ("ppl", "bpb", "bpc", "nats_per_token", "acc"))
    ]
    assert named == [("word", 9), ("byte", 65), ("char", 63), ("token", 20), ("record", 2)]


@given(st.floats(0, 1e6), st.integers(1, 1000), st.sampled_from(["ppl", "bpb", "bpc"]))
def test_a_value_is_that_of_a_measurement(nats: float, units: int, name: str) -> None:
    tally = Tally(nats, tokens=units, units=Units(bytes=units, chars=units), records=1)
    assert metrics.value(name, tally, "token") == measure(name, [tally], "token").value


def test_a_perplexity_beyond_floats_is_infinite() -> None:
    assert measure("ppl", [Tally(1e6, 1, Units(words=1))], "word").value == math.inf


# -- tallies ---------------------------------------------------------------------------------------

small = st.integers(0, 1000)
some_tallies = st.builds(
    Tally,
    st.integers(0, 10**6).map(float),
    small,
    st.builds(Units, small, small, small, small),
    small,
    small,
    small,
    small,
)


@given(st.lists(some_tallies, max_size=8), st.integers(0, 8))
def test_tallies_add_field_by_field_however_they_are_split(parts: list[Tally], cut: int) -> None:
    whole = sum(parts, Tally())
    assert whole == sum(parts[:cut], Tally()) + sum(parts[cut:], Tally())
    assert whole.nats == sum(p.nats for p in parts)
    assert (whole.units.bytes, whole.unscored, whole.straddling) == (
        sum(p.units.bytes for p in parts),
        sum(p.unscored for p in parts),
        sum(p.straddling for p in parts),
    )
    for unit in ("word", "word+eol", "byte", "char", "token", "record"):
        assert count(whole, unit) == sum(count(p, unit) for p in parts)


def answer(
    nats: float,
    tokens: int = 1,
    *,
    record: int = 0,
    right: bool = False,
    greedy: int = 0,
    unscored: int = 0,
    tied: int | None = None,
) -> Scored:
    passage = Passage(record, "text", (Part(0, 4, Units(1, 0, 4, 4)),), right=right)
    return Scored(
        passage,
        np.array([nats]),
        np.array([tokens]),
        np.array([greedy]),
        unscored,
        0,
        tied_tokens=None if tied is None else np.array([tied]),
    )


@pytest.mark.parametrize(
    ("right", "others", "correct"),
    [(1.0, [2.0, 3.0], 1), (2.0, [1.0, 3.0], 0), (1.0, [1.0, 3.0], 0), (1.0, [1.0, 1.0], 0)],
)
def test_the_right_choice_must_beat_all_others(
    right: float, others: list[float], correct: int
) -> None:
    for place in range(3):
        scored = [answer(o) for o in others]
        scored.insert(place, answer(right, right=True))
        (tally,) = tallies(scored)
        assert (tally.correct, tally.nats, tally.records, tally.units.words) == (
            correct,
            right,
            1,
            1,
        )


def test_per_token_divides_each_choice_by_its_tokens() -> None:
    scored = [answer(6.0, 3, right=True), answer(4.0, 1)]
    assert [tallies(scored)[0].correct, tallies(scored, per_token=True)[0].correct] == [0, 1]
    assert tallies(scored, per_token=True)[0].nats == 6.0
    tie = [answer(6.0, 3, right=True), answer(4.0, 2)]
    assert tallies(tie, per_token=True)[0].correct == 0


@pytest.mark.parametrize(
    ("right", "others", "ties"),
    [
        (1.0, [2.0, 2.0], 0),
        (1.0, [1.0, 2.0], 1),
        (1.0, [1.0, 1.0], 1),
        (2.0, [1.0, 1.0], 1),
        (2.0, [2.0, 1.0], 0),
    ],
)
def test_a_question_is_tied_if_its_best_choice_is(
    right: float, others: list[float], ties: int
) -> None:
    scored = [answer(o, tied=1) for o in others]
    (tally,) = tallies([*scored, answer(right, right=True, tied=1)])
    assert tally.ties == ties


def test_tied_tokens_add_up_and_default_to_none() -> None:
    words = [answer(1.0, 5, record=i, right=True, tied=tied) for i, tied in enumerate((2, 3))]
    two = tallies(words)
    assert [tally.ties for tally in two] == [2, 3]
    assert Tally.total(two).ties == 5
    assert tallies([answer(1.0, 5, right=True)])[0].ties == 0
    passage = passages.everything(passages.Record(0, "a b\nc d\n"))[0]
    stream = Scored(
        passage,
        np.ones(2),
        np.array([3, 4]),
        np.zeros(2, np.int64),
        0,
        0,
        tied_tokens=np.array([1, 4]),
    )
    assert [tally.ties for tally in tallies([stream])] == [1, 4]


@pytest.mark.parametrize(("greedy", "unscored", "correct"), [(3, 0, 1), (2, 0, 0), (3, 1, 0)])
def test_a_word_is_right_if_all_its_tokens_are_greedy(
    greedy: int, unscored: int, correct: int
) -> None:
    (tally,) = tallies([answer(1.0, 3, right=True, greedy=greedy, unscored=unscored)])
    assert (tally.correct, tally.unscored) == (correct, unscored)


def test_records_stay_separate_and_each_counts_once() -> None:
    passage = passages.everything(passages.Record(0, "a b\nc d\n"))[0]
    stream = Scored(passage, np.array([1.0, 2.0]), np.array([3, 4]), np.array([0, 0]), 1, 2)
    alone = tallies([stream])
    assert [(t.nats, t.tokens, t.records, t.unscored) for t in alone] == [
        (1.0, 3, 1, 1),
        (2.0, 4, 0, 0),
    ]
    by_record = tallies([stream, answer(5.0, record=1, right=True)])
    assert [(t.nats, t.tokens, t.records) for t in by_record] == [(3.0, 7, 1), (5.0, 1, 1)]
    assert sum(by_record, Tally()) == Tally(8.0, 8, Units(5, 2, 12, 12, 5, 2), 2, 0, 1, 2)


# -- intervals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilsons_interval_is_the_published_one(
    correct: int, total: int, low: float, high: float
) -> None:
    """Newcombe 1998, Statistics in Medicine 17, table I, method 3."""
    assert wilson(correct, total) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 3000), st.data())
def test_wilsons_bounds_solve_their_equation(total: int, data: st.DataObject) -> None:
    correct = data.draw(st.integers(0, total))
    low, high = wilson(correct, total)
    assert 0 <= low <= correct / total <= high <= 1
    for p in (low, high):
        assert abs(correct / total - p) == pytest.approx(
            1.959964 * math.sqrt(p * (1 - p) / total), abs=1e-6
        )


def test_accuracy_has_wilsons_interval_in_percent() -> None:
    estimate = measure("acc", [Tally(records=1, correct=i < 81) for i in range(263)], "word")
    assert estimate.interval == pytest.approx((25.53, 36.62), abs=5e-3)


def test_the_bootstrap_interval_has_about_its_nominal_coverage() -> None:
    random = np.random.default_rng(11)
    covered = 0
    trials = 60
    for _ in range(trials):
        units = random.integers(5, 40, size=100)
        nats = random.gamma(4 * units, 0.75)  # 3 nats a unit
        parts = [
            Tally(n, 1, Units(words=int(u)))
            for n, u in zip(nats.tolist(), units.tolist(), strict=True)
        ]
        estimate = measure("ppl", parts, "word")
        assert estimate.interval
        low, high = estimate.interval
        assert low < estimate.value < high
        covered += low <= math.exp(3) <= high
    assert 0.87 <= covered / trials < 1


def test_the_bootstrap_interval_agrees_with_the_standard_error() -> None:
    nats = np.random.default_rng(5).normal(10, 2, size=400)
    estimate = measure("nats_per_token", [Tally(float(n), 1) for n in nats], "word")
    assert estimate.interval
    low, high = estimate.interval
    assert high - low == pytest.approx(2 * intervals.Z95 * nats.std() / 20, rel=0.1)


def test_one_part_has_no_interval() -> None:
    estimate = measure("bpb", [Tally(10.0, 1, Units(bytes=10))], "byte")
    assert estimate.interval is None


def test_the_bootstrap_is_deterministic() -> None:
    parts = [Tally(float(i), 1, Units(words=2)) for i in range(20)]
    assert measure("ppl", parts, "word") == measure("ppl", parts, "word")
