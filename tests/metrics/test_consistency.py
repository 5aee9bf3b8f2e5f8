"""A metric is accepted only if the sums beside it give it."""

import json
import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from gpt2eval.errors import UsageError
from gpt2eval.metrics.clusters import Clusters
from gpt2eval.metrics.consistency import check_groups, check_metric
from gpt2eval.metrics.estimate import MetricValue
from gpt2eval.metrics.groups import Groups, measure_groups
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
        ({"value": 54.6}, "value: 54.6; its sums give 54.59"),
        ({"value": math.inf}, "value: inf; its sums give"),
        ({"units": 3}, "units: 3; its tally has 2"),
        (
            {"unit": "word+eol", "units": 3, "value": math.exp(8 / 3), "interval": None},
            "signature: its unit is word@2; expected word[+]eol@3",
        ),
        ({"unit": "verse"}, "unit: 'verse'; expected a metric with its unit"),
        ({"name": "bpb"}, "unit: 'word'; expected a metric with its unit"),
        ({"name": "pxl"}, "metrics.pxl: unit"),
        ({"interval": (50.0, 54.0)}, "interval: from 50.0 to 54.0; expected one that contains"),
    ],
)
def test_any_other_is_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        check_metric(replace(PPL, **change), TALLY)


def grouped() -> Groups:
    first = replace(TALLY, nats=5.0, units=Units(words=2, lines=1, bytes=6, chars=6))
    second = Tally(nats=3.0, tokens=2, units=Units(bytes=4, chars=4), records=1)
    metrics = ("ppl", "bpb")
    tallies = [first, second]
    return measure_groups("folder", "ab", np.arange(2), tallies, Clusters("a"), metrics, "word")


BOTH = Tally(nats=8.0, tokens=6, units=Units(words=2, lines=1, bytes=10, chars=10), records=2)


def test_groups_that_add_up_are_accepted() -> None:
    groups = grouped()
    check_groups(groups, BOTH)
    assert {*groups.rows[1].metrics} == {"bpb"}, "the second group has no word to divide by"


def test_any_changed_figure_of_a_group_is_refused() -> None:
    document = TypeAdapter(Groups).dump_python(grouped(), mode="json")
    text = json.dumps(document)
    figures = re.finditer(r'"(?:value|units|nats)": ([\d.]+)', text)
    places = [figure.span(1) for figure in figures]
    assert len(places) == 16
    for start, end in places:
        changed = f"{text[:start]}{json.loads(text[start:end]) + 1}{text[end:]}"
        groups = TypeAdapter(Groups).validate_json(changed)
        with pytest.raises(UsageError, match=r"^groups\."):
            check_groups(groups, BOTH)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"rows": ()}, "do not add up"),
        ({"rows": grouped().rows[::-1]}, "expected different names, sorted"),
        ({"macro": {}}, "groups.macro: ; expected ppl, bpb"),
        ({"micro": {"ppl": grouped().micro["ppl"]}}, "rows.0.metrics: ppl, bpb; expected ppl"),
        ({"macro": grouped().micro}, "groups.macro.ppl: 2 word; expected 1 group"),
    ],
)
def test_missing_and_misplaced_groups_are_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        check_groups(replace(grouped(), **change), BOTH)
