"""What speeds up tables of many models equals the slow way."""

import json
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from gpt2eval.errors import UsageError
from gpt2eval.report import strict_json
from gpt2eval.report.escape import visible_in
from gpt2eval.report.labels import DISTINGUISHING, qualifiers, short_names
from gpt2eval.settings import Settings
from gpt2eval.types import ModelIdentity


def models(count: int) -> list[ModelIdentity]:
    random = Random(0)
    gpt2 = ModelIdentity("gpt2", "1", "2", "float32", "sdpa", "cpu")
    return [
        replace(
            gpt2,
            name="/".join(random.choices("abc", k=random.randint(1, 3))),
            revision=random.choice("12"),
            dtype=random.choice(("float32", "bfloat16")),
        )
        for _ in range(count)
    ]


def slow_qualifier(model: ModelIdentity, among: Sequence[ModelIdentity]) -> str:
    namesakes = [other for other in among if other.name == model.name]
    keys = [key for key in DISTINGUISHING if len({getattr(o, key) for o in namesakes}) > 1]
    facts = [getattr(model, key) or f"no {key}" for key in keys]
    return f"@{' '.join(facts)}" if "revision" in keys else " ".join(facts)


def slow_short_name(name: str, names: Sequence[str]) -> str:
    own = name.split("/")
    others = [other.split("/") for other in names if other != name]
    for length in range(1, len(own)):
        if all(other[-length:] != own[-length:] for other in others):
            return "/".join(own[-length:])
    return name


@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_names_equal_those_of_comparing_each_with_each(count: int) -> None:
    among = models(count)
    names = [model.name for model in among]

    assert qualifiers(among) == [slow_qualifier(model, among) for model in among]
    assert short_names(among) == {name: slow_short_name(name, names) for name in names}


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "b": [{"c": null}]}',
        '{"b": [{"c": null, "c_reason": "infinite"}]}',
        '{"b": [{"c": null, "c_\\u0072eason": "infinite"}]}',
    ],
)
def test_a_file_without_reasons_is_not_restored(text: str) -> None:
    assert strict_json.loads(text.encode()) == strict_json.restored(json.loads(text))


def test_visible_values_stay_the_same_objects() -> None:
    seen = {"a": [1, ("b", None)], "c": models(1)[0]}
    unseen = {"a\x1b": [1, ("b\n", None)], "c": replace(models(1)[0], name="m\x07")}

    assert visible_in(seen) is seen
    assert visible_in(unseen) == {
        "a\\x1b": [1, ("b\\n", None)],
        "c": replace(models(1)[0], name="m\\x07"),
    }


@pytest.mark.parametrize("name", ["limit", "batch_size", "tokens", "max_size"])
def test_no_number_is_larger_than_a_result_can_hold(name: str) -> None:
    largest: dict[str, Any] = {name: 2**63 - 1}
    Settings(**largest).check()
    with pytest.raises(UsageError, match=r"expected a whole number below 2\*\*63"):
        replace(Settings(**largest), **{name: 2**63}).check()
