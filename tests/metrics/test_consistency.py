"""A metric is accepted only if the sums beside it give it."""

import math
from dataclasses import replace
from typing import Any

import pytest

from gpt2eval.errors import UsageError
from gpt2eval.metrics.consistency import check_metric
from gpt2eval.metrics.estimate import MetricValue
from gpt2eval.types import Tally, Units

TALLY = Tally(nats=8.0, tokens=4, units=Units(words=2, lines=1, bytes=10, chars=10), records=1)
LINE = "task:mine|data:12345678|unit:word@2|model:m@1|v:1"
PPL = MetricValue("ppl", math.exp(4), (50.0, 60.0), "word", 2, LINE)


def test_a_metric_that_follows_from_its_sums_is_accepted() -> None:
    check_metric(PPL, TALLY)
    check_metric(replace(PPL, value=math.exp(4) * (1 + 1e-13), interval=None), TALLY)
    endless = replace(PPL, value=math.inf, interval=None)
    check_metric(endless, replace(TALLY, nats=math.inf))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"value": 54.6}, "value: 54.6; its tally gives 54.59"),
        ({"value": math.inf}, "value: inf; its tally gives"),
        ({"units": 3}, "units: 3; its tally has 2"),
        ({"unit": "word+eol", "units": 3}, "signature: its unit is word@2; expected word[+]eol@3"),
        ({"unit": "verse"}, "unit: 'verse'; expected a metric with its unit"),
        ({"name": "bpb"}, "unit: 'word'; expected a metric with its unit"),
        ({"name": "pxl"}, "metrics.pxl: unit"),
        ({"interval": (50.0, 54.0)}, "interval: from 50.0 to 54.0; expected one that contains"),
    ],
)
def test_any_other_is_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        check_metric(replace(PPL, **change), TALLY)
