"""The time left of a run: from the tokens that it computed, on a clock of the test's own."""

import io

import pytest
from rich.console import Console

from gpt2eval.cli.amounts import amount, duration
from gpt2eval.cli.pace import Pace
from gpt2eval.cli.progress import EVERY, Lines, LongRunNotice, TerminalBars
from gpt2eval.types import Progress


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def report(task: str, tokens: int, total: int, *, resumed: int = 0, later: int = 0) -> Progress:
    return Progress(task, tokens, total, tokens, total, resumed, later)


def test_the_journals_tokens_do_not_count_as_speed() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.update(report("ptb", 0, 1000, resumed=600, later=300))
    clock.now += 0.1
    pace.update(report("ptb", 600, 1000, resumed=600, later=300))
    assert (pace.speed(), pace.task_left(), pace.total_left()) == (None, None, None)
    clock.now += 9.9
    pace.update(report("ptb", 700, 1000, resumed=600, later=300))
    assert pace.speed() == pytest.approx(10)
    assert pace.task_left() == pytest.approx(30)
    assert pace.total_left() == pytest.approx(60)


def test_tasks_that_follow_are_expected_at_the_mean_speed() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.update(report("slow", 0, 100, later=900))
    clock.now += 100
    pace.update(report("slow", 100, 100, later=900))
    clock.now += 50  # reading the next text is no scoring
    pace.update(report("fast", 0, 600, later=300))
    assert pace.total_left() == pytest.approx(900)
    clock.now += 3
    pace.update(report("fast", 300, 600, later=300))
    assert pace.speed() == pytest.approx(100)
    assert pace.task_left() == pytest.approx(3)
    assert pace.total_left() == pytest.approx(3 + 300 / (400 / 103))


def test_a_line_a_minute_and_one_for_each_finished_task(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    pace = Pace(clock)
    lines = Lines(pace, "tokens", clock)
    for tokens in range(0, 1300, 100):
        pace.update(report("ptb", tokens, 12_300, later=500))
        lines.show()
        clock.now += EVERY / 5
    pace.update(report("ptb", 12_300, 12_300, later=500))
    lines.show()
    pace.update(report("lm1b", 500, 500, resumed=500))
    lines.show()
    assert capsys.readouterr().err.splitlines() == [
        "ptb: 500 of 12,300 tokens (4 %), 8 tokens/s, 24 min left, about 25 min for all tasks",
        "ptb: 1,000 of 12,300 tokens (8 %), 8 tokens/s, 23 min left, about 24 min for all tasks",
        "ptb: 12,300 tokens in 2 min 36 s",
        "lm1b: 500 tokens, all from the journal",
    ]


def test_a_run_of_hours_is_announced_once(caplog: pytest.LogCaptureFixture) -> None:
    for total, times in ((100_000, 1), (1000, 0)):
        caplog.clear()
        clock = Clock()
        pace = Pace(clock)
        notice = LongRunNotice(pace)
        for tokens in range(10):
            pace.update(report("ptb", 10 * tokens, total))
            notice.show()
            clock.now += 10
        assert caplog.text.count("Ctrl-C is safe") == times
    assert duration(9980 * 1.0) == "2 h 46 min"


def test_a_task_that_is_measured_again_starts_anew() -> None:
    clock = Clock()
    pace = Pace(clock)
    for total in (10, 20):
        pace.update(report("wikitext2", 0, total))
        clock.now += 5
        pace.update(report("wikitext2", total, total))
    assert pace.line("tokens") == "wikitext2: 20 tokens in 5 s"
    assert pace.seconds() == pytest.approx(10)


def test_a_task_that_is_shown_again_counts_once() -> None:
    """A worker that waited for others looks for their chunks, so its tasks are reported again."""
    pace = Pace(Clock())
    shown = TerminalBars(Console(file=io.StringIO(), force_terminal=True), pace, "tokens", "items")
    for task, later in (("ptb", 20), ("lm1b", 0), ("lm1b", 0)):
        for tokens in (0, 20):
            pace.update(report(task, tokens, 20)._replace(later=later))
            shown.show()
    shown.stop()
    whole = shown._bars.tasks[-1]
    assert (whole.description, whole.completed, whole.total) == ("all tasks", 40, 40)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.2, "1 s"),
        (59.4, "59 s"),
        (59.7, "1 min"),
        (600, "10 min"),
        (3599.9, "1 h"),
        (86399, "1 d"),
        (1e7, "116 d"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_amounts_have_three_digits() -> None:
    assert [amount(n, "B") for n in (1, 999, 999.6, 12345, 99_960, 1e20)] == [
        "1 B",
        "999 B",
        "1.00 kB",
        "12.3 kB",
        "100 kB",
        "100 EB",
    ]
