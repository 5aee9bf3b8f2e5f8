"""Where the bits are lost: by position in the context, and by the frequency of the token."""

from collections.abc import Sequence
from typing import Any

from gpt2eval.report.page.sources import Group
from gpt2eval.report.profiles import Bin, by_frequency, by_position


def loss_section(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Return the bins of every task and model; of a question's choices, only the right one."""
    return [
        {
            "name": group.name,
            "title": group.title,
            "whole": group.is_whole,
            "models": [
                {
                    "label": one.label,
                    "position": [*map(_bin, by_position(one.source.measured))],
                    "frequency": [*map(_bin, by_frequency(one.source.measured))],
                }
                for one in group.sources
                if one.source.measured is not None
            ],
        }
        for group in groups
        if group.sources
    ]


def _bin(found: Bin) -> dict[str, Any]:
    low, high = found.interval or (None, None)
    return {
        "first": found.first,
        "last": found.last,
        "tokens": found.tokens,
        "value": found.value,
        "low": low,
        "high": high,
    }
