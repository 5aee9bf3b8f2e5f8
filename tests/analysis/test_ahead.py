"""The tokens of the tasks that follow are known about, before their texts are encoded."""

from pathlib import Path

import pytest

from gpt2eval import demo, evaluate
from gpt2eval.settings import Settings
from gpt2eval.types import Progress

TASKS = ["ptb", "text8", "lm1b", "lambada", "wikitext2/s512", "cbt_cn"]


def reports(**arguments: object) -> list[Progress]:
    """Return the first report of each task."""
    first: dict[str, Progress] = {}
    evaluate(
        "toy:unigram",
        TASKS,
        data=demo.data(),
        progress=lambda report: first.setdefault(report.task, report) and None,
        **arguments,  # type: ignore[arg-type]
    )
    return [*first.values()]


@pytest.mark.parametrize(
    "settings", [Settings(), Settings(limit=15), Settings(stride=64, context=256)]
)
def test_what_follows_is_expected_within_a_third(settings: Settings) -> None:
    seen = reports(settings=settings)
    assert seen[-1].later == 0
    for number, report in enumerate(seen):
        following = sum(other.of_tokens for other in seen[number + 1 :])
        assert following * 0.67 <= report.later <= following * 1.5


def test_what_the_journal_has_is_not_expected(tmp_path: Path) -> None:
    assert all(report.resumed == 0 for report in reports(out=tmp_path))
    again = reports(out=tmp_path)
    assert all(report.later == 0 for report in again)
    assert all(report.resumed == report.of_tokens for report in again)
