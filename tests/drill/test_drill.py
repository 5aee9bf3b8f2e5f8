"""The drill in short: a few cases of every part."""

from pathlib import Path

import pytest

from drill.part import Part
from drill.parts import PARTS


@pytest.mark.parametrize("part", [p for p in PARTS if p.quick], ids=lambda part: part.name)
def test_a_few_cases_of_each_part(part: Part, tmp_path: Path) -> None:
    findings = part.run(part.quick, 0, tmp_path)

    assert findings.failures == []
    assert findings.cases >= part.quick


def test_names_of_parts_are_unique() -> None:
    assert len({part.name for part in PARTS}) == len(PARTS)
